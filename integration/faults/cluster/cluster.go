package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/watch"
)

// A Cluster is a store that is made of members. Its methods may be called
// concurrently, but only one at a time for one member. Those with a context block
// until it ends at most.
type Cluster interface {
	// URL is what clients are given, and Addrs are all addresses that they then
	// dial, host:port. AdminURL is for who may do everything, and is so for good.
	URL() string
	AdminURL() string
	Addrs() []string

	// Members names the servers. Their numbers below are indexes of this.
	Members() []string

	// Leader is who leads, or else serves.
	Leader(ctx context.Context) (int, error)

	// Kill ends a member as a crash would, and Restart starts it again and waits
	// until it answers. Freeze stops it, and Thaw lets it run on.
	Kill(member int) error
	Restart(ctx context.Context, member int) error
	Freeze(member int) error
	Thaw(member int) error

	// Cut drops what a member sends to another, in addition to what is cut already, and
	// Heal ends all cuts and tells how many packets they have dropped. Deposed returns
	// when a leader that is cut off has noticed it.
	Cut(from, to int) error
	Heal(ctx context.Context) (dropped int, err error)
	Deposed(ctx context.Context, leader int) error

	// Exhaust has the store run out of the space that it is allowed, and returns when it
	// says so; Relieve makes room again. FillDisk leaves a member no space on its disk;
	// FreeDisk makes room again, and starts a member that has died of it.
	Exhaust(ctx context.Context) error
	Relieve(ctx context.Context) error
	FillDisk(ctx context.Context, member int) error
	FreeDisk(ctx context.Context, member int) (died bool, err error)

	// SetClock has a member's wall clock be ahead of the true time, or behind it, and
	// returns when the member says so. Settled returns when no session is to last longer
	// than a TTL, by the clock as it is: one that was renewed before a step back is.
	SetClock(ctx context.Context, member int, ahead time.Duration) error
	Settled(ctx context.Context) error

	// ChangePassword gives the clients another, which is in URL from then on. It ends
	// their connections, and returns when nobody gets in with the one before.
	ChangePassword(ctx context.Context) error

	// Transfer has another member lead, in good order.
	Transfer(ctx context.Context) error

	// Maintain does what operators do at night.
	Maintain(ctx context.Context) error

	// EndSession ends the session with that identity, and DeleteEntry removes an
	// entry, as an operator would who knows the store and nothing of us.
	EndSession(ctx context.Context, identity string) error
	DeleteEntry(ctx context.Context, name string, e watch.Entry) error

	// Recovered returns when all members serve as before any fault. Notes tells what an
	// operator would have had to do for that.
	Recovered(ctx context.Context) error
	Notes() []string

	// Watchers counts what the members keep for those who wait.
	Watchers(ctx context.Context) (int, error)

	// Leftovers lists what is in the store of ours.
	Leftovers(ctx context.Context) ([]string, error)

	// Log is what a member wrote last.
	Log(member int) string

	Close()
}

// Traits are what a kind of store is like for those who torture it.
type Traits struct {
	TTL  time.Duration // a short one that it grants
	Keep time.Duration // by how much longer than the TTL it may keep a session whose owner is gone

	// Watchers is how many a session may have at the servers beside one for each primitive
	// that waits: etcd's watch the lease, and the limits of semaphores and pools; ZooKeeper's
	// watch two entries more where a queue changes hands fast, and all permits that are held;
	// PostgreSQL's are 17 connections; and Redis's listen on one channel for all.
	Watchers int

	Replicated bool // it goes on without one member
	Partitions bool // members can be cut off from one another
	Quota      bool // it can run out of space that it is allowed
	Disks      bool // its disks can be filled
	Clock      bool // it looks at the wall clock, which can be set
	Passwords  bool // that of the clients can be changed
	Transfers  bool // leadership can be handed over
	Maintains  bool
	Deletes    bool // an entry can be removed by hand
	Quiet      bool // after a restart or failover it grants nothing for a TTL
	Undoes     bool // a crash may bring back what was released just before
}

// selfreliant is for stores that recover by themselves.
type selfreliant struct{}

func (selfreliant) Notes() []string { return nil }

// unlimited is for stores that have no quota, and diskless for those that keep nothing
// on a disk.
type unlimited struct{}

func (unlimited) Exhaust(context.Context) error { return ErrNone }
func (unlimited) Relieve(context.Context) error { return ErrNone }

type diskless struct{}

func (diskless) FillDisk(context.Context, int) error         { return ErrNone }
func (diskless) FreeDisk(context.Context, int) (bool, error) { return false, ErrNone }

// ErrNone is why an operation is not possible with a store.
var ErrNone = errors.New("this store has nothing of the kind")

type kind struct {
	traits Traits
	start  func(ctx context.Context, dir string, ttl time.Duration) (Cluster, error)
}

var kinds = map[string]kind{
	"etcd": {Traits{TTL: 3 * time.Second, Keep: 2 * time.Second, Watchers: 3,
		Replicated: true, Quota: true, Disks: true, Transfers: true, Maintains: true, Deletes: true}, startEtcd},
	"redis": {Traits{TTL: 3 * time.Second, Keep: 2 * time.Second, Quiet: true,
		Replicated: true, Clock: true, Passwords: true, Transfers: true, Maintains: true, Deletes: true}, startRedis},
	"postgres": {Traits{TTL: 3 * time.Second, Keep: 2 * time.Second, Watchers: 11,
		Disks: true, Clock: true, Passwords: true, Transfers: true, Maintains: true, Deletes: true, Undoes: true}, startPostgres},
	"zk": {Traits{TTL: 4 * time.Second, Keep: 4 * time.Second, Watchers: 20,
		Replicated: true, Disks: true, Deletes: true}, startZooKeeper},
}

// Backends names the kinds of stores.
func Backends() []string { return slices.Sorted(maps.Keys(kinds)) }

// TraitsOf returns those of a kind of store.
func TraitsOf(backend string) (Traits, error) {
	k, ok := kinds[backend]
	if !ok {
		return Traits{}, fmt.Errorf("there is no backend %q, but %v", backend, Backends())
	}
	k.traits.Partitions = k.traits.Replicated && Entered()
	k.traits.Clock = k.traits.Clock && steps
	k.traits.Disks = k.traits.Disks && Entered()
	return k.traits, nil
}

// startTimeout bounds how long a store may take to start.
const startTimeout = time.Minute

// Start starts a store whose data go to dir, and waits until it serves. It first waits,
// for as long as ctx lets it, until a store that has the network is closed.
func Start(ctx context.Context, backend, dir string, ttl time.Duration) (Cluster, error) {
	c, err := kinds[backend].start(ctx, dir, ttl)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", backend, err)
	}
	return c, nil
}

// poll is how long to wait before a server is asked again.
const poll = 50 * time.Millisecond

// until calls f until it returns nil, or ctx ends.
func until(ctx context.Context, what string, f func(context.Context) error) error {
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, err)
		case <-time.After(poll):
		}
	}
}
