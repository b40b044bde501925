package drivertest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/session"
)

// Readers and writers.
var rwmutexCases = []Case{
	{"ReadersHoldTogetherAndWritersAlone", readersHoldTogetherAndWritersAlone},
	{"ReaderWaitsForAWaitingWriter", readerWaitsForAWaitingWriter},
	{"ReadersBehindOneWriterAreGrantedTogether", readersBehindOneWriterAreGrantedTogether},
	{"WriterThatGivesUpLetsReadersIn", writerThatGivesUpLetsReadersIn},
	{"WritersAndMutexesExcludeEachOther", writersAndMutexesExcludeEachOther},
	{"TryRLockMindsWritersAlone", tryRLockMindsWritersAlone},
	{"DowngradeLetsReadersInAndWritersNot", downgradeLetsReadersInAndWritersNot},
	{"DowngradeConsumesTheGrant", downgradeConsumesTheGrant},
	{"DowngradeWithTheGrantsOwnContext", downgradeWithTheGrantsOwnContext},
	{"DowngradeInsideDoIsRefused", downgradeInsideDoIsRefused},
	{"PrivateValueIsNotTheOwnersToReplace", privateValueIsNotTheOwnersToReplace},
	{"DowngradeOfWhatIsNoWriterIsRefused", downgradeOfWhatIsNoWriterIsRefused},
	{"DowngradeOfALostGrantIsALoss", downgradeOfALostGrantIsALoss},
	{"ReadersAndWritersNeverOverlap", readersAndWritersNeverOverlap},
}

func (p *peer) rwmutex(name string) *rwmutex.RWMutex { return rwmutex.New(p.Session, name) }

func (p *peer) rlocking(name string) *job[*session.Grant] {
	return begin(p.f, func() (*session.Grant, error) { return p.rwmutex(name).RLock(p.f.ctx) })
}

func (p *peer) wlocking(ctx context.Context, name string) *job[*session.Grant] {
	return begin(p.f, func() (*session.Grant, error) { return p.rwmutex(name).Lock(ctx) })
}

func readersHoldTogetherAndWritersAlone(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	r1, r2 := a.rlocking(name).must(), b.rlocking(name).must()
	if r2.Token() <= r1.Token() {
		f.Errorf("token %d follows token %d", r2.Token(), r1.Token())
	}
	w := b.wlocking(f.ctx, name)
	f.queued(name, 3)
	f.release(r1)
	w.goesOn("the wait of a writer behind a reader")
	f.release(r2)
	g := w.must()
	r := a.rlocking(name)
	f.queued(name, 2)
	r.goesOn("the wait of a reader behind a writer")
	second := b.wlocking(f.ctx, name)
	f.queued(name, 3)
	f.release(g)
	held := r.must()
	second.goesOn("the wait of a writer behind a reader")
	f.release(held)
	f.release(second.must())
	f.free(name)
}

// readerWaitsForAWaitingWriter: else writers would starve.
func readerWaitsForAWaitingWriter(f *fixture) {
	a, b, c, name := f.open("a"), f.open("b"), f.open("c"), f.name("q")
	r := a.rlocking(name).must()
	w := b.wlocking(f.ctx, name)
	f.queued(name, 2)
	late := c.rlocking(name)
	f.queued(name, 3)
	late.goesOn("the wait of a reader that came after a waiting writer")
	f.release(r)
	g := w.must()
	late.goesOn("the wait of a reader behind a writer")
	f.release(g)
	f.release(late.must())
}

func readersBehindOneWriterAreGrantedTogether(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	w := a.wlocking(f.ctx, name).must()
	var readers []*job[*session.Grant]
	for i := range 5 {
		readers = append(readers, []*peer{a, b}[i%2].rlocking(name))
		f.queued(name, i+2)
	}
	last := b.wlocking(f.ctx, name)
	f.queued(name, 7)
	f.release(w)
	var held []*session.Grant
	for _, r := range readers { // none has released when the last one is granted
		held = append(held, r.must())
	}
	for _, g := range held {
		last.goesOn("the wait of a writer behind readers")
		f.release(g)
	}
	f.release(last.must())
}

func writerThatGivesUpLetsReadersIn(f *fixture) {
	a, b, c, name := f.open("a"), f.open("b"), f.open("c"), f.name("q")
	r := a.rlocking(name).must()
	ctx, giveUp := context.WithCancel(f.ctx)
	w := b.wlocking(ctx, name)
	f.queued(name, 2)
	late := c.rlocking(name)
	f.queued(name, 3)
	giveUp()
	if _, err := w.endedWithin(prompt); !errors.Is(err, context.Canceled) {
		f.Errorf("a cancelled Lock returned %v", err)
	}
	f.release(late.must())
	f.release(r)
}

