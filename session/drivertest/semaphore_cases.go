package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// Permits.
var semaphoreCases = []Case{
	{"PermitsNeverExceedTheLimit", permitsNeverExceedTheLimit},
	{"HeavyRequestIsNotOvertaken", heavyRequestIsNotOvertaken},
	{"AnyReleaseLetsTheFirstIn", anyReleaseLetsTheFirstIn},
	{"OneReleaseMayLetSeveralIn", oneReleaseMayLetSeveralIn},
	{"WaiterThatGivesUpMakesWay", waiterThatGivesUpMakesWay},
	{"LostHolderFreesItsPermits", lostHolderFreesItsPermits},
	{"StampThatFailsIsWrittenAgain", stampThatFailsIsWrittenAgain},
	{"AdoptedPermitIsStampedAsWell", adoptedPermitIsStampedAsWell},
	{"OtherLimitIsRefusedWhileInUse", otherLimitIsRefusedWhileInUse},
	{"OtherKindIsRefusedWhileInUse", otherKindIsRefusedWhileInUse},
	{"TryAcquireDelaysNobody", tryAcquireDelaysNobody},
	{"ImpossibleRequestsAreRefusedBeforeAnyIO", impossibleRequestsAreRefusedBeforeAnyIO},
	{"SnapshotTellsHoldersFromWaiters", snapshotTellsHoldersFromWaiters},
}

func (p *peer) semaphore(name string, limit int64) *semaphore.Semaphore {
	return semaphore.New(p.Session, name, limit)
}

func (p *peer) acquiring(ctx context.Context, name string, limit, weight int64) *job[*session.Grant] {
	return begin(p.f, func() (*session.Grant, error) { return p.semaphore(name, limit).Acquire(ctx, weight) })
}

// acquire acquires at once, from the case's goroutine.
func (p *peer) acquire(name string, limit, weight int64) *session.Grant {
	p.f.Helper()
	return p.acquiring(p.f.ctx, name, limit, weight).must()
}

// line starts an Acquire for each weight; each is in the queue before the next.
func (f *fixture) line(p *peer, name string, limit int64, present int, weights ...int64) []*job[*session.Grant] {
	f.Helper()
	var jobs []*job[*session.Grant]
	for i, w := range weights {
		jobs = append(jobs, p.acquiring(f.ctx, name, limit, w))
		f.queued(name, present+i+1)
	}
	return jobs
}

func permitsNeverExceedTheLimit(f *fixture) {
	const limit = 5
	name, h := f.name("q"), &hall{tb: f.TB, limit: limit}
	first := f.open("first")
	g := first.acquire(name, limit, limit)
	h.enter("first", limit)
	var visits []*job[struct{}]
	for i := range 8 {
		p := f.open(fmt.Sprintf("session %d", i))
		visits = append(visits, act(f, func() error {
			for n := range 6 {
				weight := int64(1 + (i+n)%3)
				err := p.semaphore(name, limit).Do(f.ctx, weight, func(ctx context.Context) error {
					h.enter(p.Identity(), weight)
					defer h.leave(weight)
					if n == 0 { // so that they meet
						select {
						case <-ctx.Done():
						case <-time.After(time.Millisecond):
						}
					}
					return ctx.Err()
				})
				if err != nil {
					return err
				}
			}
			return nil
		}))
	}
	f.queued(name, 9)
	h.leave(limit)
	f.release(g)
	for _, v := range visits {
		v.must()
	}
	f.free(name)
}

