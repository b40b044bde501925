package drivertest

import (
	"context"
	"errors"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

// What Do adds to a grant, and what closing a session does to all of them.
var doCases = []Case{
	{"DoReportsALossEvenIfTheFunctionReturnsNil", doReportsALoss},
	{"DoReturnsTheErrorOfItsFunction", doReturnsTheErrorOfItsFunction},
	{"DoReleasesOnPanic", doReleasesOnPanic},
	{"DoEndsWithItsContext", doEndsWithItsContext},
	{"GrantFromIsTheInnermost", grantFromIsTheInnermost},
	{"MaxWaitBoundsTheWaitAlone", maxWaitBoundsTheWaitAlone},
}

var closeCases = []Case{
	{"CloseCancelsGrants", closeCancelsGrants},
	{"CloseWaitsForFunctions", closeWaitsForFunctions},
	{"CloseLeavesTheEntryOfARunningFunction", closeLeavesTheEntryOfARunningFunction},
	{"CloseEndsWaits", closeEndsWaits},
	{"CloseIsIdempotent", closeIsIdempotent},
	{"CloseWithDoneContextCleansUp", closeWithDoneContextCleansUp},
}

func doReportsALoss(f *fixture) {
	p, name := f.open("p"), f.name("q")
	err := p.mutex(name).Do(f.ctx, func(ctx context.Context) error {
		p.expire()
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, session.ErrLost) {
				f.Errorf("the function's context ended with cause %v, want ErrLost", cause)
			}
		case <-time.After(f.patience):
			f.Errorf("the function's context did not end with the loss")
		}
		return nil
	})
	if !errors.Is(err, session.ErrLost) {
		f.Errorf("Do returned %v after a loss, want ErrLost", err)
	}
	own := errors.New("its own")
	err = p.mutex(name).Do(f.ctx, func(ctx context.Context) error {
		p.expire()
		<-ctx.Done()
		return own
	})
	if !errors.Is(err, session.ErrLost) || !errors.Is(err, own) {
		f.Errorf("Do returned %v, want ErrLost and the function's error", err)
	}
	f.free(name)
}

func doReturnsTheErrorOfItsFunction(f *fixture) {
	p, name, own := f.open("p"), f.name("q"), errors.New("its own")
	for _, want := range []error{nil, own} {
		if err := p.mutex(name).Do(f.ctx, func(context.Context) error { return want }); !errors.Is(err, want) {
			f.Errorf("Do returned %v, want %v", err, want)
		}
		if q := f.queue(name); len(q) != 0 {
			f.Errorf("after Do the queue is %v", brief(q))
		}
	}
	f.free(name)
}

func doReleasesOnPanic(f *fixture) {
	p, name := f.open("p"), f.name("q")
	func() {
		defer func() {
			if v := recover(); v != "oh" {
				f.Errorf("Do panics with %v, want the function's panic", v)
			}
		}()
		_ = p.mutex(name).Do(f.ctx, func(context.Context) error { panic("oh") })
		f.Errorf("Do swallowed a panic")
	}()
	f.free(name)
}

