package nemesis

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A pair is a way from one member to another.
type pair struct{ from, to int }

// ways returns what a kind of partition cuts.
func ways(k Kind, pick uint64, leader, members int) (all []pair) {
	switch k {
	case CutLeader, CutLeaderUp, CutLeaderDown:
		for i := range members {
			if i == leader {
				continue
			}
			if k != CutLeaderDown {
				all = append(all, pair{leader, i})
			}
			if k != CutLeaderUp {
				all = append(all, pair{i, leader})
			}
		}
	case Ring:
		// Each sees its neighbours. Of three, who are all neighbours, two do not see one
		// another: a chain is what a ring of them can be.
		if members == 3 {
			a := int(pick % 3)
			return []pair{{a, (a + 1) % 3}, {(a + 1) % 3, a}}
		}
		for i := range members {
			for k := range members {
				if apart := (k - i + members) % members; apart > members/4 && apart < members-members/4 {
					all = append(all, pair{i, k})
				}
			}
		}
	}
	return all
}

// partition cuts members off from one another, and returns when the store is as before.
// It fails where that had no effect: nothing was lost on the way, or a leader that
// nobody hears went on. In a ring nothing need be: followers may have nothing to say to
// one another.
func (n *Nemesis) partition(ctx context.Context, f Fault) error {
	patience, cancel := bounded(ctx)
	defer cancel()
	leader, err := n.Cluster.Leader(patience)
	if err != nil {
		return err
	}
	names := n.Cluster.Members()
	s := n.begin(f, fmt.Sprintf("%s, %s leads, for %v", f.Kind, names[leader], f.For.Round(time.Millisecond)))
	s.Member, s.Leader = leader, f.Kind != Ring
	for _, p := range ways(f.Kind, f.Pick, leader, len(names)) {
		err = errors.Join(err, n.Cluster.Cut(p.from, p.to))
	}
	n.done(s)
	began := time.Now()
	if f.Kind == CutLeader && err == nil {
		err = n.Cluster.Deposed(patience, leader)
	}
	sleep(ctx, f.For-time.Since(began))
	dropped, healing := n.Cluster.Heal(patience)
	if healing == nil && dropped == 0 && f.Kind != Ring {
		healing = errors.New("nothing was dropped")
	}
	if err = errors.Join(err, healing); err == nil {
		err = n.Cluster.Recovered(patience)
	}
	n.undone(s)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, n.Cluster.Log(leader))
	}
	return err
}
