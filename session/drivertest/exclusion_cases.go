package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// Guarantee 1, and that it holds for whoever asks.
var exclusionCases = []Case{
	{"GoroutinesOfOneSessionNeverOverlap", goroutinesOfOneSessionNeverOverlap},
	{"SessionsNeverOverlap", sessionsNeverOverlap},
	{"NothingIsReentrant", nothingIsReentrant},
	{"MutexAndElectionExcludeEachOther", mutexAndElectionExcludeEachOther},
	{"NamePrefixesDoNotInterfere", namePrefixesDoNotInterfere},
}

// tryCases: TryLock does not queue, and says who holds.
var tryCases = []Case{
	{"TryLockAdmitsOne", tryLockAdmitsOne},
	{"TryLockNamesTheHolder", tryLockNamesTheHolder},
	{"TryLockDelaysNobody", tryLockDelaysNobody},
	{"TryLockYieldsToWaiters", tryLockYieldsToWaiters},
}

// Guarantees 3 and 4.
var fairnessCases = []Case{
	{"GrantsFollowJoinOrder", grantsFollowJoinOrder},
	{"TokensStrictlyIncrease", tokensStrictlyIncrease},
	{"PredecessorThatGivesUpAdmitsNobody", predecessorThatGivesUpAdmitsNobody},
	{"MiddleWaiterThatDiesAdmitsNobody", middleWaiterThatDiesAdmitsNobody},
}

func goroutinesOfOneSessionNeverOverlap(f *fixture) {
	p := f.open("one")
	peers := make([]*peer, 16)
	for i := range peers {
		peers[i] = p
	}
	f.crowd(peers, 4)
}

func sessionsNeverOverlap(f *fixture) {
	var peers []*peer
	for i := range 6 {
		peers = append(peers, f.open(fmt.Sprintf("session %d", i)))
	}
	f.crowd(peers, 8)
}

