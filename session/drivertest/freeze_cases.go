package drivertest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// A store that cannot be reached, and guarantee 2.
var freezeCases = []Case{
	{"CancelWhileFrozenReturnsPromptly", cancelWhileFrozenReturnsPromptly},
	{"CloseWhileFrozenReturns", closeWhileFrozenReturns},
	{"HolderSeesItsLossBeforeTheNextIsGranted", holderSeesItsLossFirst},
	{"HolderSeesItsLossFirstAlsoAfterLateReplies", holderSeesItsLossFirstAfterLateReplies},
	{"TrustCountsFromSending", trustCountsFromSending},
	{"WaiterThatOutlivesItsLeaseIsNotLetIn", waiterThatOutlivesItsLeaseIsNotLetIn},
	{"LateRepliesDoNoHarm", lateRepliesDoNoHarm},
	{"CutsDoNoHarm", cutsDoNoHarm},
}

func cancelWhileFrozenReturnsPromptly(f *fixture) {
	p, other := f.open("p"), f.open("other")
	held, waited := f.name("held"), f.name("waited")
	ahead := other.lock(waited)
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	grant, term := p.lock(held), p.elect(f.name("office"), "one")
	jobs := map[string]*job[struct{}]{
		"a Lock that waits": act(f, func() error { _, err := p.mutex(waited).Lock(ctx); return err }),
	}
	f.queued(waited, 2)
	p.freeze()
	for what, call := range map[string]func() error{
		"Lock":     func() error { _, err := p.mutex(f.name("lock")).Lock(ctx); return err },
		"TryLock":  func() error { _, err := p.mutex(f.name("try")).TryLock(ctx); return err },
		"Do":       func() error { return p.mutex(f.name("do")).Do(ctx, func(context.Context) error { return nil }) },
		"Campaign": func() error { _, err := p.election(f.name("campaign")).Campaign(ctx, "x"); return err },
		"Run": func() error {
			return p.election(f.name("run")).Run(ctx, "x", func(context.Context) error { return nil })
		},
		"Leader":   func() error { _, err := p.election(waited).Leader(ctx); return err },
		"List":     func() error { _, err := watch.List(ctx, p.Session, f.prefix); return err },
		"Check":    func() error { return p.Check(ctx) },
		"Confirm":  func() error { return grant.Confirm(ctx) },
		"Proclaim": func() error { return term.Proclaim(ctx, "two") },
		"Queue": func() (err error) {
			for _, err = range watch.Queue(ctx, p.Session, waited) {
			}
			return err
		},
		"Observe": func() (err error) {
			for _, err = range p.election(waited).Observe(ctx) {
			}
			return err
		},
	} {
		jobs[what] = act(f, call)
	}
	for what, j := range jobs {
		j.goesOn(what)
	}
	cancel()
	for what, j := range jobs {
		if _, err := j.endedWithin(prompt); !errors.Is(err, context.Canceled) {
			f.Errorf("%s returned %v after its context was cancelled, want Canceled", what, err)
		}
	}
	// Release is last: it ends the grant that Confirm asks about.
	release := act(f, func() error { return grant.Release(ctx) })
	if _, err := release.endedWithin(prompt); !errors.Is(err, context.Canceled) {
		f.Errorf("Release with a done context returned %v, want Canceled", err)
	}
	p.heal()
	f.release(ahead)
	for _, part := range []string{"held", "waited", "lock", "try", "do", "campaign", "run"} {
		f.free(f.name(part)) // what was left goes once the store can be reached
	}
	if err := term.Confirm(f.ctx); err != nil {
		f.Errorf("what nobody gave up is still held: %v", err)
	}
}

func closeWhileFrozenReturns(f *fixture) {
	p, other, name := f.openShort("p"), f.open("other"), f.name("q")
	g := p.lock(name)
	waiter := other.waiting(f.ctx, name, 2)
	p.freeze()
	ctx, cancel := context.WithTimeout(f.ctx, 2*moment)
	defer cancel()
	closing := act(f, func() error { return p.Close(ctx) })
	if _, err := closing.endedWithin(2*time.Second + prompt); err == nil {
		f.Errorf("Close of a store that cannot be reached returned nil")
	}
	if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrClosed) {
		f.Errorf("the grant's context has cause %v, want ErrClosed", cause)
	}
	f.release(waiter.must()) // the entry goes with the lease
}

// holderSeesItsLossFirst: guarantee 2.
func holderSeesItsLossFirst(f *fixture) { f.freezeHolder(f.openShort("p"), 0) }

// holderSeesItsLossFirstAfterLateReplies fails where trust is counted from the
// receipt of a reply.
func holderSeesItsLossFirstAfterLateReplies(f *fixture) {
	p := f.openShort("p")
	f.freezeHolder(p, f.shortTTL()/2-p.present().Lag())
}