func doEndsWithItsContext(f *fixture) {
	p, name, r := f.open("p"), f.name("q"), newRoom(f.TB)
	ctx, cancel := context.WithCancel(f.ctx)
	var next *job[*session.Grant]
	err := p.mutex(name).Do(ctx, func(ctx context.Context) error {
		g, _ := session.GrantFrom(ctx)
		r.enter("function", g)
		next = p.waiting(f.ctx, name, 2)
		cancel()
		select {
		case <-ctx.Done():
		case <-time.After(f.patience):
			f.Errorf("the function's context did not end with Do's")
		}
		next.goesOn("the wait for a function whose context is done but which runs on")
		r.leave("function")
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		f.Errorf("Do returned %v, want Canceled", err)
	}
	g := next.must()
	r.enter("next", g)
	f.release(g)

	ctx, cancel = context.WithCancel(f.ctx)
	cancel()
	err = p.mutex(name).Do(ctx, func(context.Context) error {
		f.Errorf("Do with a done context ran its function")
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		f.Errorf("Do with a done context returned %v, want Canceled", err)
	}
	f.free(name)
}

func grantFromIsTheInnermost(f *fixture) {
	p := f.open("p")
	if g, ok := session.GrantFrom(f.ctx); ok {
		f.Errorf("GrantFrom outside returned %v", g)
	}
	err := p.mutex(f.name("outer")).Do(f.ctx, func(ctx context.Context) error {
		outer, ok := session.GrantFrom(ctx)
		f.alone(f.name("outer"), outer.Token())
		return p.mutex(f.name("inner")).Do(ctx, func(ctx context.Context) error {
			inner, ok2 := session.GrantFrom(ctx)
			if !ok || !ok2 || inner == outer {
				f.Errorf("GrantFrom in nested functions returned %v, %v and %v, %v", outer, ok, inner, ok2)
			}
			f.alone(f.name("inner"), inner.Token())
			return inner.Check()
		})
	})
	if err != nil {
		f.Errorf("%v", err)
	}
}

func maxWaitBoundsTheWaitAlone(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	const maxWait = time.Second // enough to get a free lock on a busy machine
	g := a.lock(name)
	m := mutex.NewWith(b.Session, name, &mutex.Options{MaxWait: maxWait})
	begun := time.Now()
	err := m.Do(f.ctx, func(context.Context) error {
		f.Errorf("Do ran its function while another holds")
		return nil
	})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) < maxWait {
		f.Errorf("Do returned %v after %v, want DeadlineExceeded after %v", err, time.Since(begun), maxWait)
	}
	if e, ok := errors.AsType[*session.Error](err); !ok || e.Holder != "a" {
		f.Errorf("the error %v does not name the holder", err)
	}
	f.queued(name, 1)
	f.release(g)
	err = m.Do(f.ctx, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(maxWait + 2*moment):
			return nil
		}
	})
	if err != nil {
		f.Errorf("Do for longer than MaxWait returned %v, want nil", err)
	}
	f.free(name)
}

func closeCancelsGrants(f *fixture) {
	p := f.open("p")
	names := []string{f.name("q1"), f.name("q2")}
	var grants []*session.Grant
	for _, name := range names {
		grants = append(grants, p.lock(name))
	}
	if err := p.Close(f.ctx); err != nil {
		f.Errorf("close: %v", err)
	}
	for i, g := range grants {
		if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrClosed) {
			f.Errorf("the grant's context has cause %v after Close, want ErrClosed", cause)
		}
		if err := g.Check(); err == nil {
			f.Errorf("Check after Close returned nil")
		}
		if q := f.queue(names[i]); len(q) != 0 {
			f.Errorf("after Close the queue is %v", brief(q))
		}
		f.free(names[i])
	}
	for what, call := range map[string]func() error{
		"Lock":     func() error { _, err := p.mutex(names[0]).Lock(f.ctx); return err },
		"TryLock":  func() error { _, err := p.mutex(names[0]).TryLock(f.ctx); return err },
		"Campaign": func() error { _, err := p.election(names[0]).Campaign(f.ctx, ""); return err },
		"Check":    func() error { return p.Check(f.ctx) },
	} {
		if err := call(); !errors.Is(err, session.ErrClosed) {
			f.Errorf("%s after Close returned %v, want ErrClosed", what, err)
		}
	}
}

