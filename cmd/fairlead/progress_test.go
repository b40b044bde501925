//go:build unix

package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
)

// aloud makes a command line whose standard error is among its output.
func aloud(args string) []string {
	return []string{"lock", "aloud", "--shared", "--", "sh", "-c", "exec 2>&1 " + binary + " " + args}
}

func TestLongWaitsAreExplained(t *testing.T) {
	s := open(t, store)
	for _, c := range []struct{ name, args string }{
		{"progress/lock", "lock progress/lock -- echo done"},
		{"progress/elect", "elect progress/elect -- echo done"},
	} {
		g, err := mutex.NewWith(s, c.name, &mutex.Options{Note: "the work"}).Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p := start(t, aloud(c.args)...)
		contains(t, p.line(), fmt.Sprintf(`fairlead: waiting for "%s": number 1 of 1 in the queue; held by the test (token %d, since `, c.name, g.Token()),
			"or later, the work)")
		if err := g.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.expect("done")
		p.end(0)
	}
	holder := hold(t, "sem", "--limit", "3", "--weight", "2", "progress/sem")
	p := start(t, aloud("sem --limit 3 --weight 2 progress/sem -- echo done")...)
	contains(t, p.line(), `waiting for "progress/sem": number 1 of 1 in the queue; held by `)
	holder.leave()
	p.expect("done")
	p.end(0)
}

func TestProgressIsToldWhenItChanges(t *testing.T) {
	s := open(t, store)
	first := hold(t, "lock", "progress/change", "--note", "first")
	second := start(t, "lock", "progress/change", "--note", "second", "--", "sh", "-c", stay)
	awaitQueue(t, s, "progress/change", 1, 1)
	p := start(t, aloud("lock progress/change -- echo done")...)
	contains(t, p.line(), "number 2 of 2", "first)")
	first.leave()
	contains(t, p.line(), "number 1 of 1", "second)")
	second.expect("in")
	second.leave()
	p.expect("done")
	p.end(0)
}

func TestShortAndQuietWaitsSayNothing(t *testing.T) {
	s := open(t, store)
	start(t, "lock", "progress/none", "--", "true").end(0)
	g, err := mutex.New(s, "progress/none").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	loud := start(t, aloud("lock progress/none -- echo done")...)
	awaitQueue(t, s, "progress/none", 1, 1)
	quiet := start(t, aloud("lock --quiet progress/none -- echo done")...)
	awaitQueue(t, s, "progress/none", 1, 2)
	last := start(t, aloud("lock progress/none -- echo done")...)
	awaitQueue(t, s, "progress/none", 1, 3)
	contains(t, loud.line(), "number 1 of ")
	contains(t, last.line(), "number 3 of 3") // it came later, so the quiet one has had its time
	if err := g.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	quiet.expect("done")
	quiet.end(0)
}

func TestProgressPausesLongerWhereManyWaitLong(t *testing.T) {
	for _, c := range []struct {
		waited time.Duration
		length int
		want   time.Duration
	}{
		{time.Second, 2, 2*time.Second + 10*time.Millisecond},
		{time.Minute, 0, 6 * time.Second},
		{time.Hour, 0, 30 * time.Second},
		{time.Second, 1000, 7 * time.Second},
	} {
		if got := progressPause(c.waited, c.length); got != c.want {
			t.Errorf("after %v among %d it pauses for %v, want %v", c.waited, c.length, got, c.want)
		}
	}
}
