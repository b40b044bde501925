package sim

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"sync"
	"time"
)

// A journal is what happened in a schedule. Two runs of one schedule have the
// same journal.
type journal struct {
	start time.Time

	mu     sync.Mutex
	events []event
}

type event struct {
	at   time.Duration // since the start
	tag  tag
	what string
	n    uint64 // a token, a limit, or 0
}

func (j *journal) add(t tag, what string, n uint64) {
	e := event{at: time.Since(j.start), tag: t, what: what, n: n}
	j.mu.Lock()
	j.events = append(j.events, e)
	j.mu.Unlock()
}

func (j *journal) reset() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.start, j.events = time.Now(), j.events[:0]
}

// sorted returns the events by time. What happens at one instant, in goroutines
// that know nothing of one another, has no order of its own.
func (j *journal) sorted() []event {
	j.mu.Lock()
	events := slices.Clone(j.events)
	j.mu.Unlock()
	slices.SortFunc(events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.tag.client, b.tag.client), cmp.Compare(a.tag.actor, b.tag.actor),
			cmp.Compare(a.tag.lease, b.tag.lease), cmp.Compare(a.tag.entry, b.tag.entry),
			cmp.Compare(a.what, b.what), cmp.Compare(a.n, b.n))
	})
	return events
}

// hash identifies the journal.
func (j *journal) hash() uint64 {
	h := fnv.New64a()
	for _, e := range j.sorted() {
		fmt.Fprintln(h, e.at, e.tag, e.what, e.n)
	}
	return h.Sum64()
}

func (j *journal) print(w io.Writer) {
	for _, e := range j.sorted() {
		fmt.Fprintln(w, e)
	}
}

func (e event) String() string {
	who := fmt.Sprintf("client %d", e.tag.client)
	switch {
	case e.tag.client == 0:
		who = "store"
	case e.tag.actor > 0:
		who += fmt.Sprintf(" actor %d", e.tag.actor)
	}
	s := fmt.Sprintf("%13.9f %-18s %s", e.at.Seconds(), who, e.what)
	if e.tag.entry > 0 {
		s += fmt.Sprintf(" [entry %d of actor %d]", e.tag.entry%1000, actorOf(e.tag.entry))
	}
	if e.tag.lease > 0 {
		s += fmt.Sprintf(" [lease %d]", e.tag.lease)
	}
	if e.n > 0 {
		s += fmt.Sprintf(" (%d)", e.n)
	}
	return s
}