// heavyRequestIsNotOvertaken: the three would fit while the five waits.
func heavyRequestIsNotOvertaken(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	first, second := a.acquire(name, 5, 1), a.acquire(name, 5, 1)
	var mu sync.Mutex
	var order []int64
	var held []*job[*session.Grant]
	for i, weight := range []int64{5, 1, 1, 1} {
		held = append(held, begin(f, func() (*session.Grant, error) {
			g, err := b.semaphore(name, 5).Acquire(f.ctx, weight)
			mu.Lock()
			defer mu.Unlock()
			order = append(order, weight)
			return g, err
		}))
		f.queued(name, i+3)
	}
	f.release(first)
	held[1].goesOn("the wait of a light request behind a heavy one")
	f.release(second)
	heavy := held[0].must()
	held[1].goesOn("the wait of a light request behind a heavy one")
	f.release(heavy)
	var last uint64
	for _, j := range held[1:] {
		g := j.must()
		if g.Token() <= last {
			f.Errorf("token %d follows token %d", g.Token(), last)
		}
		last = g.Token()
		f.release(g)
	}
	if order[0] != 5 {
		f.Errorf("they were granted in the order %v, want the heavy one first", order)
	}
}

// anyReleaseLetsTheFirstIn: not only that of the holder one limit ahead.
func anyReleaseLetsTheFirstIn(f *fixture) {
	a, b := f.open("a"), f.open("b")
	for leaves := range 3 {
		name := f.name(fmt.Sprint(leaves))
		var held []*session.Grant
		for range 3 {
			held = append(held, a.acquire(name, 3, 1))
		}
		waiters := f.line(b, name, 3, 3, 1, 1)
		waiters[0].goesOn("the wait for a permit")
		f.release(held[leaves])
		g := waiters[0].must()
		waiters[1].goesOn("the wait of the second for a permit")
		f.release(g) // one that had to wait itself
		f.release(waiters[1].must())
	}
}

func oneReleaseMayLetSeveralIn(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	g := a.acquire(name, 4, 4)
	waiters := f.line(b, name, 4, 1, 1, 2, 1, 1)
	f.release(g)
	var held []*session.Grant
	for _, w := range waiters[:3] { // all at once
		held = append(held, w.must())
	}
	waiters[3].goesOn("the wait of the one that does not fit")
	f.release(held[1])
	f.release(waiters[3].must())
}

func waiterThatGivesUpMakesWay(f *fixture) {
	a, b, c, name := f.open("a"), f.open("b"), f.open("c"), f.name("q")
	a.acquire(name, 3, 2)
	ctx, giveUp := context.WithCancel(f.ctx)
	heavy := b.acquiring(ctx, name, 3, 3)
	f.queued(name, 2)
	ctx2, giveUp2 := context.WithCancel(f.ctx)
	middle := c.acquiring(ctx2, name, 3, 2)
	f.queued(name, 3)
	light := c.acquiring(f.ctx, name, 3, 1)
	f.queued(name, 4)
	giveUp2() // not the first
	if _, err := middle.endedWithin(prompt); !errors.Is(err, context.Canceled) {
		f.Errorf("a cancelled Acquire returned %v", err)
	}
	light.goesOn("the wait of a light request behind a heavy one")
	giveUp()
	if _, err := heavy.endedWithin(prompt); !errors.Is(err, context.Canceled) {
		f.Errorf("a cancelled Acquire returned %v", err)
	}
	f.release(light.must())
}

func lostHolderFreesItsPermits(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	g1, g2 := a.acquire(name, 2, 1), a.acquire(name, 2, 1)
	waiters := f.line(b, name, 2, 2, 1, 1, 1)
	a.expire()
	f.lostGrant(g1)
	f.lostGrant(g2)
	f.release(waiters[0].must())
	f.release(waiters[1].must())
	f.release(waiters[2].must())
	f.free(name)
}

// stampThatFailsIsWrittenAgain: whoever is behind waits for it.
func stampThatFailsIsWrittenAgain(f *fixture) {
	a, b, c, name := f.open("a"), f.open("b"), f.open("c"), f.name("q")
	refuse := func(context.Context, Op, func(context.Context) error) error {
		return driver.Permanent(errors.New("not allowed at present"))
	}
	for _, hook := range []Hook{loseReply, loseRequest, refuse} {
		g := a.acquire(name, 2, 2)
		failures := 0
		b.calls.On(OpUpdate, func(ctx context.Context, op Op, call func(context.Context) error) error {
			if failures++; failures > 2 { // one after the other
				return call(ctx)
			}
			return hook(ctx, op, call)
		})
		one := b.acquiring(f.ctx, name, 2, 1)
		f.queued(name, 2)
		two := c.acquiring(f.ctx, name, 2, 1)
		f.queued(name, 3)
		f.release(g)
		first := one.must()
		f.release(two.must())
		f.release(first)
		b.calls.On(OpUpdate, nil)
	}
}

