package history

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"github.com/anishathalye/porcupine"
)

// A model says what a lock does when operations happen one after the other. Its
// values are comparable.
type model interface {
	fmt.Stringer
	has(kind) bool

	// matters tells whether an operation of unknown outcome can make a history
	// legal that is not legal without it. What cannot is left out, to keep the
	// search short.
	matters(*operation, *evidence) bool

	init() any // a comparable state
	// step returns the state after the operation, or false where the operation
	// cannot happen in s with that outcome. One of unknown outcome can always
	// happen. That it may never have an effect needs no second result, because
	// it can be placed after everything else.
	step(s any, o *operation) (any, bool)
}

// evidence is what the operations of known outcome say about the others.
type evidence struct {
	granted  map[uint64]bool // tokens
	readings []*operation    // of Leader
	refusals []*operation    // of writes
}

// relevant returns the operations that bear on whether the history is legal, and
// how many of them have a known outcome.
func relevant(m model, ops []operation) (kept []*operation, known int) {
	found := evidence{granted: make(map[uint64]bool)}
	for i := range ops {
		switch o := &ops[i]; o.out.status {
		case granted:
			found.granted[o.out.token] = true
		case saw:
			found.readings = append(found.readings, o)
		case refused:
			found.refusals = append(found.refusals, o)
		}
	}
	kept = make([]*operation, 0, len(ops))
	for i := range ops {
		o := &ops[i]
		if o.out.status == failed || o.out.status == unknown && !m.matters(o, &found) {
			continue
		}
		kept = append(kept, o)
		if o.out.status != unknown {
			known++
		}
	}
	return kept, known
}

var seed = maphash.MakeSeed()

// A point is where the search has got to.
type point struct {
	known int // operations of known outcome that have yet to be placed
	state any // the model's
}

// porcupineModel wraps m for a history with that many operations of known outcome.
//
// The search places an operation of unknown outcome only where it has an effect,
// and at the end, where everything known has been placed, those that had none.
// To try it everywhere would double the search for each.
//
// The search gives up after some steps: *left counts them down, and at 0 no
// operation is possible any more. A bound on time would not do, since virtual time
// stands still while the search runs.
func porcupineModel(m model, known int, left *int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return point{known, m.init()} },
		Step: func(at, in, _ any) (bool, any) {
			if *left == 0 {
				return false, at
			}
			*left--
			p, o := at.(point), in.(*operation)
			next, ok := m.step(p.state, o)
			if o.out.status == unknown {
				return p.known == 0 || next != p.state, point{p.known, next}
			}
			return ok, point{p.known - 1, next}
		},
		Hash:              func(at any) uint64 { return maphash.Comparable(seed, at) },
		DescribeOperation: func(in, _ any) string { return in.(*operation).String() },
		DescribeState:     func(at any) string { return fmt.Sprint(at.(point).state) },
	}
}

// A set is a set of holds, encoded so that states can be compared: 16 bytes each,
// token and weight, in the order of the grants, which is that of the tokens.
type set string

func (s set) add(token uint64, weight int64) set {
	b := make([]byte, 0, len(s)+16)
	b = append(b, s...)
	b = binary.BigEndian.AppendUint64(b, token)
	return set(binary.BigEndian.AppendUint64(b, uint64(weight)))
}

func (s set) len() int { return len(s) / 16 }

// at returns the token and the weight of the i-th hold.
func (s set) at(i int) (uint64, int64) {
	b := []byte(s[16*i : 16*i+16])
	return binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:]))
}

// remove returns the set without that token, and the weight it had: 0 if it was
// not there.
func (s set) remove(token uint64) (set, int64) {
	for i := range s.len() {
		if t, weight := s.at(i); t == token {
			return s[:16*i] + s[16*i+16:], weight
		}
	}
	return s, 0
}

func (s set) String() string {
	var b []byte
	for i := range s.len() {
		token, weight := s.at(i)
		if i > 0 {
			b = append(b, ", "...)
		}
		b = fmt.Appendf(b, "%d", token)
		if weight != 1 {
			b = fmt.Appendf(b, " (weight %d)", weight)
		}
	}
	return string(b)
}
