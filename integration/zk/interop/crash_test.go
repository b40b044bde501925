package interop

import (
	"context"
	"errors"
	"testing"

	"github.com/fairlead-go/fairlead/integration/internal/zkpeer"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// doomed are peers that the test may kill.
func (p *place) doomed(t *testing.T) map[string]zkpeer.Peer {
	t.Helper()
	kazoo, err := zkpeer.StartKazoo(bounded(t), p.servers, ttl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kazoo.Close)
	gozk := zkpeer.NewGoZooKeeper(p.servers, ttl)
	t.Cleanup(gozk.Close)
	return map[string]zkpeer.Peer{"Curator": theirOwn(t, p), "kazoo": kazoo, "go-zookeeper": gozk}
}

// alone fails the test when anybody but us has an entry at this moment: what is
// ours must have been taken after what was theirs had gone.
func (p *place) alone(t *testing.T, name string) {
	t.Helper()
	if _, err := p.admin.Sync("/"); err != nil {
		t.Fatal(err)
	}
	names, _, err := p.admin.Children("/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 1 {
		t.Errorf("we hold, and in the queue is %v, want our entry alone", names)
	}
}

func TestALockOfAKilledPeerComesToUs(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		s := p.open(t, "ours")
		for who, peer := range p.doomed(t) {
			t.Run(who, func(t *testing.T) {
				t.Parallel()
				name := nameFor(t)
				if err := acquire(bounded(t), peer, name); err != nil {
					t.Fatal(err)
				}
				ctx := bounded(t)
				waits := begin(func() (*session.Grant, error) { return mutex.New(s, name).Lock(ctx) })
				p.queued(t, name, 2)
				if err := peer.Kill(); err != nil {
					t.Fatal(err)
				}
				g := waits.must(t)
				p.alone(t, name)
				if err := g.Release(ctx); err != nil {
					t.Fatal(err)
				}
				p.queued(t, name, 0)
			})
		}
	})
}

func TestReadAndWriteLocksOfAKilledCuratorComeToUs(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		s, peer, ctx := p.open(t, "ours"), theirOwn(t, p), bounded(t)
		read, written := nameFor(t)+"-read", nameFor(t)+"-written"
		if err := acquire(ctx, peer.Reader(), read); err != nil {
			t.Fatal(err)
		}
		if err := acquire(ctx, peer.Writer(), written); err != nil {
			t.Fatal(err)
		}
		writes := begin(func() (*session.Grant, error) { return rwmutex.New(s, read).Lock(ctx) })
		reads := begin(func() (*session.Grant, error) { return rwmutex.New(s, written).RLock(ctx) })
		p.queued(t, read, 2)
		p.queued(t, written, 2)
		if err := peer.Kill(); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]*call[*session.Grant]{read: writes, written: reads} {
			g := c.must(t)
			p.alone(t, name)
			if err := g.Release(ctx); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Who waits behind one that dies waiting must neither be let in nor wait for
// ever.
func TestTheirWaiterDiesBetweenOurs(t *testing.T) {
	somewhere(t, func(t *testing.T, p *place) {
		s := p.open(t, "ours")
		for who, peer := range p.doomed(t) {
			t.Run(who, func(t *testing.T) {
				t.Parallel()
				name, ctx := nameFor(t), bounded(t)
				g, err := mutex.New(s, name).Lock(ctx)
				if err != nil {
					t.Fatal(err)
				}
				theirs := acquiring(t, peer, name)
				p.queued(t, name, 2)
				ours := begin(func() (*session.Grant, error) { return mutex.New(s, name).Lock(ctx) })
				p.queued(t, name, 3)
				if err := peer.Kill(); err != nil {
					t.Fatal(err)
				}
				<-theirs.done // with whatever their library makes of it
				p.queued(t, name, 2)
				ours.pending(t)
				if err := g.Release(ctx); err != nil {
					t.Fatal(err)
				}
				if err := ours.must(t).Release(ctx); err != nil {
					t.Fatal(err)
				}
			})
		}
	})
}

func TestOurWaiterVanishesBetweenTheirs(t *testing.T) {
	somewhere(t, func(t *testing.T, p *place) {
		for who, peer := range p.peers() {
			t.Run(who, func(t *testing.T) {
				t.Parallel()
				name, ctx := nameFor(t), bounded(t)
				holder := zkpeer.NewGoZooKeeper(p.servers, ttl) // whom all of them know
				t.Cleanup(holder.Close)
				if err := acquire(ctx, holder, name); err != nil {
					t.Fatal(err)
				}
				link := &drivertest.Link{}
				s := p.openThrough(t, link)
				waiting, give := context.WithCancel(ctx)
				defer give()
				ours := begin(func() (*session.Grant, error) { return mutex.New(s, name).Lock(waiting) })
				p.queued(t, name, 2)
				theirs := acquiring(t, peer, name)
				p.queued(t, name, 3)

				link.Freeze()
				defer link.Heal()
				p.queued(t, name, 2) // our session has expired
				theirs.pending(t)
				release(t, holder, name)
				theirs.must(t)
				give()
				<-ours.done
				if !errors.Is(ours.err, context.Canceled) {
					t.Errorf("our Lock without a network ended with %v", ours.err)
				}
				release(t, peer, name)
			})
		}
	})
}
