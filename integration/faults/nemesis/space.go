package nemesis

import (
	"context"
	"fmt"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// starve has the store or one member run out of space, and returns when it serves as
// before.
func (n *Nemesis) starve(ctx context.Context, f Fault) error {
	patience, cancel := bounded(ctx)
	defer cancel()
	member, err := n.Cluster.Leader(patience)
	if err != nil {
		return err
	}
	s := n.begin(f, fmt.Sprintf("%s for %v", f.Kind, f.For.Round(time.Millisecond)))
	s.Full = true
	if f.Kind == Exhaust {
		err = n.Cluster.Exhaust(patience)
	} else {
		s.Member, s.Leader, s.Crash = member, f.Kind == FillLeader, true
		if f.Kind == FillMember {
			s.Member = int(f.Pick % uint64(len(n.Cluster.Members())))
			s.Leader = s.Member == member
		}
		s.Text += ", that of " + n.Cluster.Members()[s.Member]
		err = n.Cluster.FillDisk(patience, s.Member)
	}
	n.done(s)
	if err == nil {
		sleep(ctx, f.For)
		err = n.feed(patience, s)
	}
	if err == nil {
		err = n.Cluster.Recovered(patience)
	}
	n.undone(s)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, n.Cluster.Log(max(s.Member, 0)))
	}
	return err
}

// feed makes room again.
func (n *Nemesis) feed(ctx context.Context, s *journal.Strike) error {
	if s.Member < 0 {
		return n.Cluster.Relieve(ctx)
	}
	died, err := n.Cluster.FreeDisk(ctx, s.Member)
	if died {
		n.Tell(journal.Strike{Text: n.Cluster.Members()[s.Member] + " had died of it, and is started again"})
	}
	return err
}
