package drivertest

import (
	"context"
	"errors"
	"time"

	"github.com/fairlead-go/fairlead/session"
)

// What a grant is, from its beginning to its end.
var grantCases = []Case{
	{"ReleaseIsIdempotent", releaseIsIdempotent},
	{"ReleaseAfterLossIsErrLost", releaseAfterLossIsErrLost},
	{"ReleaseOvertakenByALoss", releaseOvertakenByALoss},
	{"StaleReleaseKeepsNewHolder", staleReleaseKeepsNewHolder},
	{"ReleaseEndsTheContextFirst", releaseEndsTheContextFirst},
	{"ReleaseWithDoneContextLeavesAllTheSame", releaseWithDoneContextLeavesAllTheSame},
	{"AcquiringContextDoesNotReachTheGrant", acquiringContextDoesNotReachTheGrant},
	{"CheckAndConfirmTellWhetherItIsHeld", checkAndConfirmTellWhetherItIsHeld},
	{"DeadlineMovesWithEachRenewal", deadlineMovesWithEachRenewal},
}

func releaseIsIdempotent(f *fixture) {
	p, name := f.open("p"), f.name("q")
	g := p.lock(name)
	var releases []*job[struct{}]
	for range 4 {
		releases = append(releases, act(f, func() error { return g.Release(f.ctx) }))
	}
	for _, r := range releases {
		r.must()
	}
	if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrReleased) {
		f.Errorf("the context of a grant that was released has cause %v, want ErrReleased", cause)
	}
	if err := g.Check(); err == nil || errors.Is(err, session.ErrLost) {
		f.Errorf("Check after Release returned %v, want an error that is not ErrLost", err)
	}
	next := p.lock(name)
	f.release(g) // once more, with somebody else holding
	f.alone(name, next.Token())
	if err := next.Confirm(f.ctx); err != nil {
		f.Errorf("the next holder after a second Release: %v", err)
	}
	f.release(next)
	f.free(name)
}

func releaseAfterLossIsErrLost(f *fixture) {
	p, name := f.open("p"), f.name("q")
	g := p.lock(name)
	p.expire()
	f.lostGrant(g)
	for range 2 {
		if err := g.Release(f.ctx); !errors.Is(err, session.ErrLost) {
			f.Errorf("Release of what was lost before returned %v, want ErrLost", err)
		}
	}
	f.free(name)
}

// releaseOvertakenByALoss ends the lease while a Release is on its way. The store
// has removed the entry then, so Release must not say that it is left there.
func releaseOvertakenByALoss(f *fixture) {
	p, name := f.open("p"), f.name("q")
	g := p.lock(name)
	p.calls.On(OpLeave, func(ctx context.Context, _ Op, _ func(context.Context) error) error {
		p.expire()
		<-ctx.Done() // the session has learned of it
		return ctx.Err()
	})
	release := act(f, func() error { return g.Release(f.ctx) })
	if _, err := release.ended(); err != nil && !errors.Is(err, session.ErrLost) {
		f.Errorf("a Release that a loss overtook returned %v, want nil or ErrLost", err)
	}
	p.calls.On(OpLeave, nil)
	f.free(name)
}

func staleReleaseKeepsNewHolder(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	old := a.lock(name)
	next := b.waiting(f.ctx, name, 2)
	a.freeze()
	a.expire()
	g := next.must()
	a.heal()
	if err := old.Release(f.ctx); !errors.Is(err, session.ErrLost) && err != nil {
		f.Errorf("a stale Release returned %v, want ErrLost or nil", err)
	}
	again := a.waiting(f.ctx, name, 2) // a knows of its loss, and has done what it does then
	if err := g.Confirm(f.ctx); err != nil {
		f.Errorf("the new holder after a stale Release: %v", err)
	}
	f.release(g)
	f.release(again.must())
}

func releaseEndsTheContextFirst(f *fixture) {
	p, name := f.open("p"), f.name("q")
	g := p.lock(name)
	p.calls.On(OpLeave, func(ctx context.Context, _ Op, call func(context.Context) error) error {
		if g.Context().Err() == nil {
			f.Errorf("the entry is removed while the grant's context is not done")
		}
		return call(ctx)
	})
	f.release(g)
	f.free(name)
}

