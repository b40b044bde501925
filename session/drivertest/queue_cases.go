package drivertest

import (
	"context"
	"errors"
	"slices"

	"github.com/fairlead-go/fairlead/session/driver"
)

// What the driver interface promises of queues.
var queueCases = []Case{
	{"TokensIncreaseAlsoAfterTheQueueWasEmpty", tokensIncreaseAlsoAfterTheQueueWasEmpty},
	{"WatchShowsThePresentStateFirst", watchShowsThePresentStateFirst},
	{"WatchEndsWithItsFunction", watchEndsWithItsFunction},
	{"ListIsByPrefix", listIsByPrefix},
	{"NamesThatNestAreApart", namesThatNestAreApart},
}

func tokensIncreaseAlsoAfterTheQueueWasEmpty(f *fixture) {
	name := f.name("q")
	holders := []*holder{f.bare(), f.bare()}
	var last uint64
	for i := range 10 {
		h := holders[i%2]
		if i == 5 { // the whole lease goes, not just the entry
			f.b.Expire(f.TB, h.Lease)
			h = f.bare()
			holders[i%2] = h
		}
		v := h.join(name)
		if v.Me.Token <= last {
			f.Errorf("token %d follows token %d", v.Me.Token, last)
		}
		last = v.Me.Token
		h.leave(v.Me)
		f.queued(name, 0)
	}
}

// tokens returns the tokens of entries, in order.
func tokens(entries []driver.Entry) []uint64 {
	ts := make([]uint64, len(entries))
	for i, e := range entries {
		ts[i] = e.Token
	}
	return ts
}

func watchShowsThePresentStateFirst(f *fixture) {
	h, name := f.bare(), f.name("q")
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	states := make(chan []driver.Entry)
	w := act(f, func() error {
		return f.admin.Watch(ctx, name, func(q driver.Queue) error {
			select {
			case states <- slices.Clone(q.Entries):
			case <-ctx.Done():
			}
			return nil
		})
	})
	// Several changes may be seen as one, so each is awaited before the next.
	shows := func(want ...uint64) {
		f.Helper()
		for {
			select {
			case entries := <-states:
				if slices.Equal(tokens(entries), want) {
					return
				}
				f.Logf("Watch shows %v on the way to %v", tokens(entries), want)
			case <-f.ctx.Done():
				f.Fatalf("Watch does not show %v", want)
			}
		}
	}
	shows()
	a := h.join(name)
	shows(a.Me.Token)
	b := h.join(name)
	shows(a.Me.Token, b.Me.Token)
	if _, err := h.Update(f.ctx, b.Me, "changed"); err != nil {
		f.Fatalf("update: %v", err)
	}
	shows(a.Me.Token, b.Me.Token)
	h.leave(a.Me)
	shows(b.Me.Token)
	h.leave(b.Me)
	shows()
	cancel()
	if _, err := w.endedWithin(prompt); !errors.Is(err, context.Canceled) {
		f.Errorf("Watch returned %v after its context was cancelled", err)
	}
}

func watchEndsWithItsFunction(f *fixture) {
	h, name := f.bare(), f.name("q")
	v := h.join(name)
	enough := errors.New("enough")
	err := f.admin.Watch(f.ctx, name, func(q driver.Queue) error {
		if !slices.Equal(tokens(q.Entries), []uint64{v.Me.Token}) {
			f.Errorf("Watch shows %v first, want the present state", brief(q.Entries))
		}
		return enough
	})
	if !errors.Is(err, enough) {
		f.Errorf("Watch returned %v, want the error of its function", err)
	}
}

func listIsByPrefix(f *fixture) {
	h := f.bare()
	want := map[string][]uint64{}
	for _, part := range []string{"x/a", "x/a", "x/b/c", "xy", "z"} {
		name := f.name(part)
		want[name] = append(want[name], h.join(name).Me.Token)
	}
	left := h.join(f.name("x/left"))
	h.leave(left.Me)
	for part, n := range map[string]int{"": 4, "x": 3, "x/": 2, "x/a": 1, "z": 1, "none": 0} {
		queues, err := f.admin.List(f.ctx, f.name(part))
		if err != nil {
			f.Fatalf("list %q: %v", part, err)
		}
		if len(queues) != n {
			f.Errorf("List of the prefix %q returned %v, want %d queues", part, queues, n)
		}
		for i, q := range queues {
			if !slices.Equal(tokens(q.Entries), want[q.Name]) {
				f.Errorf("List returned the queue %q with %v, want %v", q.Name, q.Entries, want[q.Name])
			}
			if i > 0 && queues[i-1].Name >= q.Name {
				f.Errorf("List is not by name: %q before %q", queues[i-1].Name, q.Name)
			}
		}
	}
}

func namesThatNestAreApart(f *fixture) {
	h := f.bare()
	parts := []string{"a", "a/b", "ab", "a/b/c", "a b", "A", "ä", "a%2Fb", "a_", "a-b"}
	for i, part := range parts {
		v := h.join(f.name(part))
		if len(v.Ahead) != 0 {
			f.Errorf("in the queue %q, %v is ahead", part, brief(v.Ahead))
		}
		for _, before := range parts[:i+1] {
			f.queued(f.name(before), 1)
		}
	}
	for i, part := range parts {
		q := f.queue(f.name(part))
		if len(q) != 1 || q[0].Name != f.name(part) {
			f.Fatalf("the queue %q is %v", part, brief(q))
		}
		h.leave(q[0])
		for _, left := range parts[i+1:] {
			if q := f.queue(f.name(left)); len(q) != 1 {
				f.Fatalf("after %q was left, the queue %q is %v", part, left, brief(q))
			}
		}
	}
}
