package nemesis

import (
	"context"
	"fmt"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// ahead is by how much a kind of fault sets a clock ahead; back, if it is negative.
func ahead(k Kind, pick uint64, ttl time.Duration) time.Duration {
	some := time.Duration(pick % uint64(ttl/2))
	switch k {
	case ClockAhead:
		return ttl/4 + some
	case ClockFarAhead:
		return ttl*5/4 + some
	case ClockBack:
		return -ttl/4 - some
	}
	return -ttl*5/4 - some
}

// setClock sets the clock of who leads, and right again, which is a step as well. It
// returns when nothing is left in the store that was written by the wrong clock and
// outlasts what is written by the right one.
func (n *Nemesis) setClock(ctx context.Context, f Fault) error {
	patience, cancel := bounded(ctx)
	defer cancel()
	member, err := n.Cluster.Leader(patience)
	if err != nil {
		return err
	}
	by := ahead(f.Kind, f.Pick, n.TTL)
	name := n.Cluster.Members()[member]
	text := fmt.Sprintf("%s: that of %s, by %v, for %v", f.Kind, name, by.Abs().Round(time.Millisecond), f.For.Round(time.Millisecond))
	if _, err = n.step(patience, f, member, text, by, by); err != nil {
		return err
	}
	sleep(ctx, f.For)
	s, err := n.step(patience, f, member, "set the clock of "+name+" right", -by, 0)
	if err == nil {
		err = n.Cluster.Settled(patience)
	}
	if err == nil {
		err = n.Cluster.Recovered(patience)
	}
	n.undone(s)
	return err
}

// step has a clock make one step, after which it is ahead by so much.
func (n *Nemesis) step(ctx context.Context, f Fault, member int, text string, by, ahead time.Duration) (*journal.Strike, error) {
	s := n.begin(f, text)
	s.Member, s.Clock = member, by
	err := n.Cluster.SetClock(ctx, member, ahead)
	n.done(s)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, n.Cluster.Log(member))
	}
	return s, err
}