func releaseWithDoneContextLeavesAllTheSame(f *fixture) {
	p, name := f.open("p"), f.name("q")
	done, cancel := context.WithCancel(f.ctx)
	cancel()
	for _, which := range []string{"a done context", "the grant's own context"} {
		g := p.lock(name)
		ctx := done
		if which != "a done context" {
			ctx = g.Context()
		}
		release := act(f, func() error { return g.Release(ctx) })
		if _, err := release.endedWithin(prompt); err != nil && !errors.Is(err, context.Canceled) {
			f.Errorf("Release with %s returned %v, want nil or its error", which, err)
		}
		f.free(name)
	}

	// Close waits for what goes on in the background.
	g := p.lock(name)
	goOn := make(chan struct{})
	p.calls.On(OpLeave, func(ctx context.Context, _ Op, call func(context.Context) error) error {
		<-goOn
		return call(ctx)
	})
	p.calls.On(OpRevoke, func(ctx context.Context, _ Op, call func(context.Context) error) error {
		<-goOn
		return call(ctx)
	})
	if err := g.Release(done); !errors.Is(err, context.Canceled) {
		f.Errorf("Release with a done context returned %v, want Canceled", err)
	}
	closing := act(f, func() error { return p.Close(f.ctx) })
	closing.goesOn("Close with a Release in the background")
	close(goOn)
	closing.must()
	if q := f.queue(name); len(q) != 0 {
		f.Errorf("after Close the queue is %v", brief(q))
	}
}

func acquiringContextDoesNotReachTheGrant(f *fixture) {
	type key struct{}
	p, name := f.open("p"), f.name("q")
	ctx, cancel := context.WithCancel(context.WithValue(f.ctx, key{}, "value"))
	g, err := p.mutex(name).Lock(ctx)
	if err != nil {
		f.Fatalf("%v", err)
	}
	cancel()
	if err := g.Confirm(f.ctx); err != nil {
		f.Errorf("after the acquiring context was cancelled: %v", err)
	}
	if err := g.Context().Err(); err != nil {
		f.Errorf("after the acquiring context was cancelled the grant's context is done: %v", err)
	}
	if g.Context().Value(key{}) != "value" {
		f.Errorf("the grant's context lacks a value of the acquiring context")
	}
	if d, ok := g.Context().Deadline(); ok {
		f.Errorf("the grant's context has a deadline, %v", d)
	}
	if inner, ok := session.GrantFrom(g.Context()); !ok || inner.Token() != g.Token() {
		f.Errorf("GrantFrom the grant's context returned %v, %v", inner, ok)
	}
	f.release(g)
}

func checkAndConfirmTellWhetherItIsHeld(f *fixture) {
	p, name := f.open("p"), f.name("q")
	if err := p.Check(f.ctx); err != nil {
		f.Errorf("check of a fresh session: %v", err)
	}
	g := p.lock(name)
	if err := g.Check(); err != nil {
		f.Errorf("check: %v", err)
	}
	if err := g.Confirm(f.ctx); err != nil {
		f.Errorf("confirm: %v", err)
	}
	p.calls.On(OpWatchLease, func(ctx context.Context, _ Op, _ func(context.Context) error) error {
		<-ctx.Done() // so that only Confirm can tell
		return ctx.Err()
	})
	p.calls.Cut()
	p.expire()
	if err := g.Confirm(f.ctx); !errors.Is(err, session.ErrLost) {
		f.Errorf("Confirm of a grant whose lease is gone returned %v, want ErrLost", err)
	}
	f.lostGrant(g)
	f.eventually(func() error { return p.Check(f.ctx) }) // it survives
}

func deadlineMovesWithEachRenewal(f *fixture) {
	p, name := f.openShort("p"), f.name("q")
	g := p.lock(name)
	first := g.Deadline()
	if left := time.Until(first); left <= 0 || left >= p.TTL() {
		f.Errorf("the trust window ends in %v, want less than the TTL of %v", left, p.TTL())
	}
	f.renewed(g)
	if err := g.Check(); err != nil {
		f.Errorf("%v", err)
	}
	f.release(g)
}