func writersAndMutexesExcludeEachOther(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	m := a.lock(name)
	w, r := b.wlocking(f.ctx, name), (*job[*session.Grant])(nil)
	f.queued(name, 2)
	r = b.rlocking(name)
	f.queued(name, 3)
	w.goesOn("the wait of a writer behind a mutex")
	r.goesOn("the wait of a reader behind a mutex")
	f.release(m)
	g := w.must()
	again := a.waiting(f.ctx, name, 3)
	f.release(g)
	held := r.must()
	again.goesOn("the wait of a mutex behind a reader")
	f.release(held)
	f.release(again.must())
}

func tryRLockMindsWritersAlone(f *fixture) {
	a, b, name := f.open("alice"), f.open("bob"), f.name("q")
	r, err := a.rwmutex(name).TryRLock(f.ctx)
	if err != nil {
		f.Fatalf("%v", err)
	}
	second, err := b.rwmutex(name).TryRLock(f.ctx)
	if err != nil {
		f.Fatalf("beside a reader: %v", err)
	}
	held := func(what, by string, err error) {
		f.Helper()
		e, ok := errors.AsType[*session.Error](err)
		if !ok || !errors.Is(err, session.ErrHeld) || e.Holder != by {
			f.Errorf("%s returned %v, want ErrHeld by %s", what, err, by)
		}
	}
	_, err = b.rwmutex(name).TryLock(f.ctx)
	held("TryLock beside readers", "alice", err)
	w := b.wlocking(f.ctx, name)
	f.queued(name, 3)
	_, err = b.rwmutex(name).TryRLock(f.ctx)
	held("TryRLock behind a waiting writer", "bob", err)
	f.queued(name, 3)
	f.release(r)
	f.release(second)
	f.release(w.must())
}

func downgradeLetsReadersInAndWritersNot(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	w := a.wlocking(f.ctx, name).must()
	r1, r2 := b.rlocking(name), (*job[*session.Grant])(nil)
	f.queued(name, 2)
	next := b.wlocking(f.ctx, name)
	f.queued(name, 3)
	r2 = a.rlocking(name)
	f.queued(name, 4)
	g, err := a.rwmutex(name).Downgrade(f.ctx, w)
	if err != nil {
		f.Fatalf("%v", err)
	}
	if g.Token() != w.Token() || g.Check() != nil {
		f.Errorf("the downgraded grant has token %d and Check returns %v, want token %d", g.Token(), g.Check(), w.Token())
	}
	held := r1.must()
	next.goesOn("the wait of a writer behind a downgraded one")
	f.release(held)
	next.goesOn("the wait of a writer behind a downgraded one")
	r2.goesOn("the wait of a reader behind a waiting writer")
	f.release(g)
	f.release(next.must())
	f.release(r2.must())
	f.free(name)
}

func downgradeConsumesTheGrant(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	w := a.wlocking(f.ctx, name).must()
	g, err := a.rwmutex(name).Downgrade(f.ctx, w)
	if err != nil {
		f.Fatalf("%v", err)
	}
	if cause := context.Cause(w.Context()); !errors.Is(cause, session.ErrReleased) {
		f.Errorf("the consumed grant's context ended with %v, want ErrReleased", cause)
	}
	if err := w.Check(); !errors.Is(err, session.ErrReleased) {
		f.Errorf("Check of a consumed grant returned %v, want ErrReleased", err)
	}
	for range 2 {
		if err := w.Release(f.ctx); err != nil {
			f.Errorf("Release of a consumed grant returned %v", err)
		}
	}
	if _, err := a.rwmutex(name).Downgrade(f.ctx, w); !errors.Is(err, session.ErrReleased) {
		f.Errorf("a second Downgrade returned %v, want ErrReleased", err)
	}
	f.alone(name, g.Token())
	if err := g.Confirm(f.ctx); err != nil {
		f.Errorf("%v", err)
	}
	next := b.wlocking(f.ctx, name)
	f.queued(name, 2)
	next.goesOn("the wait of a writer behind a downgraded one")
	a.expire()
	f.lostGrant(g)
	f.release(next.must())
}

func downgradeWithTheGrantsOwnContext(f *fixture) {
	a, name := f.open("a"), f.name("q")
	w := a.wlocking(f.ctx, name).must()
	g, err := a.rwmutex(name).Downgrade(w.Context(), w)
	if err != nil {
		f.Fatalf("%v", err)
	}
	again, err := a.rwmutex(name).Downgrade(g.Context(), g)
	if err == nil {
		f.Errorf("a reader was downgraded, to %v", again)
	}
	f.release(g)
}

