package view

import (
	"fmt"
	"strconv"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// Changes returns a line for each change from one state of a queue to the next, at
// the time at which it was seen. From the state before the first, which has no
// Name, all that is there is told.
func Changes(from, to watch.Snapshot, now time.Time) []string {
	t := &telling{at: now.Local().Format(time.TimeOnly)}
	before, after := standings(from), standings(to)
	t.departures(from.Holders, after, ", held")
	t.departures(from.Waiters, after, ", waited")
	if from.Limit > 0 && to.Limit > 0 && from.Limit != to.Limit {
		t.tell("limit", fmt.Sprintf("%d permits, %d before", to.Limit, from.Limit))
	}
	t.standing(to.Holders, before, "holds")
	t.standing(to.Waiters, before, "waits")
	if empty := len(after) == 0; empty && (from.Name == "" || len(t.lines) > 0) {
		t.tell("free", Text(to.Name))
	}
	return t.lines
}

// A standing is an entry, and whether it holds.
type standing struct {
	watch.Entry
	verb string // "holds" or "waits"
}

// standings returns how each entry of a queue stands, by its token.
func standings(q watch.Snapshot) map[uint64]standing {
	all := map[uint64]standing{}
	for _, e := range q.Holders {
		all[e.Token] = standing{e, "holds"}
	}
	for _, e := range q.Waiters {
		all[e.Token] = standing{e, "waits"}
	}
	return all
}

// telling is what is told of changes seen at one time.
type telling struct {
	at    string
	lines []string
}

func (t *telling) tell(verb, what string) {
	t.lines = append(t.lines, fmt.Sprintf("%s  %-7s  %s", t.at, verb, what))
}

func (t *telling) departures(entries []watch.Entry, after map[uint64]standing, was string) {
	for _, e := range entries {
		if _, there := after[e.Token]; !there {
			t.tell("left", describe(e)+was)
		}
	}
}

func (t *telling) standing(entries []watch.Entry, before map[uint64]standing, verb string) {
	for _, e := range entries {
		switch was := before[e.Token]; {
		case was.verb != verb:
			t.tell(verb, describe(e))
		case was.Mode != e.Mode || was.Value != e.Value:
			t.tell("changed", describe(e))
		}
	}
}

// describe says in a line whose an entry is and what it says.
func describe(e watch.Entry) string {
	s := Text(Owner(e)) + " token " + strconv.FormatUint(e.Token, 10)
	switch e.Mode {
	case string(driver.Shared):
		s += ", shared"
	case string(driver.Permit):
		s += ", " + plural(int(e.Weight), "permit")
	}
	if e.Note != "" {
		s += ", note " + Text(e.Note)
	}
	if e.Value != "" {
		s += ", value " + Text(e.Value)
	}
	return s
}

// Waiting says in a line how one who waits stands: its place in the queue, and who
// holds since when. It returns false when the entry with the token does not wait.
func Waiting(q watch.Snapshot, token uint64, now time.Time) (string, bool) {
	for i, e := range q.Waiters {
		if e.Token != token {
			continue
		}
		line := fmt.Sprintf("waiting for %s: number %d of %d in the queue", Text(strconv.Quote(q.Name)), i+1, len(q.Waiters))
		switch n := len(q.Holders); n {
		case 0:
			return line + "; nobody holds it at the moment", true
		case 1:
			return line + "; held by " + holding(q.Holders[0], now), true
		default:
			return fmt.Sprintf("%s; %d hold it, the first of them %s", line, n, holding(q.Holders[0], now)), true
		}
	}
	return "", false
}

func holding(e watch.Entry, now time.Time) string {
	s := fmt.Sprintf("%s (token %d", Text(Owner(e)), e.Token)
	if !e.Since.IsZero() {
		s += ", since " + Clock(e.Since, now) + " or later"
	}
	if e.Note != "" {
		s += ", " + Text(e.Note)
	}
	return s + ")"
}
