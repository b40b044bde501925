package dashboard

import (
	"time"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/watch"
)

const (
	maxGrants = 50  // that ended, remembered of each name
	maxShown  = 200 // runes of a text that is remembered
)

// A Grant is one that was seen.
type Grant struct {
	Token   uint64
	Owner   string
	Note    string
	Value   string
	TraceID string        // "" when its owner does not trace
	Granted time.Time     // when it was seen to hold
	Timed   bool          // Granted is when it began: it was not there when we looked first
	Waited  time.Duration // from when it was seen first
	Waits   bool          // Waited is all of the wait
	Ended   time.Time     // when it was seen to be gone; zero while it holds
}

// A stay is that of one entry in the queue.
type stay struct {
	first time.Time // when it was seen first
	known bool      // it was not there before
	holds bool
	grant Grant // when it holds
	lease lease
}

// A lease is what an owner's lease had left when it was read.
type lease struct {
	until time.Time
	full  time.Duration // the most that it had left ever
}

// A record is what is known of a name. The board's mutex guards it.
type record struct {
	queue     watch.Snapshot
	seen      time.Time // when the queue was seen
	changed   time.Time // when somebody joined or left
	known     bool      // how the queue stood before is known
	entries   map[uint64]*stay
	history   []Grant // that ended, the latest last
	waits     histogram
	holds     histogram
	viewers   int
	following *following // nil while nobody looks
	trouble   error      // why it could not be followed
}

// update takes the state of the queue seen now.
func (r *record) update(q watch.Snapshot, now time.Time) {
	there := make(map[uint64]bool, len(q.Holders)+len(q.Waiters))
	for _, e := range q.Waiters {
		there[e.Token] = true
		r.join(e, now)
	}
	for _, e := range q.Holders {
		there[e.Token] = true
		if s := r.join(e, now); !s.holds {
			r.grant(s, e, now)
		}
	}
	for token, s := range r.entries {
		if !there[token] {
			r.leave(token, s, now)
		}
	}
	r.queue, r.seen, r.known = q, now, true
	r.leases(q, now)
}

// join returns the stay of an entry, which begins now if it is new.
func (r *record) join(e watch.Entry, now time.Time) *stay {
	s := r.entries[e.Token]
	if s == nil {
		s = &stay{first: now, known: r.known}
		r.entries[e.Token], r.changed = s, now
	}
	return s
}

// grant says that an entry holds from now on.
func (r *record) grant(s *stay, e watch.Entry, now time.Time) {
	began := s.known || now.After(s.first) // or we saw it wait
	s.holds = true
	s.grant = Grant{
		Token: e.Token, Owner: view.Owner(e), Note: clip(e.Note), Value: clip(e.Value),
		Granted: now, Timed: began, Waited: now.Sub(s.first), Waits: s.known,
	}
	if e.Trace.HasTraceID() {
		s.grant.TraceID = e.Trace.TraceID().String()
	}
	if s.known {
		r.waits.add(s.grant.Waited)
	}
}

func (r *record) leave(token uint64, s *stay, now time.Time) {
	delete(r.entries, token)
	r.changed = now
	if !s.holds {
		return
	}
	s.grant.Ended = now
	if s.grant.Timed {
		r.holds.add(now.Sub(s.grant.Granted))
	}
	r.history = append(r.history, s.grant)
	r.history = r.history[max(0, len(r.history)-maxGrants):]
}

// leases takes how long the leases of those who are there had left.
func (r *record) leases(q watch.Snapshot, now time.Time) {
	for _, e := range q.Holders {
		if s := r.entries[e.Token]; s != nil && e.TTLLeft > 0 {
			s.lease = lease{until: now.Add(e.TTLLeft), full: max(s.lease.full, e.TTLLeft)}
		}
	}
}

func clip(text string) string {
	if runes := []rune(text); len(runes) > maxShown {
		return string(runes[:maxShown]) + "…"
	}
	return text
}