// adoptedPermitIsStampedAsWell: where the reply to the Join was lost, whoever came
// behind before the entry was found again has seen it waiting.
func adoptedPermitIsStampedAsWell(f *fixture) {
	a, b, c, name := f.open("a"), f.open("b"), f.open("c"), f.name("q")
	g := a.acquire(name, 2, 2)
	found := make(chan struct{})
	b.calls.On(OpJoin, func(ctx context.Context, op Op, call func(context.Context) error) error {
		b.calls.On(OpJoin, nil)
		return loseReply(ctx, op, call)
	})
	b.calls.On(OpResolve, func(ctx context.Context, _ Op, call func(context.Context) error) error {
		<-found
		return call(ctx)
	})
	adopted := b.acquiring(f.ctx, name, 2, 1)
	f.queued(name, 2)
	behind := c.acquiring(f.ctx, name, 2, 1)
	f.queued(name, 3)
	behind.goesOn("the wait behind one that waits")
	f.release(g)
	close(found)
	first := adopted.must()
	f.release(behind.must()) // while the first holds
	f.release(first)
}

func otherLimitIsRefusedWhileInUse(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	g := a.acquire(name, 2, 1)
	refused := func(err error) {
		f.Helper()
		if e, ok := errors.AsType[*session.Error](err); !ok || !errors.Is(err, session.ErrLimit) || e.Name != name {
			f.Errorf("another limit: %v, want a *session.Error that Is ErrLimit", err)
		}
	}
	_, err := b.semaphore(name, 3).Acquire(f.ctx, 1)
	refused(err)
	_, err = b.semaphore(name, 3).TryAcquire(f.ctx, 1)
	refused(err)
	f.alone(name, g.Token())
	f.release(g)
	f.release(b.acquire(name, 3, 1)) // idle: it takes the limit of whoever comes
	f.free(name)
}

func otherKindIsRefusedWhileInUse(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	refused := func(what string, _ any, err error) {
		f.Helper()
		e, ok := errors.AsType[*session.Error](err)
		if !ok || !errors.Is(err, session.ErrKind) || e.Name != name || e.Holder != "a" && what != "Resize of a mutex" {
			f.Errorf("%s: %v, want a *session.Error that Is ErrKind and names a", what, err)
		}
	}
	g := a.acquire(name, 2, 1)
	m, err := b.mutex(name).Lock(f.ctx)
	refused("Lock of a semaphore", m, err)
	m, err = b.mutex(name).TryLock(f.ctx)
	refused("TryLock of a semaphore", m, err)
	m, err = b.rwmutex(name).RLock(f.ctx)
	refused("RLock of a semaphore", m, err)
	m, err = b.rwmutex(name).TryRLock(f.ctx)
	refused("TryRLock of a semaphore", m, err)
	term, err := election.New(b.Session, name).Campaign(f.ctx, "v")
	refused("Campaign in a semaphore", term, err)
	f.queued(name, 1)
	f.release(g)

	g = a.lock(name)
	m, err = b.semaphore(name, 2).Acquire(f.ctx, 1)
	refused("Acquire of a mutex", m, err)
	m, err = b.semaphore(name, 2).TryAcquire(f.ctx, 1)
	refused("TryAcquire of a mutex", m, err)
	refused("Resize of a mutex", nil, b.semaphore(name, 2).Resize(f.ctx, 3))
	f.alone(name, g.Token())
	f.release(g)
	f.free(name)
}