// downgradeInsideDoIsRefused: what runs there would lose its context, and Do and
// Close would look at the wrong grant.
func downgradeInsideDoIsRefused(f *fixture) {
	a, name := f.open("a"), f.name("q")
	m := a.rwmutex(name)
	err := m.Do(f.ctx, func(ctx context.Context) error {
		w, _ := session.GrantFrom(ctx)
		if _, err := m.Downgrade(ctx, w); err == nil {
			f.Errorf("Downgrade inside Do succeeded")
		}
		if ctx.Err() != nil {
			f.Errorf("after it was refused, the context of the function is done")
		}
		return w.Confirm(f.ctx)
	})
	if err != nil {
		f.Errorf("%v", err)
	}
	f.free(name)
}

func privateValueIsNotTheOwnersToReplace(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	w := a.wlocking(f.ctx, name).must()
	if err := w.Update(f.ctx, "shared"); err == nil {
		f.Errorf("a writer's value was replaced")
	}
	if _, err := b.rwmutex(name).TryRLock(f.ctx); !errors.Is(err, session.ErrHeld) {
		f.Errorf("TryRLock beside a writer returned %v, want ErrHeld", err)
	}
	f.release(w)
	g := a.acquire(name, 3, 1)
	if err := g.Update(f.ctx, "busy"); err == nil {
		f.Errorf("a permit's value was replaced")
	}
	f.release(b.acquire(name, 3, 2))
	f.release(g)
}

func downgradeOfWhatIsNoWriterIsRefused(f *fixture) {
	a, name := f.open("a"), f.name("q")
	m := a.rwmutex(name)
	r := a.rlocking(name).must()
	other := a.wlocking(f.ctx, f.name("other")).must()
	mutex := a.lock(f.name("mutex"))
	for _, g := range []*session.Grant{r, other, mutex} {
		if _, err := m.Downgrade(f.ctx, g); err == nil {
			f.Errorf("Downgrade of a %s of %q succeeded", g.Kind(), g.Name())
		}
		if err := g.Check(); err != nil {
			f.Errorf("after it was refused, %v", err)
		}
		f.release(g)
	}
	w := a.wlocking(f.ctx, name).must()
	f.release(w)
	if _, err := m.Downgrade(f.ctx, w); !errors.Is(err, session.ErrReleased) {
		f.Errorf("Downgrade of a released grant returned %v, want ErrReleased", err)
	}
}

func downgradeOfALostGrantIsALoss(f *fixture) {
	a, name := f.open("a"), f.name("q")
	for _, sooner := range []bool{true, false} {
		w := a.wlocking(f.ctx, name).must()
		a.expire()
		if sooner {
			f.lostGrant(w)
		}
		if _, err := a.rwmutex(name).Downgrade(f.ctx, w); !errors.Is(err, session.ErrLost) {
			f.Errorf("Downgrade under a lease that has ended returned %v, want ErrLost", err)
		}
		if w.Context().Err() == nil {
			f.Errorf("after a failed Downgrade the grant's context is not done")
		}
		f.free(name)
	}
}

// A hall is what a read-write lock or a semaphore is to protect: it knows who is
// in it and how much room they take.
type hall struct {
	tb    TB
	limit int64

	mu   sync.Mutex
	used int64
	most int64
}

// enter reports when there is no room for so much.
func (h *hall) enter(who string, weight int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.used += weight; h.used > h.limit {
		h.tb.Errorf("%s with weight %d was let in where then %d of %d are used", who, weight, h.used, h.limit)
	}
	h.most = max(h.most, h.used)
}

func (h *hall) leave(weight int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.used -= weight
}

func readersAndWritersNeverOverlap(f *fixture) {
	const all = 1000 // what a writer takes
	name, h := f.name("q"), &hall{tb: f.TB, limit: all}
	first := f.open("first")
	g := first.wlocking(f.ctx, name).must()
	h.enter("first", all)
	var visits []*job[struct{}]
	for i := range 6 {
		p := f.open(fmt.Sprintf("session %d", i))
		visits = append(visits, act(f, func() error {
			for n := range 8 {
				lock, weight := p.rwmutex(name).RDo, int64(1)
				if (i+n)%4 == 0 {
					lock, weight = p.rwmutex(name).Do, all
				}
				err := lock(f.ctx, func(context.Context) error {
					h.enter(p.Identity(), weight)
					h.leave(weight)
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		}))
	}
	f.queued(name, 7)
	h.leave(all)
	f.release(g)
	for _, v := range visits {
		v.must()
	}
	f.free(name)
}
