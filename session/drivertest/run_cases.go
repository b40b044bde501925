package drivertest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/session"
)

// Election.Run: to lead, again and again.
var runCases = []Case{
	{"RunReturnsTheErrorOfLead", runReturnsTheErrorOfLead},
	{"RunEndsWithItsContextAfterLead", runEndsWithItsContextAfterLead},
	{"RunNeverOverlapsItself", runNeverOverlapsItself},
	{"RunHandsOver", runHandsOver},
	{"RunResignsOnPanic", runResignsOnPanic},
	{"RunEndsWithTheSession", runEndsWithTheSession},
	{"RunGivesUpAfterMaxWait", runGivesUpAfterMaxWait},
}

func runReturnsTheErrorOfLead(f *fixture) {
	p, name, own := f.open("p"), f.name("q"), errors.New("its own")
	for _, want := range []error{nil, own} {
		err := p.election(name).Run(f.ctx, "value", func(ctx context.Context) error {
			t, ok := election.TermFrom(ctx)
			g, ok2 := session.GrantFrom(ctx)
			if !ok || !ok2 || t.Token() != g.Token() {
				f.Errorf("TermFrom returned %v, %v, GrantFrom %v, %v", t, ok, g, ok2)
				return want
			}
			p.leads(name, "value", "p", t.Token())
			if err := t.Proclaim(ctx, "changed"); err != nil {
				f.Errorf("proclaim: %v", err)
			}
			p.leads(name, "changed", "p", t.Token())
			return want
		})
		if !errors.Is(err, want) {
			f.Errorf("Run returned %v, want %v", err, want)
		}
		if q := f.queue(name); len(q) != 0 {
			f.Errorf("after Run the queue is %v", brief(q))
		}
	}
	if _, ok := election.TermFrom(f.ctx); ok {
		f.Errorf("TermFrom outside found a term")
	}
}

func runEndsWithItsContextAfterLead(f *fixture) {
	p, other, name := f.open("p"), f.open("other"), f.name("q")
	ctx, cancel := context.WithCancel(f.ctx)
	leading, told, finish := make(chan struct{}), make(chan struct{}), make(chan struct{})
	run := act(f, func() error {
		return p.election(name).Run(ctx, "value", func(ctx context.Context) error {
			close(leading)
			<-ctx.Done()
			close(told)
			<-finish
			return errors.New("of no interest")
		})
	})
	f.happens("lead is called", leading)
	next := other.campaigning(name, "next", 2)
	cancel()
	f.happens("lead's context ends", told)
	run.goesOn("Run whose lead has not returned")
	next.goesOn("a campaign against a lead that has not returned")
	close(finish)
	if _, err := run.ended(); !errors.Is(err, context.Canceled) {
		f.Errorf("Run returned %v, want Canceled", err)
	}
	if err := next.must().Resign(f.ctx); err != nil {
		f.Errorf("resign: %v", err)
	}
	if err := p.election(name).Run(ctx, "value", func(context.Context) error {
		f.Errorf("Run with a done context called lead")
		return nil
	}); !errors.Is(err, context.Canceled) {
		f.Errorf("Run with a done context returned %v, want Canceled", err)
	}
	f.free(name)
}

// runNeverOverlapsItself ends the lease again and again under a lead that is
// slow to return.
func runNeverOverlapsItself(f *fixture) {
	const losses = 20
	p, name := f.open("p"), f.name("q")
	var leading, terms atomic.Int32
	var last uint64
	enough := errors.New("enough")
	run := act(f, func() error {
		return p.election(name).Run(f.ctx, "value", func(ctx context.Context) error {
			if leading.Add(1) != 1 {
				f.Errorf("lead was called while it runs")
			}
			defer leading.Add(-1)
			g, _ := session.GrantFrom(ctx)
			if g.Token() <= last {
				f.Errorf("token %d follows token %d", g.Token(), last)
			}
			last = g.Token()
			if terms.Add(1) > losses {
				return enough
			}
			select {
			case <-ctx.Done():
			case <-time.After(f.patience):
				f.Errorf("lead's context did not end with the lease")
			}
			<-time.After(moment / 2) // slow to return
			return nil
		})
	})
	for i := range int32(losses) {
		f.eventually(func() error {
			if n := terms.Load(); n <= i {
				return fmt.Errorf("%d terms after %d losses", n, i)
			}
			return nil
		})
		p.expire()
	}
	if _, err := run.ended(); !errors.Is(err, enough) {
		f.Errorf("Run returned %v, want lead's error", err)
	}
	f.free(name)
}