// freezeHolder freezes the session when it holds and has renewed its lease, with replies
// that come so late, and checks that its context is done by the time at which another is
// granted.
func (f *fixture) freezeHolder(p *peer, late time.Duration) {
	other, name, r := f.open("other"), f.name("q"), newRoom(f.TB)
	g := p.lock(name)
	r.enter("p", g)
	p.fault.Delay(late)
	next := begin(f, func() (*session.Grant, error) {
		next, err := other.mutex(name).Lock(f.ctx)
		if err == nil {
			r.enter("other", next) // reports p when its context is not done
		}
		return next, err
	})
	f.queued(name, 2)
	for range 2 {
		f.renewed(g)
	}
	p.freeze()
	f.lostGrant(g)
	f.release(next.must())
	p.heal()
	p.fault.Delay(0)
	f.free(name)
	f.release(p.lock(name)) // the session survives
}

// renewed waits until the lease has been renewed once more, or was lost.
func (f *fixture) renewed(g *session.Grant) {
	f.Helper()
	deadline := g.Deadline()
	f.eventually(func() error {
		// The two clocks that a deadline is made of make it waver.
		if moved := g.Deadline().Sub(deadline); moved < 10*time.Millisecond && g.Context().Err() == nil {
			return fmt.Errorf("the lease is not renewed: the deadline has moved by %v", moved)
		}
		return nil
	})
}

// trustCountsFromSending delays the replies to renewals, and compares the
// deadline with when they were sent.
func trustCountsFromSending(f *fixture) {
	const margin = 500 * time.Millisecond
	calls := &Calls{}
	p := f.openOn(calls, &session.Options{TTL: f.shortTTL(), Margin: margin, Identity: "p"})
	var sent atomic.Pointer[time.Time] // the latest that the store has acknowledged
	calls.On(OpRenew, func(ctx context.Context, _ Op, call func(context.Context) error) error {
		now := time.Now()
		err := call(ctx)
		if err == nil {
			sent.Store(&now)
		}
		return err
	})
	calls.Delay(300 * time.Millisecond)
	g := p.lock(f.name("q"))
	for range 3 {
		f.renewed(g)
		latest := sent.Load()
		if latest == nil {
			f.Fatalf("the deadline has moved without a renewal")
		}
		// Unless a further renewal was acknowledged meanwhile:
		if d := g.Deadline(); d.After(latest.Add(p.TTL()-margin)) && latest == sent.Load() {
			f.Errorf("trust ends %v after the renewal was sent, want at most %v", d.Sub(*latest), p.TTL()-margin)
		}
	}
	calls.Delay(0)
	_ = g.Release(f.ctx)
}

func waiterThatOutlivesItsLeaseIsNotLetIn(f *fixture) {
	a, b, c, name, r := f.open("a"), f.openShort("b"), f.open("c"), f.name("q"), newRoom(f.TB)
	g := a.lock(name)
	r.enter("a", g)
	waiter := b.waiting(f.ctx, name, 2)
	b.freeze()
	f.queued(name, 1) // its lease has run out
	r.leave("a")
	f.release(g)
	g = c.lock(name)
	r.enter("c", g)
	b.heal()
	f.queued(name, 2) // it has joined again, at the end
	waiter.goesOn("the wait of one that outlived its lease")
	r.leave("c")
	f.release(g)
	g = waiter.must()
	r.enter("b", g)
	if err := g.Confirm(f.ctx); err != nil {
		f.Errorf("%v", err)
	}
	f.release(g)
}

func lateRepliesDoNoHarm(f *fixture) {
	a, b, name, r := f.open("a"), f.open("b"), f.name("q"), newRoom(f.TB)
	a.fault.Delay(moment)
	b.calls.Delay(moment / 2)
	var visits []*job[struct{}]
	for _, p := range []*peer{a, b} {
		visits = append(visits, act(f, func() error {
			for range 5 {
				if err := r.visit(f.ctx, p, name, p.Identity()); err != nil {
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

// cutsDoNoHarm cuts connections, and calls, while three sessions contend.
func cutsDoNoHarm(f *fixture) {
	name, r := f.name("q"), newRoom(f.TB)
	var peers []*peer
	var visits []*job[struct{}]
	for i := range 3 {
		p := f.open(fmt.Sprintf("session %d", i))
		peers = append(peers, p)
		visits = append(visits, act(f, func() error {
			for range 10 {
				if err := r.visit(f.ctx, p, name, p.Identity()); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	for i, v := range visits {
		for cut := 0; ; cut++ {
			if p := peers[(i+cut)%3]; cut%2 == 0 {
				p.calls.Cut()
			} else {
				p.fault.Cut()
			}
			// Between two cuts there is time enough to make some progress.
			if !v.pending(moment / 2) {
				break
			}
		}
		v.must()
	}
	f.free(name)
}
