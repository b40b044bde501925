package drivertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead-go/fairlead/session"
)

// A scenario is a few operations of one session on one queue. Each of the
// requests that it consists of is made to go wrong in turn.
type scenario struct {
	name string
	run  func(ctx context.Context, t *trial) error
}

var scenarios = []scenario{
	{"Lock", lockAndRelease},
	{"ContendedLock", waitAndRelease},
	{"TryLock", tryAndRelease},
	{"Campaign", campaignProclaimAndResign},
	{"Downgrade", writeDowngradeAndRelease},
	{"Acquire", acquireAndRelease},
	{"ContendedAcquire", waitForPermitsAndRelease},
	{"Break", breakAnother},
	{"ForcedBreak", forceAnother},
}

// each makes a case of every scenario.
func each(name string, run func(f *fixture, s scenario)) []Case {
	var cases []Case
	for _, s := range scenarios {
		cases = append(cases, Case{name + "Of" + s.name, func(f *fixture) { run(f, s) }})
	}
	return cases
}

// A trial is one run of a scenario.
type trial struct {
	f     *fixture
	p     *peer // whose requests go wrong
	other *peer
	name  string
	room  *room

	// after runs when an operation has its outcome, before that is checked.
	after func()
}

func (f *fixture) trial() *trial {
	return &trial{f: f, p: f.open("p"), other: f.open("other"), name: f.name("q"), room: newRoom(f.TB), after: func() {}}
}

// held checks that the grant is the only thing of p's in the queue.
func (t *trial) held(g *session.Grant) {
	t.f.Helper()
	t.after()
	t.room.enter("p", g)
	t.f.alone(t.name, g.Token())
	if err := g.Check(); err != nil {
		t.f.Errorf("a fresh grant: %v", err)
	}
}

// give gives the grant back.
func (t *trial) give(ctx context.Context, g *session.Grant) error {
	t.room.leave("p")
	return g.Release(ctx)
}

func lockAndRelease(ctx context.Context, t *trial) error {
	g, err := t.p.mutex(t.name).Lock(ctx)
	if err != nil {
		t.after()
		return err
	}
	t.held(g)
	return t.give(ctx, g)
}

func waitAndRelease(ctx context.Context, t *trial) error {
	ahead := t.other.lock(t.name)
	return behind(ctx, t, ahead, func() *job[*session.Grant] { return t.p.locking(ctx, t.name) })
}

func waitForPermitsAndRelease(ctx context.Context, t *trial) error {
	ahead := t.other.acquire(t.name, 2, 2)
	return behind(ctx, t, ahead, func() *job[*session.Grant] { return t.p.acquiring(ctx, t.name, 2, 1) })
}

// behind starts a call that has to wait for ahead, and lets it have its turn.
func behind(ctx context.Context, t *trial, ahead *session.Grant, start func() *job[*session.Grant]) error {
	t.room.enter("other", ahead)
	lock := start()
	t.f.eventually(func() error {
		select {
		case <-lock.done: // it has failed, or the room will tell
		default:
			if n := len(t.f.queue(t.name)); n != 2 {
				return fmt.Errorf("%d entries in the queue, want the holder and the waiter", n)
			}
		}
		return nil
	})
	t.room.leave("other")
	t.f.release(ahead)
	g, err := lock.ended()
	if err != nil {
		t.after()
		return err
	}
	t.held(g)
	return t.give(ctx, g)
}

func breakAnother(ctx context.Context, t *trial) error {
	ahead := t.other.lock(t.name)
	broken := t.p.breaking(ctx, t.name, ahead.Token(), false)
	select {
	case <-ahead.Context().Done():
	case <-broken.done: // it has given up, and perhaps nobody was told
	}
	err := ahead.Release(t.f.ctx)
	if _, failed := broken.ended(); failed != nil {
		return failed
	}
	t.f.isBroken("Release of what was broken", err)
	return nil
}

func forceAnother(ctx context.Context, t *trial) error {
	ahead := t.other.lock(t.name)
	_, err := t.p.breaking(ctx, t.name, ahead.Token(), true).ended()
	if err == nil {
		t.f.queued(t.name, 0)
	}
	_ = ahead.Release(t.f.ctx) // who may not have heard of it yet
	return err
}

func tryAndRelease(ctx context.Context, t *trial) error {
	g, err := t.p.mutex(t.name).TryLock(ctx)
	if err != nil {
		t.after()
		return err
	}
	t.held(g)
	return t.give(ctx, g)
}

func acquireAndRelease(ctx context.Context, t *trial) error {
	g, err := t.p.semaphore(t.name, 2).Acquire(ctx, 2)
	if err != nil {
		t.after()
		return err
	}
	t.held(g)
	return t.give(ctx, g)
}

func writeDowngradeAndRelease(ctx context.Context, t *trial) error {
	w, err := t.p.rwmutex(t.name).Lock(ctx)
	if err != nil {
		t.after()
		return err
	}
	t.held(w)
	g, err := t.p.rwmutex(t.name).Downgrade(ctx, w)
	t.room.leave("p")
	t.after()
	if w.Context().Err() == nil {
		t.f.Errorf("after a Downgrade that returned %v, the writer's context is not done", err)
	}
	if err != nil {
		return err
	}
	t.f.alone(t.name, w.Token())
	return g.Release(ctx)
}

func campaignProclaimAndResign(ctx context.Context, t *trial) error {
	term, err := t.p.election(t.name).Campaign(ctx, "one")
	if err != nil {
		t.after()
		return err
	}
	t.held(term.Grant)
	err = term.Proclaim(ctx, "two")
	t.after()
	if q := t.f.queue(t.name); err == nil && (len(q) != 1 || q[0].Value != "two" || q[0].Token != term.Token()) {
		t.f.Errorf("after the proclamation the queue is %v", brief(q))
	}
	return errors.Join(err, t.give(ctx, term.Grant))
}
