package check

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/client"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

const (
	// never is the end of what nothing has ended.
	never = math.MaxInt64

	// awake is how long a process that was stopped may take to see what it has lost.
	awake = 250 * time.Millisecond

	// inFlight is how long after the end of its session a grant may return that was
	// made under it. Nothing else ails the client and the store then. What returns
	// later was asked for again, under the next session.
	inFlight = time.Second
)

// A Try is an acquisition and what became of it. Times are 0 where something has not
// happened.
type Try struct {
	Life *Life
	ID   int
	Op   journal.Op
	Name string
	N    int64 // weight

	Called, Returned int64
	Outcome          journal.Kind // Granted, Barred, GaveUp or Failed; "" if it never returned
	Error            string
	Token            uint64
	Value            string

	Downgrading, Downgraded int64
	DowngradeError          string
	Releasing, Released     int64
	ReleaseError            string
	Lost                    int64 // when the holder saw it

	// Forced is when the hold may have ended without the holder's knowing, by Why.
	Forced int64
	Why    string

	seen int64 // in the queue
}

// Granted tells whether something was held.
func (t *Try) Granted() bool { return t.Outcome == journal.Granted }

// Exclusive tells whether it asked for a lock that nobody else may hold.
func (t *Try) Exclusive() bool { return t.Op == journal.Lock || t.Op == journal.Campaign }

// Kind is that of the name.
func (t *Try) Kind() string { return kindOf(t.Name) }

func kindOf(name string) string {
	kind, _, _ := strings.Cut(strings.TrimPrefix(name, client.Prefix), "/")
	return kind
}

// Ended is when the hold was over, as the package's documentation has it.
func (t *Try) Ended() int64 {
	end := int64(never)
	for _, at := range []int64{t.Releasing, t.Lost, t.Forced, t.failedDowngrade()} {
		if at != 0 {
			end = min(end, at)
		}
	}
	return end
}

// failedDowngrade is when a downgrade began after which nothing was held.
func (t *Try) failedDowngrade() int64 {
	if t.DowngradeError != "" {
		return t.Downgrading
	}
	return 0
}

// sawLoss tells whether what ended the hold was that the holder saw its loss.
func (t *Try) sawLoss() bool { return t.Lost != 0 && t.Ended() == t.Lost }

func (t *Try) String() string {
	return fmt.Sprintf("%s #%d %s %s token %d", t.Life.Name, t.ID, t.Op, t.Name, t.Token)
}

// triesOf reads a journal.
func triesOf(l *Life) ([]*Try, error) {
	var all []*Try
	by := map[int]*Try{}
	for i := range l.Events {
		e := &l.Events[i]
		if e.Kind == journal.Asked {
			t := &Try{Life: l, ID: e.ID, Op: e.Op, Name: e.Name, N: e.N, Called: e.At, Value: e.Value}
			by[e.ID] = t
			all = append(all, t)
			continue
		}
		id := e.Hold
		switch e.Kind {
		case journal.Granted, journal.Barred, journal.GaveUp, journal.Failed:
			id = e.ID
		case journal.Downgrading, journal.Downgraded, journal.Releasing, journal.Released, journal.Lost:
		default:
			continue
		}
		t := by[id]
		if t == nil {
			return nil, fmt.Errorf("%s of %d, which was never asked", e.Kind, id)
		}
		t.add(e)
	}
	return all, nil
}

func (t *Try) add(e *journal.Event) {
	switch e.Kind {
	case journal.Granted, journal.Barred, journal.GaveUp, journal.Failed:
		t.Returned, t.Outcome, t.Token, t.Error = e.At, e.Kind, e.Token, e.Error
	case journal.Downgrading:
		t.Downgrading = e.At
	case journal.Downgraded:
		t.Downgraded, t.DowngradeError = e.At, e.Error
	case journal.Releasing:
		t.Releasing = e.At
	case journal.Released:
		t.Released, t.ReleaseError = e.At, e.Error
	case journal.Lost:
		if t.Lost == 0 || e.At < t.Lost {
			t.Lost = e.At
		}
	}
}

// judge finds out whether something took the hold from a holder who could not know.
func (c *Case) judge(t *Try) {
	if !t.Granted() {
		return
	}
	force := func(at int64, why string) {
		if t.Forced == 0 || at < t.Forced {
			t.Forced, t.Why = at, why
		}
	}
	end := t.Ended()
	for i := range c.Strikes {
		s := &c.Strikes[i]
		switch mine := s.Life != "" && s.Life == t.Life.Name; {
		case s.Token != 0 && s.Token == t.Token && s.Name == t.Name && end > s.From:
			force(s.From, s.Text)
		case mine && s.Frozen && c.diedAsleep(t, s):
			force(s.From, s.Text)
		case c.voided(t, s):
			force(s.From, s.Text)
		case c.revived(t, s):
			force(s.To-int64(inFlight), s.Text)
		case mine && s.Death && end > s.From:
			force(s.From, s.Text)
		case mine && s.Frozen && t.lostAfter(s.From, s.To):
			force(s.From, s.Text)
		case mine && s.Ended && t.Called < s.Done && end > s.From && t.Returned <= s.Done+int64(inFlight):
			force(s.From, s.Text)
		}
	}
	for i := range t.Life.Events {
		if e := &t.Life.Events[i]; e.Kind == journal.Stalled && t.lostAfter(e.From, e.At) {
			force(e.From, fmt.Sprintf("the process did not run for %v", time.Duration(e.At-e.From)))
		}
	}
}

// lostAfter tells whether the holder saw its loss when the process, which had not
// run from the one time to the other, ran again.
func (t *Try) lostAfter(from, to int64) bool {
	return t.sawLoss() && t.Called < to && from < t.Lost && t.Lost <= to+int64(awake)
}
