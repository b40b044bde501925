package check

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/client"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// A Summary is what a run was like. In JSON, times are in nanoseconds.
type Summary struct {
	Length     time.Duration  `json:"length"`
	Operations int            `json:"operations"` // acquisitions, releases, writes and other calls
	Outcomes   map[string]int `json:"outcomes"`   // of acquisitions
	Lost       int            `json:"lost"`       // holds whose loss was seen
	Faults     map[string]int `json:"faults"`     // by kind
	Stalls     int            `json:"stalls"`     // how often a client that nobody had stopped did not run
	Gap        time.Duration  `json:"gap"`        // the longest without any grant of a kind
	GapKind    string         `json:"gap_kind"`
	Kept       int            `json:"pools_kept"` // in use, so that the history has their limits
	Unkept     int            `json:"pools_unkept"`

	// From a release to the next grant, after the leader was killed, handed over, or
	// frozen; and from the death of a holder to the next grant.
	LeaderKilled Recovery `json:"leader_killed"`
	LeaderMoved  Recovery `json:"leader_moved"`
	LeaderFrozen Recovery `json:"leader_frozen"`
	HolderDied   Recovery `json:"holder_died"`
}

// A Recovery says how long it took until somebody who waited was granted.
type Recovery struct {
	Times []time.Duration `json:"times"`
	Alone []time.Duration `json:"alone"` // those of them where no other fault was in the way
}

// Summary sums the run up.
func (c *Case) Summary() Summary {
	s := Summary{Length: time.Duration(c.End - c.Start), Outcomes: map[string]int{}, Faults: map[string]int{}}
	for _, t := range c.Tries {
		s.Operations++
		s.Outcomes[string(cmp.Or(t.Outcome, "cut short"))]++
		if t.Releasing != 0 {
			s.Operations++
		}
		if t.Granted() && t.Lost != 0 {
			s.Lost++
		}
	}
	for _, calls := range c.calls {
		s.Operations += len(calls)
	}
	for i := range c.Strikes {
		s.Faults[c.Strikes[i].Kind]++
	}
	for i := range c.Lives {
		s.Stalls += c.stalls(&c.Lives[i])
	}
	s.Gap, s.GapKind = c.gap()
	s.Kept, s.Unkept = c.pools()
	s.LeaderKilled = c.leaderHit(func(s *journal.Strike) bool { return s.Crash && !s.Full })
	s.LeaderMoved = c.leaderHit(func(s *journal.Strike) bool { return s.Moved })
	s.LeaderFrozen = c.leaderHit(func(s *journal.Strike) bool { return s.Frozen })
	s.HolderDied = c.holderDied()
	return s
}

// stalls counts how often a process did not run although no fault stopped it.
func (c *Case) stalls(l *Life) (n int) {
	for i := range l.Events {
		e := &l.Events[i]
		if e.Kind != journal.Stalled {
			continue
		}
		ours := slices.ContainsFunc(c.Strikes, func(s journal.Strike) bool {
			return s.Frozen && s.Life == l.Name && s.Overlaps(e.From, e.At)
		})
		if !ours {
			n++
		}
	}
	return n
}

// gap is the longest time without a grant of one kind: all of them are in use from the
// start to the end.
func (c *Case) gap() (longest time.Duration, of string) {
	for _, kind := range client.Kinds {
		last := c.Start
		var grants []int64
		for _, t := range c.Tries {
			if t.Granted() && t.Kind() == kind && t.Life.Client >= 0 {
				grants = append(grants, t.Returned)
			}
		}
		grants = append(grants, c.End)
		slices.Sort(grants)
		for _, at := range grants {
			if d := time.Duration(at - last); d > longest {
				longest, of = d, kind
			}
			last = at
		}
	}
	return longest, of
}

// leaderHit looks, for each time that the leader was hit in that way and for each lock
// that is exclusive, at the first release after it that somebody waited for.
func (c *Case) leaderHit(in func(*journal.Strike) bool) (r Recovery) {
	for i := range c.Strikes {
		s := &c.Strikes[i]
		if !s.Leader || !in(s) {
			continue
		}
		for _, name := range c.order {
			if from, next := c.firstHandover(name, s); next != nil {
				r.add(time.Duration(next.Returned-from.Releasing), !c.delayed(i, next))
			}
		}
	}
	return r
}

