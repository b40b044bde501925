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
	Quiet     bool  // a restart or failover of the store ends all sessions, and it grants nothing for a TTL
	Undoes    bool  // a crash of the store may bring back what was released just before

	Healed int64 // when the last fault was undone and everybody knew; 0: it did not come to that
	End    int64 // when the clients were told to leave
	Cut    int64 // when the run was broken off and all that ran was killed; 0: it was not

	Trouble  []string   // clients that ended by themselves, say, or did not end
	Standing []Sighting // entries that were there when everybody had been at peace for a while
	Left     []string   // in the store, in the end
	Watchers Watchers

	Dir string // where failures are drawn
}

// Watchers are how many the servers had of those who watch them.
type Watchers struct {
	Before int
	Busy   int // when all clients were at peace, and at work
	Most   int // that Busy may be
	After  int // in the end
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

// Check makes all checks. Of a run that was broken off it leaves out those that ask what
// became of everybody in the end.
func (c *Case) Check() []Result {
	var all []Result
	for _, check := range Checks {
		if c.Cut != 0 && (check.Name == "clean" || check.Name == "progress" && c.End >= c.Cut) {
			continue
		}
		looked, found := check.Do(c)
		all = append(all, Result{check.Name, looked, found})
	}
	return all
}

// Vacuous names the checks that have looked at nothing, of those for which every run has
// something, and says so where no pool was kept in use: then no history of one was checked.
func (c *Case) Vacuous(results []Result) (names []string) {
	for _, r := range results {
		switch r.Check {
		case "loss", "told": // for these, somebody has to have bad luck
		default:
			if r.Looked == 0 {
				names = append(names, r.Check)
			}
		}
	}
	if kept, _ := c.pools(); kept == 0 {
		names = append(names, "history of pools")
	}
	return names
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
	if c.Cut != 0 { // those who lost what they held by then were not heard of any more
		c.Sightings = slices.DeleteFunc(slices.Clone(c.Sightings), func(s Sighting) bool { return s.At > c.Cut })
	}
	joined := map[string]map[uint64]int64{}
	for _, s := range c.Sightings {
		if joined[s.Name] == nil {
			joined[s.Name] = map[uint64]int64{}
		}
		if at, ok := joined[s.Name][s.Token]; !ok || s.At < at {
			joined[s.Name][s.Token] = s.At
		}
	}
	for i := range c.Lives {
		if c.Cut != 0 { // what was written down as the process ended says nothing
			c.Lives[i].Events = slices.DeleteFunc(slices.Clone(c.Lives[i].Events), func(e journal.Event) bool { return e.At > c.Cut })
		}
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