// runHandsOver: of several that run, one leads at a time, and the next follows
// when the one that leads ends, is closed, or loses its lease.
func runHandsOver(f *fixture) {
	name := f.name("q")
	led := make(chan *peer)
	var runs []*job[struct{}]
	ctx, cancel := context.WithCancel(f.ctx)
	for i := range 4 {
		p := f.open(fmt.Sprintf("candidate %d", i))
		runs = append(runs, act(f, func() error {
			return p.election(name).Run(ctx, p.Identity(), func(ctx context.Context) error {
				select {
				case led <- p:
				case <-ctx.Done():
				}
				<-ctx.Done()
				return nil
			})
		}))
	}
	f.queued(name, 4)
	leader := func() *peer {
		f.Helper()
		select {
		case p := <-led:
			return p
		case <-time.After(f.patience):
			f.Fatalf("nobody leads")
			return nil
		}
	}
	first := leader()
	first.expire()
	second := leader()
	if second == first {
		f.Errorf("%s leads again, with others in the queue before it", first.Identity())
	}
	if err := second.Close(f.ctx); err != nil {
		f.Errorf("close: %v", err)
	}
	third := leader()
	if third == second || third == first {
		f.Errorf("%s leads, want one that has not", third.Identity())
	}
	cancel()
	for _, run := range runs {
		if _, err := run.ended(); !errors.Is(err, context.Canceled) && !errors.Is(err, session.ErrClosed) {
			f.Errorf("Run returned %v", err)
		}
	}
	f.free(name)
}

func runResignsOnPanic(f *fixture) {
	p, name := f.open("p"), f.name("q")
	func() {
		defer func() {
			if v := recover(); v != "oh" {
				f.Errorf("Run panics with %v, want lead's panic", v)
			}
		}()
		_ = p.election(name).Run(f.ctx, "", func(context.Context) error { panic("oh") })
		f.Errorf("Run swallowed a panic")
	}()
	f.free(name)
}

func runEndsWithTheSession(f *fixture) {
	p, name := f.open("p"), f.name("q")
	run := act(f, func() error {
		return p.election(name).Run(f.ctx, "", func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		})
	})
	f.queued(name, 1)
	if err := p.Close(f.ctx); err != nil {
		f.Errorf("close: %v", err)
	}
	if _, err := run.ended(); !errors.Is(err, session.ErrClosed) {
		f.Errorf("Run returned %v, want ErrClosed", err)
	}
	f.free(name)
}

func runGivesUpAfterMaxWait(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	const maxWait = time.Second // enough to be elected on a busy machine
	t := a.elect(name, "one")
	e := election.NewWith(b.Session, name, &election.Options{MaxWait: maxWait})
	err := e.Run(f.ctx, "two", func(context.Context) error {
		f.Errorf("lead was called while another leads")
		return nil
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		f.Errorf("Run returned %v, want DeadlineExceeded", err)
	}
	f.queued(name, 1)
	if err := t.Resign(f.ctx); err != nil {
		f.Errorf("resign: %v", err)
	}
	if err := e.Run(f.ctx, "two", func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(maxWait + 2*moment):
			return nil
		}
	}); err != nil {
		f.Errorf("Run for longer than MaxWait returned %v, want nil", err)
	}
}
