package etcd

import (
	"slices"
	"sync"
)

// slotsInTurn is how many slots of a name are used in turn, so that a key that was
// just deleted is not made anew at once, while whoever waited for its end still
// watches it.
const slotsInTurn = 8

// noSlot is that of a claim whose key has none.
const noSlot = -1

// slots hands out the numbers that make the keys of a lease's entries in one
// queue unique: among those that are in the store, or may be.
//
// Keys are used again because etcd keeps a deleted key in its index until the
// next compaction, and a range walks over it: with a fresh key for each
// acquisition a busy queue would become slower with each.
type slots struct {
	mu   sync.Mutex
	turn int
	used map[string]map[int]string // the claim's ID, by name and slot
	of   map[string]tenant         // by the claim's ID
}

// A tenant is a claim that has a key.
type tenant struct {
	slot    int
	name    string
	limited bool   // the queue has a limit
	token   uint64 // of its entry, once that is known to have been made
	doubt   bool   // a request to delete the key, whatever is there, may be under way
	epoch   int64  // that the latest request to make the entry is guarded on; 0: none is recorded
	unsent  bool   // no request was ever sent
	givenUp bool   // none is to be sent any more
	refused bool   // the entry was told to leave, which may apply late
}

func newSlots() *slots { return &slots{used: map[string]map[int]string{}, of: map[string]tenant{}} }

// take gives the claim a slot, if its key is to have one, and returns it. It
// keeps the one that it has.
func (s *slots) take(name, id string, keyed, limited bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.of[id]; ok {
		t.unsent, t.givenUp = false, false
		s.of[id] = t
		return t.slot
	}
	slot := noSlot
	if keyed {
		used := s.used[name]
		if used == nil {
			used = map[int]string{}
			s.used[name] = used
		}
		slot = s.turn % slotsInTurn
		s.turn++
		for used[slot] != "" {
			slot++
		}
		used[slot] = id
	}
	s.of[id] = tenant{slot: slot, name: name, limited: limited}
	return slot
}

// free gives the claim's slot back. The claim's entry is known to be gone, and
// no request that could make it is under way.
func (s *slots) free(name, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.of[id]
	if !ok {
		return // freed before: the slot may be another's now
	}
	delete(s.of, id)
	if t.doubt {
		return // the slot is not used any more
	}
	delete(s.used[name], t.slot)
	if len(s.used[name]) == 0 {
		delete(s.used, name)
	}
}

// made records the token of the claim's entry.
func (s *slots) made(id string, token uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.of[id]; ok {
		t.token = token
		s.of[id] = t
	}
}

// refuse records that the claim's entry is about to be told to leave.
func (s *slots) refuse(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.of[id]; ok {
		t.refused = true
		s.of[id] = t
	}
}

func (s *slots) refused(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[id].refused
}

// claim tells whether the key of an entry can be none but this entry's until its
// slot is freed, so that it may be deleted whatever is there. It does so once:
// that request may be under way from now on, and the slot must not be another's
// before deleted says that it was answered.
func (s *slots) claim(id string, token uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.of[id]
	if !ok || t.token != token || t.doubt {
		return false
	}
	t.doubt = true
	s.of[id] = t
	return true
}

// deleted records that the request that was claimed was answered, or never sent.
func (s *slots) deleted(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.of[id]; ok {
		t.doubt = false
		s.of[id] = t
	}
}

// send records the epoch that a request to make the claim's entry is about to be guarded
// on, and returns the one before. It reports false where the claim has been given up,
// and the request must not be sent.
func (s *slots) send(id string, epoch int64) (before int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.of[id]
	if !ok || t.givenUp {
		return 0, false
	}
	before, t.epoch = t.epoch, epoch
	s.of[id] = t
	return before, true
}

// unsend takes that back: the request was not sent after all.
func (s *slots) unsend(id string, before int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.of[id]; ok {
		t.epoch, t.unsent = before, before == 0
		s.of[id] = t
	}
}

// giveUp keeps a Join that is under way from sending another request, and reports
// whether none was sent at all.
func (s *slots) giveUp(id string) (unsent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.of[id]
	if ok {
		t.givenUp = true
		s.of[id] = t
	}
	return t.unsent
}

// fenced reports whether the latest request to make the claim's entry is guarded on an
// epoch before this one.
func (s *slots) fenced(id string, epoch int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.of[id]
	return t.epoch != 0 && t.epoch < epoch
}

// token returns that of the claim's entry, or 0 where it is not known to have been made.
func (s *slots) token(id string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[id].token
}

// find returns the slot of a claim, or noSlot.
func (s *slots) find(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.of[id]; ok {
		return t.slot
	}
	return noSlot
}

// owner returns the ID of the claim that has a slot, or "".
func (s *slots) owner(name string, slot int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used[name][slot]
}

// limited returns the names of the queues with a limit in which claims have, or may
// have, an entry.
func (s *slots) limited() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, t := range s.of {
		if t.limited {
			names = append(names, t.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
