package history

import (
	"fmt"
	"slices"
)

// A lockModel is a mutex, a read-write lock and an election in one: they share
// the name, and exclude each other on it. Beside it stands the register that
// Write writes to.
type lockModel struct{}

// A phase says how sure the exclusive hold is.
type phase uint8

const (
	free phase = iota

	// firm: a client was told that it holds. Nobody else may.
	firm

	// fading: nobody thinks to be holding, but an entry may be in the store, at
	// the head of the queue. Leader may show it, and it may go at any time.
	// The holder has lost it, or its release may not have arrived; or whoever
	// asked for it was never told of the grant, and then the holder's token is
	// 0 until Leader shows it.
	fading
)

type lockState struct {
	phase   phase
	holder  uint64 // the exclusive hold's token
	value   string // and its value
	readers set
	last    uint64 // highest token granted
	high    uint64 // highest token that the register has accepted
}

func (lockModel) String() string { return "lock" }

func (lockModel) has(k kind) bool { return k != acquire && k != resize }

func (lockModel) init() any { return lockState{} }

// matters: an acquisition of unknown outcome is of interest to nobody unless
// Leader has shown its value with a token that was not granted to anybody known. A
// proclamation must have been shown as well, and a write must explain why a lower
// token was refused.
func (lockModel) matters(o *operation, found *evidence) bool {
	switch o.op.kind {
	case rlock, leader:
		return false
	case lock:
		return slices.ContainsFunc(found.readings, func(r *operation) bool {
			return r.end >= o.call && r.out.value == o.op.value && r.out.token != 0 && !found.granted[r.out.token]
		})
	case proclaim:
		return slices.ContainsFunc(found.readings, func(r *operation) bool {
			return r.end >= o.call && r.out.value == o.op.value && r.out.token == o.op.token
		})
	case write:
		return slices.ContainsFunc(found.refusals, func(r *operation) bool {
			return r.end >= o.call && r.op.token < o.op.token
		})
	}
	return true
}

func (lockModel) step(state any, o *operation) (any, bool) {
	s := state.(lockState)
	known := o.out.status != unknown
	ok := true
	switch o.op.kind {
	case lock:
		s, ok = s.lock(o.op.value, o.out.token)
	case rlock:
		s, ok = s.rlock(o.out.token)
	case downgrade:
		s, ok = s.downgrade(o.op.token, o.out.token)
	case release:
		s, ok = s.release(o.op.token, known)
	case lose:
		s = s.lose(o.op.token)
	case write:
		s, ok = s.write(o.op.token, o.out.status)
	case proclaim:
		s, ok = s.proclaim(o.op.token, o.op.value, known)
	case leader:
		s, ok = s.leader(o.out.value, o.out.token)
	}
	if !ok {
		return state, false
	}
	return s, true
}

// lock grants exclusively. With token 0, whether it was granted is unknown: then
// nobody holds on account of it, and only Leader may come to show it.
func (s lockState) lock(value string, token uint64) (lockState, bool) {
	vacant := s.phase != firm && s.readers == ""
	switch {
	case token == 0 && vacant:
		s.phase, s.holder, s.value = fading, 0, value
		return s, true
	case token == 0:
		return s, true
	case !vacant || token <= s.last:
		return s, false
	}
	s.phase, s.holder, s.value, s.last = firm, token, value, token
	return s, true
}

func (s lockState) rlock(token uint64) (lockState, bool) {
	if s.phase == firm || token <= s.last {
		return s, false
	}
	s = s.vacate()
	s.readers, s.last = s.readers.add(token, 1), token
	return s, true
}

// vacate forgets the exclusive hold.
func (s lockState) vacate() lockState {
	s.phase, s.holder, s.value = free, 0, ""
	return s
}

// downgrade keeps the token. With got 0, whether it has happened is unknown: but
// who asked for it counts as reader at most from then on.
func (s lockState) downgrade(token, got uint64) (lockState, bool) {
	writes := s.phase == firm && s.holder == token
	if got != 0 && (got != token || !writes) {
		return s, false
	}
	if writes {
		s = s.vacate()
		s.readers = s.readers.add(token, 1)
	}
	return s, true
}

// release: when it has returned, the entry is gone; when nobody knows, the entry
// may be there for a while, although the holder has stopped.
func (s lockState) release(token uint64, known bool) (lockState, bool) {
	switch {
	case !known:
		return s.lose(token), true
	case token > s.last: // never granted
		return s, false
	case s.phase != free && s.holder == token:
		return s.vacate(), true
	}
	s.readers, _ = s.readers.remove(token)
	return s, true
}

func (s lockState) lose(token uint64) lockState {
	if s.phase == firm && s.holder == token {
		s.phase = fading
		return s
	}
	s.readers, _ = s.readers.remove(token)
	return s
}

// write: the register accepts any token that is not lower than one it has seen.
// A token that it accepts was granted, if perhaps to somebody who died before the
// grant could be recorded; so all later grants exceed it.
func (s lockState) write(token uint64, out status) (lockState, bool) {
	accepts := token >= s.high
	if out == done && !accepts || out == refused && accepts {
		return s, false
	}
	if accepts {
		s.high, s.last = token, max(s.last, token)
	}
	return s, true
}

// proclaim reaches the store as long as the entry is there.
func (s lockState) proclaim(token uint64, value string, known bool) (lockState, bool) {
	if s.phase == free || s.holder != token {
		return s, !known
	}
	s.value = value
	return s, true
}

// leader may resolve what was open: that an entry is gone, or which token the one
// has that was granted without anybody being told.
func (s lockState) leader(value string, token uint64) (lockState, bool) {
	switch {
	case token == 0:
		return s.vacate(), s.phase != firm
	case s.phase == free || s.value != value:
		return s, false
	case s.phase == fading && s.holder == 0 && token > s.last:
		s.holder, s.last = token, token
		return s, true
	}
	return s, s.holder == token
}

func (s lockState) String() string {
	text := "free"
	switch {
	case s.phase == firm:
		text = fmt.Sprintf("held with token %d", s.holder)
	case s.phase == fading && s.holder != 0:
		text = fmt.Sprintf("free, entry of token %d may be there", s.holder)
	case s.phase == fading:
		text = "free, entry of unknown token may be there"
	case s.readers != "":
		text = fmt.Sprintf("read with tokens %v", s.readers)
	}
	if s.value != "" {
		text += fmt.Sprintf(", value %q", s.value)
	}
	return text + fmt.Sprintf("; last token %d, register at %d", s.last, s.high)
}
