package drivertest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/session"
)

// A lost reply makes nothing fail, happen twice or stay behind.
var replyCases = slices.Concat(
	each("LostReplyAtEveryStep", func(f *fixture, s scenario) { f.everyRequest(s, loseReply) }),
	each("LostRequestAtEveryStep", func(f *fixture, s scenario) { f.everyRequest(s, loseRequest) }),
	each("LateRequestAtEveryStep", lateRequestAtEveryStep),
	each("LostReplyOnTheWireAtEveryStep", lostReplyOnTheWireAtEveryStep),
	[]Case{
		{"LostReplyToOpeningAndClosing", lostReplyToOpeningAndClosing},
		{"LostRenewalIsTriedAgain", lostRenewalIsTriedAgain},
	},
)

// everyRequest runs the scenario again and again; in the n-th run its n-th
// request meets the hook, and then also one and two of those that follow, which
// are to recover from it. It ends when a run needed fewer requests.
func (f *fixture) everyRequest(s scenario, hook Hook) {
	t := f.trial()
	for burst := 1; burst <= 3; burst++ {
		for n, met := 1, true; met; n++ {
			for i := range burst {
				t.p.calls.At(n+i, func(ctx context.Context, op Op, call func(context.Context) error) error {
					f.Logf("run %d meets fault %d of %d in %s", n, i+1, burst, op)
					return hook(ctx, op, call)
				})
			}
			if err := s.run(f.ctx, t); err != nil {
				f.Errorf("run %d with %d faults in a row: %v", n, burst, err)
			}
			f.free(t.name)
			met = t.p.calls.Clear() < burst
		}
	}
}

// lateRequestAtEveryStep gives each request up before it is made, and makes it
// when it must have lost its meaning: a Join when the caller has its answer, a
// Leave when the same session holds again. Other requests are just lost.
func lateRequestAtEveryStep(f *fixture, s scenario) {
	t := f.trial()
	joins, leaves := &backlog{}, &backlog{}
	t.after = joins.make
	for n, met := 1, true; met; n++ {
		t.p.calls.At(n, func(ctx context.Context, op Op, call func(context.Context) error) error {
			late := func() { _ = call(context.WithoutCancel(ctx)) }
			switch {
			case op == OpLeave:
				leaves.add(late)
			// With a network, a Join made late by the driver is another request
			// than one that is late underway: LateJoinNeverApplies has the latter.
			case op == OpJoin && !f.b.Networked:
				joins.add(late)
			}
			return errRequestLost
		})
		if err := s.run(f.ctx, t); err != nil {
			f.Errorf("run %d: %v", n, err)
		}
		f.free(t.name)
		met = t.p.calls.Clear() == 0
		g := t.p.lock(t.name)
		leaves.make()
		f.alone(t.name, g.Token())
		if err := g.Confirm(f.ctx); err != nil {
			f.Errorf("run %d: after a late Leave of an earlier entry: %v", n, err)
		}
		f.release(g)
	}
}

// A backlog is calls that are still to be made.
type backlog struct {
	mu    sync.Mutex
	calls []func()
}

func (b *backlog) add(call func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, call)
}

// make makes the calls.
func (b *backlog) make() {
	b.mu.Lock()
	calls := b.calls
	b.calls = nil
	b.mu.Unlock()
	for _, call := range calls {
		call()
	}
}

// lostReplyOnTheWireAtEveryStep does it to the bytes of a network: whatever else
// the client sends, such as renewals, counts too.
func lostReplyOnTheWireAtEveryStep(f *fixture, s scenario) {
	t := f.trial()
	if t.p.link == nil {
		f.Logf("there is no wire: the calls of the driver are covered by LostReplyAtEveryStepOf%s", s.name)
		return
	}
	const most = 40 // requests that a scenario may take
	for n := 1; n <= most; n++ {
		before := t.p.link.Requests()
		t.p.link.LoseReply(n)
		err := s.run(f.ctx, t)
		took := t.p.link.Requests() - before
		t.p.link.LoseReply(0)
		if err != nil {
			f.Errorf("with the reply to request %d lost: %v", n, err)
		}
		f.free(t.name)
		if took < n {
			return
		}
	}
	f.Errorf("the scenario takes more than %d requests", most)
}

func lostReplyToOpeningAndClosing(f *fixture) {
	for _, hook := range []Hook{loseReply, loseRequest} {
		calls, name := &Calls{}, f.name("q")
		once := func(op Op) {
			calls.On(op, func(ctx context.Context, op Op, call func(context.Context) error) error {
				calls.On(op, nil)
				return hook(ctx, op, call)
			})
		}
		once(OpGrant)
		p := f.openOn(calls, &session.Options{TTL: longTTL, Identity: "p"})
		p.lock(name)
		once(OpLeave)
		once(OpRevoke)
		if err := p.Close(f.ctx); err != nil {
			f.Errorf("close: %v", err)
		}
		f.free(name)
	}
}

// lostRenewalIsTriedAgain loses every other renewal for two TTLs.
func lostRenewalIsTriedAgain(f *fixture) {
	p, name := f.openShort("p"), f.name("q")
	g := p.lock(name)
	var mu sync.Mutex
	n := 0
	p.calls.On(OpRenew, func(ctx context.Context, op Op, call func(context.Context) error) error {
		mu.Lock()
		n++
		hook := []Hook{loseReply, pass, loseRequest, pass}[n%4]
		mu.Unlock()
		return hook(ctx, op, call)
	})
	select {
	case <-g.Context().Done():
		f.Errorf("the grant was lost though every other renewal succeeds: %v", context.Cause(g.Context()))
	case <-time.After(2 * p.TTL()):
	}
	if err := g.Release(f.ctx); err != nil && !errors.Is(err, session.ErrLost) {
		f.Errorf("%v", err)
	}
}