func closeWaitsForFunctions(f *fixture) {
	p, other, name, r := f.open("p"), f.open("other"), f.name("q"), newRoom(f.TB)
	running, told, finish := make(chan struct{}), make(chan struct{}), make(chan struct{})
	do := act(f, func() error {
		return p.mutex(name).Do(f.ctx, func(ctx context.Context) error {
			g, _ := session.GrantFrom(ctx)
			r.enter("function", g)
			close(running)
			<-ctx.Done()
			if cause := context.Cause(ctx); !errors.Is(cause, session.ErrClosed) {
				f.Errorf("the function's context has cause %v, want ErrClosed", cause)
			}
			close(told)
			<-finish
			r.leave("function")
			return nil
		})
	})
	f.happens("the function is called", running)
	next := other.waiting(f.ctx, name, 2)
	closing := act(f, func() error { return p.Close(f.ctx) })
	f.happens("the function is told of Close", told)
	closing.goesOn("Close beside a function that still runs")
	next.goesOn("the wait for a function that still runs")
	close(finish)
	closing.must()
	_, _ = do.ended()
	g := next.must()
	r.enter("other", g)
	f.release(g)
}

func closeLeavesTheEntryOfARunningFunction(f *fixture) {
	p, other, name := f.openShort("p"), f.open("other"), f.name("q")
	idle := p.lock(f.name("idle"))
	running, finish := make(chan struct{}), make(chan struct{})
	do := act(f, func() error {
		return p.mutex(name).Do(f.ctx, func(context.Context) error {
			close(running)
			<-finish // deaf to its context
			return nil
		})
	})
	f.happens("the function is called", running)
	next := other.waiting(f.ctx, name, 2)
	ctx, cancel := context.WithTimeout(f.ctx, 2*moment)
	defer cancel()
	if err := p.Close(ctx); err == nil {
		f.Errorf("Close returned nil beside a function that still runs")
	}
	if idle.Context().Err() == nil {
		f.Errorf("Close left a grant's context open")
	}
	next.goesOn("the wait for a function that still runs after Close")
	next.must() // the entry goes with the lease
	close(finish)
	_, _ = do.ended()
	f.release(next.v)
	f.queued(f.name("idle"), 0)
}

func closeEndsWaits(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	g := a.lock(name)
	lock := b.waiting(f.ctx, name, 2)
	campaign := act(f, func() error { _, err := b.election(name).Campaign(f.ctx, ""); return err })
	f.queued(name, 3)
	if err := b.Close(f.ctx); err != nil {
		f.Errorf("close: %v", err)
	}
	if _, err := lock.endedWithin(prompt); !errors.Is(err, session.ErrClosed) {
		f.Errorf("a waiting Lock returned %v, want ErrClosed", err)
	}
	if _, err := campaign.endedWithin(prompt); !errors.Is(err, session.ErrClosed) {
		f.Errorf("a waiting Campaign returned %v, want ErrClosed", err)
	}
	f.queued(name, 1)
	f.release(g)
}

func closeIsIdempotent(f *fixture) {
	p, name := f.open("p"), f.name("q")
	p.lock(name)
	var closes []*job[struct{}]
	for range 4 {
		closes = append(closes, act(f, func() error { return p.Close(f.ctx) }))
	}
	for _, c := range closes {
		c.must()
	}
	if err := p.Close(f.ctx); err != nil {
		f.Errorf("another Close returned %v", err)
	}
	f.free(name)
}

func closeWithDoneContextCleansUp(f *fixture) {
	a, p, held, waited := f.open("a"), f.open("p"), f.name("held"), f.name("waited")
	g := a.lock(waited)
	p.lock(held)
	waiter := p.waiting(f.ctx, waited, 2)
	done, cancel := context.WithCancel(f.ctx)
	cancel()
	closing := act(f, func() error { return p.Close(done) })
	if _, err := closing.ended(); err != nil {
		f.Errorf("Close with a done context, of a store that answers, returned %v", err)
	}
	if _, err := waiter.ended(); !errors.Is(err, session.ErrClosed) {
		f.Errorf("a waiting Lock returned %v, want ErrClosed", err)
	}
	f.queued(held, 0)
	f.queued(waited, 1)
	f.release(g)
}