// crowd lets the peers visit a room, so many times each. Somebody is in it when
// they come: all of them have to wait, and one that does not is seen.
func (f *fixture) crowd(peers []*peer, times int) {
	name, r, first := f.name("q"), newRoom(f.TB), f.open("first")
	g := first.lock(name)
	r.enter("first", g)
	var visits []*job[struct{}]
	for i, p := range peers {
		visits = append(visits, act(f, func() error {
			for range times {
				if err := r.visit(f.ctx, p, name, fmt.Sprintf("%s, visitor %d", p.Identity(), i)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	f.eventually(func() error {
		if n := len(f.queue(name)); n <= len(peers) && len(r.arrivals()) == 1 {
			return fmt.Errorf("%d in the queue, want %d", n, len(peers)+1)
		}
		return nil
	})
	r.leave("first")
	f.release(g)
	for _, v := range visits {
		v.must()
	}
	if n, want := len(r.arrivals()), 1+len(peers)*times; n != want {
		f.Errorf("%d visits, want %d", n, want)
	}
	f.free(name)
}

func nothingIsReentrant(f *fixture) {
	p, name, r := f.open("one"), f.name("q"), newRoom(f.TB)
	g := p.lock(name)
	r.enter("first", g)
	for what, ctx := range map[string]context.Context{"a plain context": f.ctx, "the holder's context": g.Context()} {
		if _, err := p.mutex(name).TryLock(ctx); !errors.Is(err, session.ErrHeld) {
			f.Errorf("TryLock under %s by the session that holds returned %v, want ErrHeld", what, err)
		}
		ctx, cancel := context.WithTimeout(ctx, moment)
		if _, err := p.mutex(name).Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			f.Errorf("Lock under %s by the session that holds returned %v, want DeadlineExceeded", what, err)
		}
		cancel()
	}
	second := p.waiting(f.ctx, name, 2)
	r.leave("first")
	f.release(g)
	again := second.must()
	r.enter("second", again)
	f.release(again)
}

func mutexAndElectionExcludeEachOther(f *fixture) {
	a, b, name, r := f.open("a"), f.open("b"), f.name("q"), newRoom(f.TB)
	var visits []*job[struct{}]
	for _, p := range []*peer{a, b} {
		visits = append(visits, act(f, func() error {
			for range 5 {
				if err := r.visit(f.ctx, p, name, "mutex of "+p.Identity()); err != nil {
					return err
				}
			}
			return nil
		}), act(f, func() error {
			for range 5 {
				t, err := p.election(name).Campaign(f.ctx, "v")
				if err != nil {
					return err
				}
				r.enter("election of "+p.Identity(), t.Grant)
				r.leave("election of " + p.Identity())
				if err := t.Resign(f.ctx); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	for _, v := range visits {
		v.must()
	}
	f.free(name)
}

func namePrefixesDoNotInterfere(f *fixture) {
	a, b := f.open("a"), f.open("b")
	grants := map[string]*session.Grant{}
	parts := []string{"a", "a/b", "ab", "a/b/c", "b"}
	for _, part := range parts {
		g, err := a.mutex(f.name(part)).TryLock(f.ctx)
		if err != nil {
			f.Fatalf("with %q held: %v", parts[:len(grants)], err)
		}
		grants[part] = g
	}
	waiter := b.waiting(f.ctx, f.name("a"), 2)
	for _, part := range parts[1:] {
		f.release(grants[part])
	}
	waiter.goesOn(`the wait for "a", of which other names were released,`)
	f.release(grants["a"])
	f.release(waiter.must())
}

func tryLockAdmitsOne(f *fixture) {
	peers := []*peer{f.open("a"), f.open("b"), f.open("c")}
	name := f.name("q")
	var mu sync.Mutex
	var won []*session.Grant
	var tries []*job[struct{}]
	for i := range 12 {
		tries = append(tries, act(f, func() error {
			g, err := peers[i%3].mutex(name).TryLock(f.ctx)
			switch {
			case err == nil:
				mu.Lock()
				defer mu.Unlock()
				won = append(won, g)
			case !errors.Is(err, session.ErrHeld):
				return err
			}
			return nil
		}))
	}
	for _, try := range tries {
		try.must()
	}
	if len(won) != 1 {
		f.Fatalf("%d of 12 TryLocks won, want 1", len(won))
	}
	f.alone(name, won[0].Token())
	f.release(won[0])
	f.free(name)
}

func tryLockNamesTheHolder(f *fixture) {
	a, b, c, name := f.open("alice"), f.open("bob"), f.open("carol"), f.name("q")
	g := a.lock(name)
	waiter := b.waiting(f.ctx, name, 2)
	for _, p := range []*peer{a, b, c} {
		_, err := p.mutex(name).TryLock(f.ctx)
		e, ok := errors.AsType[*session.Error](err)
		if !ok || !errors.Is(err, session.ErrHeld) {
			f.Fatalf("TryLock of a mutex that is held returned %v, want a *session.Error that Is ErrHeld", err)
		}
		if e.Holder != "alice" || e.Token != g.Token() || e.Name != name || e.Op == "" {
			f.Errorf("the error is %+v, want holder alice, token %d, name %q and an operation", e, g.Token(), name)
		}
	}
	f.release(g)
	f.release(waiter.must())
}

func tryLockDelaysNobody(f *fixture) {
	a, b, c, name := f.open("a"), f.open("b"), f.open("c"), f.name("q")
	g := a.lock(name)
	waiter := b.waiting(f.ctx, name, 2)
	ctx, cancel := context.WithCancel(f.ctx)
	seen := act(f, func() error {
		return f.admin.Watch(ctx, name, func(q driver.Queue) error {
			if len(q.Entries) > 2 {
				f.Errorf("a TryLock has queued: %v", brief(q.Entries))
			}
			return nil
		})
	})
	c.calls.On(OpJoin, func(ctx context.Context, _ Op, call func(context.Context) error) error {
		err := call(ctx)
		if err == nil { // the watch may miss an entry that is taken back
			f.Errorf("the join of a TryLock succeeded where the mutex is held")
		}
		return err
	})
	for range 10 {
		if _, err := c.mutex(name).TryLock(f.ctx); !errors.Is(err, session.ErrHeld) {
			f.Errorf("TryLock of a mutex that is held returned %v, want ErrHeld", err)
		}
		if q := f.queue(name); len(q) != 2 {
			f.Errorf("after a TryLock the queue is %v, want the holder and the waiter", brief(q))
		}
	}
	cancel()
	_, _ = seen.ended()
	f.release(g)
	f.release(waiter.must())
}

// tryLockYieldsToWaiters: who tries must not overtake who waits.
func tryLockYieldsToWaiters(f *fixture) {
	a, b, c, name := f.open("a"), f.open("b"), f.open("c"), f.name("q")
	g := a.lock(name)
	b.calls.On(OpWait, func(ctx context.Context, _ Op, call func(context.Context) error) error {
		<-ctx.Done() // b does not hear that its turn has come
		return ctx.Err()
	})
	waiter := b.waiting(f.ctx, name, 2)
	f.release(g)
	f.queued(name, 1)
	if _, err := c.mutex(name).TryLock(f.ctx); !errors.Is(err, session.ErrHeld) {
		f.Errorf("TryLock overtook a waiter: %v, want ErrHeld", err)
	}
	b.calls.On(OpWait, nil)
	b.calls.Cut()
	f.release(waiter.must())
}

func grantsFollowJoinOrder(f *fixture) {
	peers := []*peer{f.open("a"), f.open("b"), f.open("c")}
	name, r := f.name("q"), newRoom(f.TB)
	g := peers[0].lock(name)
	var want []string
	var visits []*job[struct{}]
	for i := range 9 {
		who := fmt.Sprintf("waiter %d", i)
		want = append(want, who)
		visits = append(visits, act(f, func() error { return r.visit(f.ctx, peers[i%3], name, who) }))
		f.queued(name, i+2)
	}
	f.release(g)
	for _, v := range visits {
		v.must()
	}
	if got := r.arrivals(); !slices.Equal(got, want) {
		f.Errorf("locks were granted in the order %q, want %q", got, want)
	}
}

func tokensStrictlyIncrease(f *fixture) {
	a, b, name := f.openShort("a"), f.open("b"), f.name("q")
	r := newRoom(f.TB)
	for i := range 9 {
		p := []*peer{a, b}[i%2]
		g := p.lock(name)
		r.enter(p.Identity(), g)
		switch {
		case i == 4: // the entry goes with its lease
			p.expire()
			f.lostGrant(g)
		default:
			r.leave(p.Identity())
			f.release(g)
		}
		f.queued(name, 0) // the queue is empty in between
	}
}

func predecessorThatGivesUpAdmitsNobody(f *fixture) {
	a, b, c, name, r := f.open("a"), f.open("b"), f.open("c"), f.name("q"), newRoom(f.TB)
	g := a.lock(name)
	r.enter("a", g)
	ctx, giveUp := context.WithCancel(f.ctx)
	middle := b.waiting(ctx, name, 2)
	last := c.waiting(f.ctx, name, 3)
	giveUp()
	if _, err := middle.endedWithin(prompt); !errors.Is(err, context.Canceled) {
		f.Errorf("a cancelled Lock returned %v, want Canceled", err)
	}
	f.queued(name, 2)
	last.goesOn("the wait behind one that gave up")
	r.leave("a")
	f.release(g)
	g = last.must()
	r.enter("c", g)
	f.release(g)
}

func middleWaiterThatDiesAdmitsNobody(f *fixture) {
	a, closed, dead, d := f.open("a"), f.open("closed"), f.open("dead"), f.open("d")
	name, r := f.name("q"), newRoom(f.TB)
	g := a.lock(name)
	r.enter("a", g)
	waiter1 := closed.waiting(f.ctx, name, 2)
	ctx, cancel := context.WithCancel(f.ctx)
	waiter2 := dead.waiting(ctx, name, 3)
	last := d.waiting(f.ctx, name, 4)

	if err := closed.Close(f.ctx); err != nil {
		f.Errorf("close: %v", err)
	}
	if _, err := waiter1.endedWithin(prompt); !errors.Is(err, session.ErrClosed) {
		f.Errorf("a Lock whose session was closed returned %v, want ErrClosed", err)
	}
	f.queued(name, 3)
	dead.freeze() // it hears no more, and does not come back
	dead.expire()
	f.queued(name, 2)
	last.goesOn("the wait behind two that died")

	r.leave("a")
	f.release(g)
	g = last.must()
	r.enter("d", g)
	f.release(g)
	cancel()
	if _, err := waiter2.endedWithin(prompt); !errors.Is(err, context.Canceled) {
		f.Errorf("a cancelled Lock returned %v, want Canceled", err)
	}
}
