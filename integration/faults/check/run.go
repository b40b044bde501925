package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/integration/faults/register"
)

// A Run is what was written down.
type Run struct {
	TTL       time.Duration
	Start     int64
	Lives     []Life
	Strikes   []journal.Strike
	Writes    []register.Write
	Sightings []Sighting
	Limit     int64 // of semaphores
	Undoes    bool  // a crash of the store may bring back what was released just before

	Healed int64 // when the last fault was undone and everybody knew
	End    int64 // when the clients were told to leave

	Trouble  []string // clients that ended by themselves or did not end
	Left     []string // in the store, in the end
	Watchers []int    // at the servers, before and after; none where they do not tell

	Dir string // where failures are drawn
}

// A Life is one life of a client.
type Life struct {
	Name   string
	Client int // -1: the keeper, whom no fault hits
	Events []journal.Event
}

// A Sighting is an entry that was in a queue by At.
type Sighting struct {
	At    int64
	Name  string
	Token uint64
	Life  string // of whom it is; "": not a client
	ID    int    // of the acquisition
}

// A Violation is a promise that was not kept.
type Violation struct {
	Name string // of the queue, where it is about one
	At   int64  // about when; 0: unknown
	Text string
}

// A Result is what one check has found.
type Result struct {
	Check      string
	Looked     int // at how many things
	Violations []Violation
}

// Checks are all of them, in the order of the package's documentation.
var Checks = []struct {
	Name string
	Do   func(*Case) (looked int, found []Violation)
}{
	{"history", (*Case).history},
	{"exclusion", (*Case).exclusion},
	{"loss", (*Case).loss},
	{"told", (*Case).told},
	{"fifo", (*Case).fifo},
	{"place", (*Case).place},
	{"progress", (*Case).progress},
	{"register", (*Case).register},
	{"errors", (*Case).errors},
	{"clean", (*Case).clean},
}

// Check makes all checks.
func (c *Case) Check() []Result {
	var all []Result
	for _, check := range Checks {
		looked, found := check.Do(c)
		all = append(all, Result{check.Name, looked, found})
	}
	return all
}

// A Case is a run, put in order.
type Case struct {
	Run
	Tries []*Try // by the time at which they were asked
	tries map[acquisition]*Try
	names map[string][]*Try
	calls map[string][]call
	order []string
}

// An acquisition names a try.
type acquisition struct {
	life string
	id   int
}

// A call is one that is not an acquisition.
type call struct {
	life          *Life
	before, after *journal.Event // after is nil where the process ended meanwhile
}

// Open puts a run in order. An error means that the journals make no sense.
func Open(r Run) (*Case, error) {
	c := &Case{Run: r, tries: map[acquisition]*Try{}, names: map[string][]*Try{}, calls: map[string][]call{}}
	joined := map[string]map[uint64]int64{}
	for _, s := range r.Sightings {
		if joined[s.Name] == nil {
			joined[s.Name] = map[uint64]int64{}
		}
		if at, ok := joined[s.Name][s.Token]; !ok || s.At < at {
			joined[s.Name][s.Token] = s.At
		}
	}
	for i := range c.Lives {
		tries, err := triesOf(&c.Lives[i])
		if err != nil {
			return nil, fmt.Errorf("journal of %s: %w", c.Lives[i].Name, err)
		}
		for _, t := range tries {
			c.judge(t)
			t.seen = joined[t.Name][t.Token]
			c.tries[acquisition{t.Life.Name, t.ID}] = t
		}
		c.Tries = append(c.Tries, tries...)
		c.index(&c.Lives[i])
	}
	slices.SortStableFunc(c.Tries, func(a, b *Try) int { return cmp.Compare(a.Called, b.Called) })
	for _, t := range c.Tries {
		if c.names[t.Name] == nil {
			c.order = append(c.order, t.Name)
		}
		c.names[t.Name] = append(c.names[t.Name], t)
	}
	return c, nil
}

// index puts the calls of a life under the names that they are about.
func (c *Case) index(l *Life) {
	after := map[int]*journal.Event{}
	for i := range l.Events {
		switch e := &l.Events[i]; e.Kind {
		case journal.Wrote, journal.Proclaimed, journal.Saw, journal.Resized:
			after[e.ID] = e
		}
	}
	for i := range l.Events {
		switch e := &l.Events[i]; e.Kind {
		case journal.Writing, journal.Proclaiming, journal.Looking, journal.Resizing:
			c.calls[e.Name] = append(c.calls[e.Name], call{l, e, after[e.ID]})
		}
	}
}

// since is a stamp for people.
func (r *Run) since(at int64) string {
	return fmt.Sprintf("%.3fs", time.Duration(at-r.Start).Seconds())
}