// firstHandover returns who released first after a fault, and who was granted next, if
// that one had waited.
func (c *Case) firstHandover(name string, s *journal.Strike) (from, next *Try) {
	holds := c.exclusives(name)
	for i, t := range holds {
		if t.Releasing < s.Done || i+1 == len(holds) || t.ReleaseError != "" {
			continue
		}
		next := holds[i+1]
		if t.Releasing > s.Done+int64(c.TTL) || next.Called > t.Releasing {
			return nil, nil
		}
		return t, next
	}
	return nil, nil
}

// delayed tells whether another fault than the i-th may have delayed a grant: one that
// hit the store, or somebody who was ahead in the queue.
func (c *Case) delayed(i int, next *Try) bool {
	s := &c.Strikes[i]
	ahead := map[string]bool{}
	for _, t := range c.names[next.Name] {
		if t.Called <= next.Called && (t.Returned == 0 || t.Returned > s.From || t.Granted() && t.Ended() > s.From) {
			ahead[t.Life.Name] = true
		}
	}
	for k := range c.Strikes {
		o := &c.Strikes[k]
		if k != i && o.Overlaps(s.From-int64(c.TTL), next.Returned) && (o.Server() || ahead[o.Life]) {
			return true
		}
	}
	return false
}

// exclusives are the grants of a name of which only one is held at a time, by token.
func (c *Case) exclusives(name string) (all []*Try) {
	for _, t := range c.names[name] {
		if !t.Granted() {
			continue
		}
		if !t.Exclusive() {
			return nil
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *Try) int { return cmp.Compare(a.Token, b.Token) })
	return all
}

func (c *Case) holderDied() (r Recovery) {
	for i := range c.Strikes {
		s := &c.Strikes[i]
		if !s.Death {
			continue
		}
		for _, name := range c.order {
			holds := c.exclusives(name)
			for k, t := range holds {
				if t.Forced != s.From || k+1 == len(holds) || holds[k+1].Called > s.From+int64(c.TTL)/2 {
					continue
				}
				r.add(time.Duration(holds[k+1].Returned-s.From), !c.delayed(i, holds[k+1]))
			}
		}
	}
	return r
}

func (r *Recovery) add(d time.Duration, alone bool) {
	r.Times = append(r.Times, d)
	if alone {
		r.Alone = append(r.Alone, d)
	}
}

// Merge takes over what other has seen.
func (r *Recovery) Merge(other Recovery) {
	r.Times = append(r.Times, other.Times...)
	r.Alone = append(r.Alone, other.Alone...)
}

func (r Recovery) String() string {
	if len(r.Times) == 0 {
		return "not seen"
	}
	sorted := slices.Sorted(slices.Values(r.Times))
	text := fmt.Sprintf("median %s, at most %s, of %d", Span(sorted[len(sorted)/2]), Span(sorted[len(sorted)-1]), len(sorted))
	if len(r.Alone) > 0 {
		text += fmt.Sprintf("; at most %s where no other fault was in the way", Span(slices.Max(r.Alone)))
	}
	return text
}

// Print writes the summary for people.
func (s Summary) Print(out io.Writer) {
	fmt.Fprintf(out, "operations   %d in %s; acquisitions: %s\n", s.Operations, Span(s.Length), counts(s.Outcomes))
	fmt.Fprintf(out, "             %d losses seen; clients stalled by themselves %d times\n", s.Lost, s.Stalls)
	total := 0
	for _, n := range s.Faults {
		total += n
	}
	fmt.Fprintf(out, "faults       %d: %s\n", total, counts(s.Faults))
	fmt.Fprintf(out, "longest gap  %s without a grant (%s)\n", Span(s.Gap), s.GapKind)
	fmt.Fprintf(out, "pools        %d kept in use, %d not\n", s.Kept, s.Unkept)
	fmt.Fprintf(out, "leader       from a release to the next grant after it was killed: %v\n", s.LeaderKilled)
	fmt.Fprintf(out, "             after it was handed over: %v\n", s.LeaderMoved)
	fmt.Fprintf(out, "             after it was frozen: %v\n", s.LeaderFrozen)
	fmt.Fprintf(out, "holder dead  until the next grant: %v\n", s.HolderDied)
}

func counts(m map[string]int) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, fmt.Sprintf("%s %d", key, m[key]))
	}
	return strings.Join(all, ", ")
}
