package drivertest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// What those see who look on, and guarantee 6.
var watchCases = []Case{
	{"QueueYieldsThePresentStateFirst", queueYieldsThePresentStateFirst},
	{"QueueShowsWhoHoldsAndWhoWaits", queueShowsWhoHoldsAndWhoWaits},
	{"QueueEndsWithAnErrorAsLastElement", queueEndsWithAnErrorAsLastElement},
	{"SlowReaderOfAQueueGetsTheLatest", slowReaderOfAQueueGetsTheLatest},
	{"QueueOutlivesTrouble", queueOutlivesTrouble},
	{"ListShowsQueuesByPrefix", listShowsQueuesByPrefix},
	{"NothingIsLeftBehind", nothingIsLeftBehind},
}

// A feed is an iterator that is read on the side. What it yields is sent on
// states, without a buffer: who does not read is a slow reader.
type feed[T any] struct {
	f      *fixture
	states chan T
	cancel context.CancelFunc
	job    *job[struct{}] // ends with the iterator's last element
}

func follow[T any](f *fixture, seq func(ctx context.Context) iter.Seq2[T, error]) *feed[T] {
	ctx, cancel := context.WithCancel(f.ctx)
	f.Cleanup(cancel)
	states := make(chan T)
	return &feed[T]{f, states, cancel, act(f, func() error {
		var last error
		for v, err := range seq(ctx) {
			if last != nil {
				f.Errorf("an element %v, %v follows the error %v", v, err, last)
			}
			if err != nil {
				last = err
				continue
			}
			select {
			case states <- v:
			case <-ctx.Done():
			}
		}
		return last
	})}
}

// next returns the next element.
func (w *feed[T]) next() T {
	w.f.Helper()
	select {
	case v := <-w.states:
		return v
	case <-w.job.done:
		w.f.Fatalf("the iterator has ended: %v", w.job.err)
	case <-time.After(w.f.patience):
		w.f.Fatalf("nothing new within %v", w.f.patience)
	}
	panic("unreachable: Fatalf does not return")
}

// until reads until an element fits. Several changes may be seen as one.
func (w *feed[T]) until(fits func(T) bool) T {
	w.f.Helper()
	for {
		if v := w.next(); fits(v) {
			return v
		}
	}
}

// stop ends the iterator, which must yield the context's error last.
func (w *feed[T]) stop() {
	w.f.Helper()
	w.cancel()
	if _, err := w.job.endedWithin(prompt); !errors.Is(err, context.Canceled) {
		w.f.Errorf("the iterator ended with %v as its last element, want Canceled", err)
	}
}

func (p *peer) queue(name string) *feed[watch.Snapshot] {
	return follow(p.f, func(ctx context.Context) iter.Seq2[watch.Snapshot, error] {
		return watch.Queue(ctx, p.Session, name)
	})
}

func queueYieldsThePresentStateFirst(f *fixture) {
	p, name := f.open("p"), f.name("q")
	empty := p.queue(name)
	if s := empty.next(); s.Name != name || len(s.Holders)+len(s.Waiters) != 0 {
		f.Errorf("the first state of an empty queue is %+v", s)
	}
	g := p.lock(name)
	held := p.queue(name)
	if s := held.next(); len(s.Holders) != 1 || s.Holders[0].Token != g.Token() {
		f.Errorf("the first state of a queue that is held is %+v", s)
	}
	empty.until(func(s watch.Snapshot) bool { return len(s.Holders) == 1 })
	f.release(g)
	for _, w := range []*feed[watch.Snapshot]{empty, held} {
		w.until(func(s watch.Snapshot) bool { return len(s.Holders) == 0 })
		w.stop()
	}
}

func queueShowsWhoHoldsAndWhoWaits(f *fixture) {
	a, b, onlooker, name := f.open("alice"), f.open("bob"), f.open("onlooker"), f.name("q")
	w := onlooker.queue(name)
	before := time.Now()
	g, err := mutex.NewWith(a.Session, name, &mutex.Options{Note: "nightly run"}).Lock(f.ctx)
	if err != nil {
		f.Fatalf("%v", err)
	}
	campaign := begin(f, func() (*session.Grant, error) {
		t, err := b.election(name).Campaign(f.ctx, "10.0.0.2:80")
		if err != nil {
			return nil, err
		}
		return t.Grant, nil
	})
	s := w.until(func(s watch.Snapshot) bool { return len(s.Waiters) == 1 })
	if s.Kind != "mutex" || s.Limit != 0 || len(s.Holders) != 1 {
		f.Fatalf("the queue is %+v, want one holder of a mutex", s)
	}
	h, c := s.Holders[0], s.Waiters[0]
	if h.Identity != "alice" || h.Note != "nightly run" || h.Mode != "exclusive" || h.Kind != "mutex" || h.Token != g.Token() {
		f.Errorf("the holder is %+v", h)
	}
	if c.Identity != "bob" || c.Value != "10.0.0.2:80" || c.Mode != "exclusive" || c.Kind != "election" || c.Token <= h.Token {
		f.Errorf("the waiter is %+v", c)
	}
	// Since crosses the store, which may round it; it is of this machine's clock.
	if d := h.Since.Sub(before); d < -time.Second || d > f.patience {
		f.Errorf("the holder joined at %v, it says %v", before, h.Since)
	}
	f.release(g)
	s = w.until(func(s watch.Snapshot) bool { return len(s.Holders) == 1 && s.Holders[0].Identity == "bob" })
	if len(s.Waiters) != 0 || s.Kind != "election" {
		f.Errorf("after the release the queue is %+v", s)
	}
	f.release(campaign.must())
	w.until(func(s watch.Snapshot) bool { return len(s.Holders) == 0 })
	w.stop()
}

