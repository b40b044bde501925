package check

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/client"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// progress checks that after the last fault nobody waits for longer than two TTLs,
// and that everybody was served with everything.
func (c *Case) progress() (looked int, found []Violation) {
	limit := c.Healed + 2*int64(c.TTL)
	for i := range c.Lives {
		l := &c.Lives[i]
		if l.Client < 0 || c.died(l.Name) < c.End {
			continue
		}
		served := map[string]bool{}
		for _, t := range c.Tries {
			if t.Life != l {
				continue
			}
			if t.Granted() && t.Returned > c.Healed && t.Returned <= limit {
				served[t.Kind()] = true
			}
			if t.Returned != 0 && t.Returned <= c.Healed || t.Called > c.End {
				continue
			}
			looked++
			from := max(t.Called, c.Healed)
			end := c.End
			if t.Returned != 0 {
				end = min(end, t.Returned)
			}
			if end-from > 2*int64(c.TTL) { // also one that does not queue has to be told
				found = append(found, Violation{t.Name, from, "still waiting two TTLs after the last fault: " + c.story(t)})
			}
		}
		for _, kind := range client.Kinds {
			if !served[kind] {
				found = append(found, Violation{"", limit, fmt.Sprintf("%s was granted no %s within two TTLs after the last fault, by %s",
					l.Name, kind, c.since(limit))})
			}
		}
	}
	return looked, found
}

func (c *Case) clean() (looked int, found []Violation) {
	add := func(format string, args ...any) {
		found = append(found, Violation{Text: fmt.Sprintf(format, args...)})
	}
	for _, text := range c.Trouble {
		add("%s", text)
	}
	if len(c.Left) > 0 {
		add("%d things are left in the store: %s", len(c.Left), strings.Join(c.Left[:min(len(c.Left), 10)], ", "))
	}
	if w := c.Watchers; w.Busy > w.Most {
		add("the servers have %d watchers with all clients at work, and there may be %d", w.Busy, w.Most)
	}
	if w := c.Watchers; w.After > w.Before {
		add("the servers had %d watchers before, and have %d", w.Before, w.After)
	}
	found = append(found, c.forgotten()...)
	for i := range c.Lives {
		looked++
		l := &c.Lives[i]
		begun, closed := false, false
		for _, e := range l.Events {
			switch e.Kind {
			case journal.Opened:
				begun = true
			case journal.Closed:
				closed = true
			case journal.Leaked:
				add("%s has goroutines left:\n%s", l.Name, e.Error)
			}
		}
		if begun && !closed && c.died(l.Name) == never {
			add("%s has not come to the end of closing its session", l.Name)
		}
	}
	return looked, found
}

// forgotten returns the entries that were still in a queue though their acquisition was
// over for a TTL in which nothing was in the way: the grant had been released, or nothing
// had been granted. Where nobody waits behind one, nobody else notices.
func (c *Case) forgotten() (found []Violation) {
	for _, s := range c.Standing {
		t := c.tries[acquisition{s.Life, s.ID}]
		if t == nil {
			continue
		}
		over := t.Released
		if t.Outcome == journal.Barred || t.Outcome == journal.GaveUp {
			over = t.Returned
		}
		if over == 0 || t.ReleaseError != "" || max(over, c.Healed)+2*int64(c.TTL) > s.At {
			continue
		}
		found = append(found, Violation{s.Name, s.At, fmt.Sprintf("an entry of token %d was in the queue at %s: %s", s.Token, c.since(s.At), c.story(t))})
	}
	return found
}

var number = regexp.MustCompile(`[0-9]+`)

// mentions tells whether the text has the token in it.
func mentions(text string, token uint64) bool {
	want := strconv.FormatUint(token, 10)
	for _, n := range number.FindAllString(text, -1) {
		if n == want {
			return true
		}
	}
	return false
}

// Span is a time for people.
func Span(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
