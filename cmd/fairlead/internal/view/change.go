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
	before := map[uint64]standing{}
	for _, e := range from.Holders {
		before[e.Token] = standing{e, true}
	}
	for _, e := range from.Waiters {
		before[e.Token] = standing{e, false}
	}
	after := map[uint64]bool{}
	for _, entries := range [][]watch.Entry{to.Holders, to.Waiters} {
		for _, e := range entries {
			after[e.Token] = true
		}
	}
	var lines []string
	tell := func(verb, what string) {
		lines = append(lines, fmt.Sprintf("%s  %-7s  %s", now.Local().Format(time.TimeOnly), verb, what))
	}
	for _, entries := range [][]watch.Entry{from.Holders, from.Waiters} {
		for _, e := range entries {
			if !after[e.Token] {
				tell("left", describe(e)+ifElse(before[e.Token].holds, ", held", ", waited"))
			}
		}
	}
	if from.Limit > 0 && to.Limit > 0 && from.Limit != to.Limit {
		tell("limit", fmt.Sprintf("%d permits, %d before", to.Limit, from.Limit))
	}
	for _, e := range to.Holders {
		switch was, known := before[e.Token]; {
		case !known || !was.holds:
			tell("holds", describe(e))
		case was.entry.Mode != e.Mode || was.entry.Value != e.Value:
			tell("changed", describe(e))
		}
	}
	for _, e := range to.Waiters {
		if was, known := before[e.Token]; !known || was.holds {
			tell("waits", describe(e))
		} else if was.entry.Value != e.Value {
			tell("changed", describe(e))
		}
	}
	if empty := len(to.Holders)+len(to.Waiters) == 0; empty && (from.Name == "" || len(lines) > 0) {
		tell("free", Text(to.Name))
	}
	return lines
}

// standing is how an entry stood.
type standing struct {
	entry watch.Entry
	holds bool
}

func ifElse(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
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
		switch len(q.Holders) {
		case 0:
			return line + "; nobody holds it at the moment", true
		case 1:
		default:
			line += fmt.Sprintf("; %d hold it, the first of them", len(q.Holders))
			return line + " " + holding(q.Holders[0], now), true
		}
		return line + "; held by " + holding(q.Holders[0], now), true
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