func tryAcquireDelaysNobody(f *fixture) {
	a, b, name := f.open("alice"), f.open("bob"), f.name("q")
	try := func(weight int64) (*session.Grant, error) { return b.semaphore(name, 3).TryAcquire(f.ctx, weight) }
	g := a.acquire(name, 3, 1)
	second, err := try(2)
	if err != nil {
		f.Fatalf("TryAcquire of what is free: %v", err)
	}
	held := func(err error) {
		f.Helper()
		if e, ok := errors.AsType[*session.Error](err); !ok || !errors.Is(err, session.ErrHeld) || e.Holder != "alice" || e.Token != g.Token() {
			f.Errorf("TryAcquire of what is not free returned %v, want ErrHeld by alice", err)
		}
	}
	_, err = try(1)
	held(err)
	waiters := f.line(a, name, 3, 2, 3)
	f.release(second)
	f.queued(name, 2)
	_, err = try(1) // it would fit, but somebody waits
	held(err)
	f.queued(name, 2)
	f.release(g)
	f.release(waiters[0].must())
}

func impossibleRequestsAreRefusedBeforeAnyIO(f *fixture) {
	p, name := f.open("p"), f.name("q")
	p.freeze()
	defer p.heal()
	for _, bad := range []struct{ limit, weight int64 }{{2, 3}, {2, 0}, {2, -1}, {0, 1}, {-1, 1}} {
		m := p.semaphore(name, bad.limit)
		for what, err := range map[string]error{
			"Acquire":    errorOf(m.Acquire(f.ctx, bad.weight)),
			"TryAcquire": errorOf(m.TryAcquire(f.ctx, bad.weight)),
		} {
			if e, ok := errors.AsType[*session.Error](err); !ok || e.Name != name {
				f.Errorf("%s of %d with limit %d returned %v, want a *session.Error", what, bad.weight, bad.limit, err)
			}
		}
	}
	if err := p.semaphore(name, 2).Resize(f.ctx, 0); err == nil {
		f.Errorf("Resize to 0 succeeded")
	}
}

func errorOf(_ *session.Grant, err error) error { return err }

func snapshotTellsHoldersFromWaiters(f *fixture) {
	a, b := f.open("a"), f.open("b")
	permits, shared := f.name("permits"), f.name("shared")
	g := a.acquire(permits, 5, 3)
	waiters := f.line(b, permits, 5, 1, 4, 1)
	w := a.wlocking(f.ctx, shared).must()
	r := b.rlocking(shared)
	f.queued(shared, 2)
	type row struct {
		kind             string
		limit            int64
		holders, waiters []int64
	}
	shows := func(want ...row) {
		f.Helper()
		f.eventually(func() error {
			snaps, err := watch.List(f.ctx, a.Session, f.prefix)
			if err != nil {
				return err
			}
			var got []row
			for _, s := range snaps {
				x := row{kind: s.Kind, limit: s.Limit}
				for _, e := range s.Holders {
					x.holders = append(x.holders, e.Weight)
				}
				for _, e := range s.Waiters {
					x.waiters = append(x.waiters, e.Weight)
				}
				got = append(got, x)
			}
			same := func(a, b row) bool {
				return a.kind == b.kind && a.limit == b.limit && slices.Equal(a.holders, b.holders) && slices.Equal(a.waiters, b.waiters)
			}
			if !slices.EqualFunc(got, want, same) {
				return fmt.Errorf("List shows %+v, want %+v", got, want)
			}
			return nil
		})
	}
	shows(row{"semaphore", 5, []int64{3}, []int64{4, 1}}, row{"rwmutex", 0, []int64{0}, []int64{0}})
	f.release(g)
	first, second := waiters[0].must(), waiters[1].must()
	down, err := a.rwmutex(shared).Downgrade(f.ctx, w)
	if err != nil {
		f.Fatalf("%v", err)
	}
	shows(row{"semaphore", 5, []int64{4, 1}, nil}, row{"rwmutex", 0, []int64{0, 0}, nil})
	for snap, err := range watch.Queue(f.ctx, b.Session, shared) {
		if err != nil || len(snap.Holders) != 2 || snap.Holders[0].Mode != "shared" || snap.Holders[0].Value != "" {
			f.Errorf("Queue shows %+v, %v, want two that share", snap, err)
		}
		break
	}
	for _, g := range []*session.Grant{first, second, down, r.must()} {
		f.release(g)
	}
}
