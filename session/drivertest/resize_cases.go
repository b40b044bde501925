package drivertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// A limit that changes while the semaphore is in use.
var resizeCases = []Case{
	{"GrowingLetsInWhoFits", growingLetsInWhoFits},
	{"ShrinkingGrantsNothingUntilItFits", shrinkingGrantsNothingUntilItFits},
	{"ShrinkingKnowsHoldersWithoutStamp", shrinkingKnowsHoldersWithoutStamp},
	{"WaiterForMoreThanTheNewLimitIsTold", waiterForMoreThanTheNewLimitIsTold},
	{"ResizeOfAnIdleSemaphoreIsForWhoeverComes", resizeOfAnIdleSemaphoreIsForWhoeverComes},
	{"LostReplyToResizeIsAskedAgain", lostReplyToResizeIsAskedAgain},
	{"ResizeComesToAnEndWhileOthersComeAndGo", resizeComesToAnEndWhileOthersComeAndGo},
}

// resize changes the limit, from the case's goroutine.
func (p *peer) resize(name string, from, to int64) {
	p.f.Helper()
	if err := p.semaphore(name, from).Resize(p.f.ctx, to); err != nil {
		p.f.Fatalf("%v", err)
	}
}

func growingLetsInWhoFits(f *fixture) {
	a, b, c, name := f.open("a"), f.open("b"), f.open("c"), f.name("q")
	g := a.acquire(name, 1, 1)
	waiters := f.line(b, name, 1, 1, 1, 1, 1, 1)
	c.resize(name, 1, 3)
	first, second := waiters[0].must(), waiters[1].must()
	waiters[2].goesOn("the wait of the one that does not fit")
	if _, err := c.semaphore(name, 1).Acquire(f.ctx, 1); !errors.Is(err, session.ErrLimit) {
		f.Errorf("Acquire with the old limit returned %v, want ErrLimit", err)
	}
	f.release(second)
	third := waiters[2].must()
	waiters[3].goesOn("the wait of the one that does not fit")
	f.release(g)
	f.release(waiters[3].must())
	f.release(first)
	f.release(third)
	f.free(name)
}

func shrinkingGrantsNothingUntilItFits(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	var held []*session.Grant
	for range 3 {
		held = append(held, a.acquire(name, 3, 1))
	}
	waiters := f.line(b, name, 3, 3, 1, 1)
	a.resize(name, 3, 1)
	for _, g := range held {
		if err := g.Check(); err != nil {
			f.Errorf("after the limit shrank, %v", err)
		}
	}
	f.release(held[1])
	waiters[0].goesOn("the wait while two hold and one may")
	f.release(held[0])
	waiters[0].goesOn("the wait while one holds and one may")
	f.release(held[2])
	g := waiters[0].must()
	waiters[1].goesOn("the wait while one holds and one may")
	f.release(g)
	f.release(waiters[1].must())
}

// shrinkingKnowsHoldersWithoutStamp: who was let in at once bears no stamp. Taken
// for waiters, they would make the one behind them wait for the last of them.
func shrinkingKnowsHoldersWithoutStamp(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	g1, g2, g3 := a.acquire(name, 3, 1), a.acquire(name, 3, 1), a.acquire(name, 3, 1)
	waiters := f.line(b, name, 3, 3, 1)
	waits := func(n int) { // the waiter has looked, and waits again
		f.Helper()
		f.eventually(func() error {
			if made := b.calls.Made(OpWait); made < n {
				return fmt.Errorf("the waiter has waited %d times, want %d", made, n)
			}
			return nil
		})
	}
	waits(1)
	a.resize(name, 3, 2)
	waits(2)
	f.release(g1)
	waiters[0].goesOn("the wait while two hold and two may")
	f.release(g2)
	f.release(waiters[0].must()) // while g3 is held
	f.release(g3)
}

func waiterForMoreThanTheNewLimitIsTold(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	g := a.acquire(name, 5, 5)
	waiters := f.line(b, name, 5, 1, 4, 1)
	a.resize(name, 5, 3)
	if _, err := waiters[0].ended(); !errors.Is(err, session.ErrLimit) {
		f.Errorf("the wait for more than the new limit ended with %v, want ErrLimit", err)
	}
	waiters[1].goesOn("the wait behind it")
	f.release(g)
	f.release(waiters[1].must())
	f.free(name)
}

func resizeOfAnIdleSemaphoreIsForWhoeverComes(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	m := a.semaphore(name, 1)
	if err := m.Resize(f.ctx, 2); err != nil {
		f.Fatalf("%v", err)
	}
	g, err := m.Acquire(f.ctx, 2)
	if err != nil {
		f.Fatalf("after a Resize to 2: %v", err)
	}
	if err := b.semaphore(name, 2).Resize(f.ctx, 2); err != nil {
		f.Errorf("Resize to what it is: %v", err)
	}
	f.release(g)
	f.free(name)
}

// resizeComesToAnEndWhileOthersComeAndGo: and they do not notice, nor does the
// value that is resized refuse those who use it, nor a snapshot show permits
// without a limit.
func resizeComesToAnEndWhileOthersComeAndGo(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	const times = 6
	stop := make(chan struct{})
	shared := a.semaphore(name, 2)
	stays := b.acquire(name, 2, 1) // so that the limit is that of all the time
	var users []*job[struct{}]
	for range 8 {
		users = append(users, act(f, func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				if err := shared.Do(f.ctx, 1, func(context.Context) error { return nil }); err != nil {
					return err
				}
			}
		}))
	}
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	shown := act(f, func() error {
		for snap, err := range watch.Queue(ctx, b.Session, name) {
			if err == nil && (snap.Limit == 0 || len(snap.Holders) == 0) {
				f.Errorf("a snapshot shows %d holders and the limit %d", len(snap.Holders), snap.Limit)
			}
		}
		return nil
	})
	for i := range times {
		limit := int64(3 + 10*((i+1)%2))
		if err := shared.Resize(f.ctx, limit); err != nil {
			f.Errorf("%v", err)
		}
		f.limited(name, limit)
	}
	close(stop)
	for _, u := range users {
		u.must()
	}
	cancel()
	shown.must()
	f.release(stays)
	f.free(name)
}

func lostReplyToResizeIsAskedAgain(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	limit := int64(1)
	g := a.acquire(name, limit, 1)
	for _, op := range []Op{OpRead, OpSetLimit} {
		for _, hook := range []Hook{loseReply, loseRequest} {
			b.calls.On(op, func(ctx context.Context, _ Op, call func(context.Context) error) error {
				b.calls.On(op, nil)
				return hook(ctx, op, call)
			})
			b.resize(name, limit, limit+1)
			limit++
			f.limited(name, limit)
		}
	}
	f.release(g)
}
