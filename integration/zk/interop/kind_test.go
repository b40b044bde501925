package interop

import (
	"context"
	"testing"

	"github.com/fairlead-go/fairlead/integration/internal/zkpeer"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/session"
)

// A lock of ours, of any kind.
type lock func(ctx context.Context) (*session.Grant, error)

// A pairing is a lock of ours and one of theirs on one name.
type pairing struct {
	ours, theirs string

	// waits tells whether theirs waits for ours. Which nodes a library takes for
	// contenders, it decides by their names.
	waits bool
}

// Ours waits for theirs in all of them. Two readers are no pairing: they hold
// together.
var pairings = []pairing{
	{"mutex", "Curator's mutex", true},
	{"mutex", "Curator's reader", false},
	{"mutex", "Curator's writer", false},
	{"mutex", "go-zookeeper's lock", true},
	{"mutex", "kazoo's lock", true},
	{"mutex", "kazoo's lock without patterns", false},
	{"mutex", "kazoo's reader", false},
	{"mutex", "kazoo's writer", false},

	{"writer", "Curator's mutex", false},
	{"writer", "Curator's reader", true},
	{"writer", "Curator's writer", true},
	{"writer", "go-zookeeper's lock", true},
	{"writer", "kazoo's lock", false},
	{"writer", "kazoo's lock without patterns", false},
	{"writer", "kazoo's reader", false},
	{"writer", "kazoo's writer", false},

	{"reader", "Curator's mutex", false},
	{"reader", "Curator's writer", true},
	{"reader", "go-zookeeper's lock", true},
	{"reader", "kazoo's lock", false},
	{"reader", "kazoo's lock without patterns", false},
	{"reader", "kazoo's reader", false},
	{"reader", "kazoo's writer", false},
}

// What docs/interop.md says of kinds that mix, of those that do not, and of those
// that do in one direction.
func TestEachKindWaitsForTheNamesThatItKnows(t *testing.T) {
	somewhere(t, func(t *testing.T, p *place) {
		s := p.open(t, "ours")
		theirs := map[string]zkpeer.Locker{
			"Curator's mutex":               p.curator,
			"Curator's reader":              p.curator.Reader(),
			"Curator's writer":              p.curator.Writer(),
			"go-zookeeper's lock":           p.gozk,
			"kazoo's lock":                  p.kazoo,
			"kazoo's lock without patterns": p.kazoo.Plain(),
			"kazoo's reader":                p.kazoo.Reader(),
			"kazoo's writer":                p.kazoo.Writer(),
		}
		for _, pair := range pairings {
			t.Run(pair.ours+" and "+pair.theirs, func(t *testing.T) {
				t.Parallel()
				name := nameFor(t)
				take := map[string]lock{
					"mutex":  mutex.New(s, name).Lock,
					"writer": rwmutex.New(s, name).Lock,
					"reader": rwmutex.New(s, name).RLock,
				}[pair.ours]
				p.weHoldFirst(t, name, take, theirs[pair.theirs], pair.waits)
				p.theyHoldFirst(t, name, take, theirs[pair.theirs])
				p.queued(t, name, 0)
			})
		}
	})
}

func (p *place) weHoldFirst(t *testing.T, name string, take lock, l zkpeer.Locker, waits bool) {
	t.Helper()
	g, err := take(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if waits {
		refused(t, l, name)
	}
	theirs := acquiring(t, l, name)
	if !waits {
		theirs.must(t) // beside us
		if err := g.Context().Err(); err != nil {
			t.Fatalf("our grant has ended meanwhile: %v", context.Cause(g.Context()))
		}
	}
	p.queued(t, name, 2)
	if waits {
		theirs.pending(t)
	}
	if err := g.Release(bounded(t)); err != nil {
		t.Fatal(err)
	}
	theirs.must(t)
	release(t, l, name)
}

func (p *place) theyHoldFirst(t *testing.T, name string, take lock, l zkpeer.Locker) {
	t.Helper()
	if err := acquire(bounded(t), l, name); err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)
	ours := begin(func() (*session.Grant, error) { return take(ctx) })
	p.queued(t, name, 2)
	ours.pending(t)
	release(t, l, name)
	if err := ours.must(t).Release(ctx); err != nil {
		t.Fatal(err)
	}
}

// The slash is part of our name, and no separator in their path.
func TestASlashInANameIsEncodedInTheirPath(t *testing.T) {
	somewhere(t, func(t *testing.T, p *place) {
		s := p.openAt(t, "/"+nameFor(t), "ours")
		path := nameFor(t) + "/billing%2Fnightly"
		for _, peer := range p.peers() {
			p.weHoldFirst(t, path, mutex.New(s, "billing/nightly").Lock, peer, true)
		}
	})
}
