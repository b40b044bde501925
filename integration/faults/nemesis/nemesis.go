package nemesis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/cluster"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/integration/proxy"
	"github.com/fairlead-go/fairlead/watch"
)

// healing bounds how long a store may take to serve as before.
const healing = 2 * time.Minute

// holderTimeout bounds how long to wait for somebody who holds.
const holderTimeout = 2 * time.Second

// A Cast is the clients, as the nemesis sees them. Those of different numbers may
// be treated at the same time.
type Cast interface {
	Clients() int
	Life(client int) string // which life of a client it is
	Kill(client int) error
	Revive(client int) error // begins another life
	Freeze(client int) error
	Thaw(client int) error
	Network(client int) []*proxy.Proxy // a way to each address of the store

	// Holder returns a client that holds a mutex or leads just now, of those that are
	// free, and Entry an entry that was seen, with the name of its queue.
	Holder(pick uint64, free func(client int) bool) (client int, ok bool)
	Entry(pick uint64) (name string, e watch.Entry, ok bool)
}

// A Nemesis has faults happen.
type Nemesis struct {
	Cluster cluster.Cluster
	Cast    Cast
	TTL     time.Duration
	Tell    func(journal.Strike) // called when a fault has been done

	mu      sync.Mutex
	strikes []*journal.Strike
	hit     map[int]bool // clients that a lane is busy with
}

// Run has the plan happen, until it is at its end or ctx ends, and returns when
// everything is undone. An error means that something could not be.
func (n *Nemesis) Run(ctx context.Context, plan []Lane) error {
	n.hit = map[int]bool{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(plan))
	var all sync.WaitGroup
	for i, lane := range plan {
		all.Go(func() {
			if errs[i] = n.follow(ctx, lane); errs[i] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (n *Nemesis) follow(ctx context.Context, lane Lane) error {
	for _, f := range lane {
		if !sleep(ctx, f.Pause) {
			return nil
		}
		if err := n.strike(ctx, f); err != nil {
			return fmt.Errorf("%v: %w", f, err)
		}
	}
	return nil
}

// Strikes returns what has happened so far.
func (n *Nemesis) Strikes() []journal.Strike {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]journal.Strike, len(n.strikes))
	for i, s := range n.strikes {
		all[i] = *s
	}
	return all
}

func (n *Nemesis) strike(ctx context.Context, f Fault) error {
	switch f.Kind {
	case KillMember, KillLeader, PauseMember, FreezeMember, FreezeLeader, RestartAll:
		return n.strikeMember(ctx, f)
	case CutLeader, CutLeaderUp, CutLeaderDown, Ring:
		return n.partition(ctx, f)
	case ClockAhead, ClockFarAhead, ClockBack, ClockFarBack:
		return n.setClock(ctx, f)
	case Password:
		return n.changePassword(ctx, f)
	case Exhaust, FillLeader, FillMember:
		return n.starve(ctx, f)
	case MoveLeader, Maintain, EndSession, DeleteEntry:
		return n.operate(ctx, f)
	}
	return n.strikeClient(ctx, f)
}

// begin is called before a fault is done.
func (n *Nemesis) begin(f Fault, text string) *journal.Strike {
	return &journal.Strike{Kind: string(f.Kind), Text: text, From: journal.Now(), Member: -1, Client: -1}
}

// done is called when a fault has been done, and writes it down.
func (n *Nemesis) done(s *journal.Strike) {
	n.mu.Lock()
	s.Done = journal.Now()
	s.To = s.Done
	n.strikes = append(n.strikes, s)
	n.mu.Unlock()
	n.Tell(*s)
}

func (n *Nemesis) undone(s *journal.Strike) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s.To = journal.Now()
}

// sleep reports whether it was not cut short.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// holder waits a while for a client that holds and is free, so that it is hit while it
// does. Without one it returns pick.
func (n *Nemesis) holder(ctx context.Context, pick uint64) uint64 {
	for end := time.Now().Add(holderTimeout); time.Now().Before(end); {
		if client, ok := n.Cast.Holder(pick, n.free); ok {
			return uint64(client)
		}
		if !sleep(ctx, 10*time.Millisecond) {
			break
		}
	}
	return pick
}

func (n *Nemesis) free(client int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.hit[client]
}

// bounded is for what has to be done although the run may be at its end.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), healing)
}
