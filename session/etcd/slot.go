package etcd

import "sync"

// slotsInTurn is how many slots of a name are used in turn, so that a key that was
// just deleted is not made anew at once, while whoever waited for its end still
// watches it.
const slotsInTurn = 8

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
	of   map[string]int            // the slot, by the claim's ID
}

func newSlots() *slots { return &slots{used: map[string]map[int]string{}, of: map[string]int{}} }

// take returns the claim's slot, a free one if it has none yet.
func (s *slots) take(name, id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot, ok := s.of[id]; ok {
		return slot
	}
	used := s.used[name]
	if used == nil {
		used = map[int]string{}
		s.used[name] = used
	}
	slot := s.turn % slotsInTurn
	s.turn++
	for used[slot] != "" {
		slot++
	}
	used[slot], s.of[id] = id, slot
	return slot
}

// free gives the claim's slot back. The claim's entry is known to be gone, and
// no request that could make it is under way.
func (s *slots) free(name, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, ok := s.of[id]
	if !ok {
		return // before: the slot may be another's now
	}
	delete(s.of, id)
	delete(s.used[name], slot)
	if len(s.used[name]) == 0 {
		delete(s.used, name)
	}
}

// find returns the slot of a claim, if it has one.
func (s *slots) find(id string) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, ok := s.of[id]
	return slot, ok
}

// owner returns the ID of the claim that has a slot, or "".
func (s *slots) owner(name string, slot int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used[name][slot]
}
