package etcd_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/proxy"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

func TestWaiterOutlivesCompactionAndCuts(t *testing.T) {
	t.Parallel()
	srv, name, ctx := startServer(t), nameFor(t), bounded(t)
	g := lock(t, open(t, srv.Addr(), quiet("holder", 0)), name)
	p := behindProxy(t, srv.Addr())
	waiter := locking(ctx, open(t, p.Addr(), quiet("waiter", 0)), name)
	queuedAt(t, srv.admin, name, 2)
	for range 5 {
		srv.compact(ctx, t)
		p.Cut()
		// The next cut is of use only once the waiter is back.
		eventually(t, func(context.Context) error {
			if p.Counts().Open == 0 {
				return errors.New("the waiter does not connect again")
			}
			return nil
		})
	}
	srv.compact(ctx, t)
	waiter.pending(t)
	release(t, g)
	release(t, waiter.must(t))
	queuedAt(t, srv.admin, name, 0)
}

// The release happens while the waiter's connection is down: the event is one
// that its watch never sees.
func TestReleaseDuringAnOutageWakesTheWaiter(t *testing.T) {
	t.Parallel()
	srv, name, ctx := startServer(t), nameFor(t), bounded(t)
	holder := open(t, srv.Addr(), quiet("holder", 0))
	p := behindProxy(t, srv.Addr())
	waiting := open(t, p.Addr(), quiet("waiter", 0))
	for range 3 {
		g := lock(t, holder, name)
		waiter := locking(ctx, waiting, name)
		queuedAt(t, srv.admin, name, 2)
		p.Freeze(proxy.Both)
		p.Cut()
		release(t, g)
		srv.compact(ctx, t)
		waiter.pending(t)
		p.Thaw(proxy.Both)
		release(t, waiter.must(t))
	}
}

func TestGrantOutlivesCuts(t *testing.T) {
	t.Parallel()
	name, ctx := nameFor(t), bounded(t)
	p := behindProxy(t, shared.Addr())
	g := lock(t, open(t, p.Addr(), quiet("holder", shortTTL)), name)
	for range 5 {
		before := g.Deadline()
		p.Cut()
		// The lease is renewed over a new connection, in time.
		eventually(t, func(context.Context) error {
			if g.Deadline().After(before) {
				return nil
			}
			if err := g.Check(); err != nil {
				t.Fatal(err)
			}
			return errors.New("the trust window does not move on")
		})
	}
	if err := g.Confirm(ctx); err != nil {
		t.Error(err)
	}
	release(t, g)
}

func TestCancelReturnsPromptlyWhileTheServerCannotBeReached(t *testing.T) {
	t.Parallel()
	name := nameFor(t)
	g := lock(t, open(t, shared.Addr(), quiet("holder", 0)), name)
	p := behindProxy(t, shared.Addr())
	s := open(t, p.Addr(), quiet("waiter", 0))

	ctx, cancel := context.WithCancel(bounded(t))
	waiter := locking(ctx, s, name)
	queued(t, name, 2)
	p.Freeze(proxy.Both)
	newcomer := begin(func() (*session.Grant, error) { return mutex.New(s, name).TryLock(ctx) })
	start := time.Now()
	cancel()
	for who, c := range map[string]*call[*session.Grant]{"the waiter": waiter, "the newcomer": newcomer} {
		select {
		case <-c.done:
		case <-time.After(patience):
			t.Fatalf("%s still waits %v after it was cancelled", who, patience)
		}
		if !errors.Is(c.err, context.Canceled) {
			t.Errorf("%s returned %v, want context.Canceled", who, c.err)
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v to return after the cancellation", took)
	}

	// The network is back: what was given up must not stay in the queue.
	p.Thaw(proxy.Both)
	queued(t, name, 1)
	release(t, g)
}

// A revoked lease is gone at once, whatever its TTL: the holder has to hear of it
// and not to find out by its next renewal.
func TestRevokedLeaseEndsTheGrantSoon(t *testing.T) {
	t.Parallel()
	name, ctx := nameFor(t), bounded(t)
	s := open(t, shared.Addr(), quiet("holder", 5*time.Minute))
	g := lock(t, s, name)
	if err := revokeLeader(ctx, name); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.Context().Done():
	case <-ctx.Done():
		t.Fatal("the holder of a revoked lease goes on")
	}
	if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrLost) {
		t.Errorf("the grant ended with cause %v, want ErrLost", cause)
	}
	if err := g.Release(ctx); !errors.Is(err, session.ErrLost) {
		t.Errorf("Release of a lost grant: %v, want ErrLost", err)
	}
	release(t, lock(t, s, name)) // under a new lease
}
