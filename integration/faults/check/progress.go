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
		if l.Client < 0 || c.died(l.Name) != never {
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
	if len(c.Watchers) == 2 && c.Watchers[1] > c.Watchers[0] {
		add("the servers had %d watchers before, and have %d", c.Watchers[0], c.Watchers[1])
	}
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
