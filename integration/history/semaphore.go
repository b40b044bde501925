package history

import "fmt"

// A semaphoreModel grants permits as long as the weights of what is held, and of
// what is asked for, fit the limit together.
type semaphoreModel struct{ limit int64 } // at the beginning

type semaphoreState struct {
	limit int64
	used  int64 // sum of the weights; more than the limit after it shrank
	last  uint64
	held  set
}

func (m semaphoreModel) String() string { return fmt.Sprintf("semaphore of %d", m.limit) }

func (semaphoreModel) has(k kind) bool {
	return k == acquire || k == release || k == lose || k == resize
}

// matters: an acquisition of unknown outcome leaves nobody who thinks to hold.
func (semaphoreModel) matters(o *operation, _ *evidence) bool {
	return o.op.kind != acquire
}

func (m semaphoreModel) init() any { return semaphoreState{limit: m.limit} }

func (semaphoreModel) step(state any, o *operation) (any, bool) {
	s := state.(semaphoreState)
	switch o.op.kind {
	case acquire:
		if s.used+o.op.n > s.limit || o.out.token <= s.last {
			return state, false
		}
		s.used += o.op.n
		s.last = o.out.token
		s.held = s.held.add(o.out.token, o.op.n)
	case release, lose:
		if o.op.kind == release && o.out.status == done && o.op.token > s.last { // never granted
			return state, false
		}
		var weight int64
		s.held, weight = s.held.remove(o.op.token)
		s.used -= weight
	case resize:
		// If it is unknown whether the limit was lowered, what was granted since
		// is legal in any case if it was not.
		if o.out.status == done || o.op.n > s.limit {
			s.limit = o.op.n
		}
	}
	return s, true
}

func (s semaphoreState) String() string {
	return fmt.Sprintf("%d of %d held, with tokens %v; last token %d", s.used, s.limit, s.held, s.last)
}