func queueEndsWithAnErrorAsLastElement(f *fixture) {
	p, name := f.open("p"), f.name("q")
	w := p.queue(name)
	w.next()
	w.stop()

	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	n := 0
	for _, err := range watch.Queue(ctx, p.Session, name) {
		if n++; n == 1 && !errors.Is(err, context.Canceled) {
			f.Errorf("under a done context Queue yields %v first", err)
		}
	}
	if n != 1 {
		f.Errorf("under a done context Queue yields %d elements, want its error", n)
	}

	for range watch.Queue(f.ctx, p.Session, name) {
		break // needs no more than to be let go
	}

	w = p.queue(name)
	w.next()
	if err := p.Close(f.ctx); err != nil {
		f.Errorf("close: %v", err)
	}
	if _, err := w.job.ended(); !errors.Is(err, session.ErrClosed) {
		f.Errorf("with the session closed, Queue ended with %v, want ErrClosed", err)
	}
}

func slowReaderOfAQueueGetsTheLatest(f *fixture) {
	p, name := f.open("p"), f.name("q")
	w := p.queue(name)
	w.next()
	var last uint64
	for range 30 {
		g := p.lock(name)
		last = g.Token()
		f.release(g)
	}
	g := p.lock(name)
	n := 1
	for s := w.next(); len(s.Holders) == 0 || s.Holders[0].Token != g.Token(); s = w.next() {
		if n++; n > 10 {
			f.Fatalf("a slow reader gets a backlog: %d states, the last %+v, now %d holds", n, s, g.Token())
		}
	}
	if g.Token() <= last {
		f.Errorf("token %d follows %d", g.Token(), last)
	}
	w.stop()
	f.release(g)
}

func queueOutlivesTrouble(f *fixture) {
	p, other, name := f.open("p"), f.open("other"), f.name("q")
	w := p.queue(name)
	w.next()
	for range 3 {
		p.fault.Cut()
		p.calls.Cut()
		g := other.lock(name)
		w.until(func(s watch.Snapshot) bool { return len(s.Holders) == 1 && s.Holders[0].Token == g.Token() })
		f.release(g)
		w.until(func(s watch.Snapshot) bool { return len(s.Holders) == 0 })
	}
	w.stop()
}

func listShowsQueuesByPrefix(f *fixture) {
	a, b := f.open("a"), f.open("b")
	held := map[string]*session.Grant{}
	for _, part := range []string{"x/one", "x/two", "y"} {
		held[f.name(part)] = a.lock(f.name(part))
	}
	waiter := b.waiting(f.ctx, f.name("x/one"), 2)
	for part, want := range map[string][]string{
		"":    {"x/one", "x/two", "y"},
		"x":   {"x/one", "x/two"},
		"x/t": {"x/two"},
		"no":  nil,
	} {
		snaps, err := watch.List(f.ctx, b.Session, f.name(part))
		if err != nil {
			f.Fatalf("%v", err)
		}
		var names []string
		for _, s := range snaps {
			names = append(names, s.Name)
			if len(s.Holders) != 1 || s.Holders[0].Token != held[s.Name].Token() || s.Holders[0].Identity != "a" || s.Kind != "mutex" {
				f.Errorf("List shows %+v, want a mutex held by a", s)
			}
			if one := s.Name == f.name("x/one"); one != (len(s.Waiters) == 1) || one && s.Waiters[0].Identity != "b" {
				f.Errorf("List shows the waiters %+v of %q", s.Waiters, s.Name)
			}
		}
		for i := range want {
			want[i] = f.name(want[i])
		}
		if !slices.Equal(names, want) {
			f.Errorf("List of the prefix %q shows %q, want %q", part, names, want)
		}
	}
	for _, g := range held {
		f.release(g)
	}
	f.release(waiter.must())
}

func nothingIsLeftBehind(f *fixture) {
	a, b, onlooker := f.open("a"), f.open("b"), f.open("onlooker")
	for i := range 5 {
		name := f.name(fmt.Sprintf("held/%d", i))
		a.lock(name)
		b.waiting(f.ctx, name, 2)
	}
	if _, err := a.election(f.name("office")).Campaign(f.ctx, "a"); err != nil {
		f.Fatalf("%v", err)
	}
	for _, p := range []*peer{b, a} {
		if err := p.Close(f.ctx); err != nil {
			f.Errorf("close: %v", err)
		}
		queues, err := watch.List(f.ctx, onlooker.Session, f.prefix)
		if err != nil {
			f.Fatalf("%v", err)
		}
		for _, s := range queues {
			for _, e := range append(s.Holders, s.Waiters...) {
				if e.Identity == p.Identity() {
					f.Errorf("%s is closed and still in %q: %+v", p.Identity(), s.Name, e)
				}
			}
		}
	}
}
