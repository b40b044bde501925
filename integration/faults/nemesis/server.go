package nemesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/cluster"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// strikeMember kills or freezes members, and returns when the store is as before.
func (n *Nemesis) strikeMember(ctx context.Context, f Fault) error {
	patience, cancel := bounded(ctx)
	defer cancel()
	leader, err := n.Cluster.Leader(patience)
	if err != nil {
		return err
	}
	members := n.Cluster.Members()
	targets := []int{leader}
	switch f.Kind {
	case KillMember, PauseMember, FreezeMember:
		targets = []int{int(f.Pick % uint64(len(members)))}
	case RestartAll:
		targets = targets[:0]
		for i := range members {
			targets = append(targets, (int(f.Pick%uint64(len(members)))+i)%len(members))
		}
	}
	for _, member := range targets {
		if err := n.upset(ctx, f, member, leader); err != nil {
			return err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil
}

// upset takes one member away for a while.
func (n *Nemesis) upset(ctx context.Context, f Fault, member, leader int) error {
	name := n.Cluster.Members()[member]
	if member == leader {
		name += ", the leader,"
	}
	freeze := f.Kind != KillMember && f.Kind != KillLeader && f.Kind != RestartAll
	text := fmt.Sprintf("kill %s for %v", name, f.For.Round(time.Millisecond))
	act, undo := n.Cluster.Kill, n.Cluster.Restart
	if freeze {
		text = fmt.Sprintf("freeze %s for %v", name, f.For.Round(time.Millisecond))
		act, undo = n.Cluster.Freeze, func(_ context.Context, i int) error { return n.Cluster.Thaw(i) }
	}
	s := n.begin(f, text)
	s.Member, s.Leader, s.Frozen, s.Crash = member, member == leader, freeze, !freeze
	err := act(member)
	n.done(s)
	sleep(ctx, f.For)

	patience, cancel := bounded(ctx)
	defer cancel()
	err = errors.Join(err, undo(patience, member))
	if err == nil {
		err = n.Cluster.Recovered(patience)
	}
	n.undone(s)
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", name, err, n.Cluster.Log(member))
	}
	return err
}

// operate does what operators do. That it is not possible just now is no matter.
func (n *Nemesis) operate(ctx context.Context, f Fault) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	s := n.begin(f, string(f.Kind))
	var err error
	switch f.Kind {
	case MoveLeader:
		if len(n.Cluster.Members()) == 1 {
			s.Text = "restart the server, in good order"
		}
		if s.Member, err = n.Cluster.Leader(ctx); err == nil {
			s.From, s.Leader, s.Moved = journal.Now(), true, true
			err = n.Cluster.Transfer(ctx)
		}
		if err == nil {
			err = n.Cluster.Recovered(ctx)
		}
	case Maintain:
		err = n.Cluster.Maintain(ctx)
	case EndSession:
		// Not a client that is away: what it would have seen cannot be known.
		client, free := n.reserve(ctx, n.holder(ctx, f.Pick))
		if !free {
			return nil
		}
		defer n.release(client)
		s.Client, s.Life, s.Ended = client, n.Cast.Life(client), true
		s.Text = "end the session of " + s.Life
		s.From = journal.Now()
		err = n.Cluster.EndSession(ctx, s.Life)
	case DeleteEntry:
		name, e, ok := n.Cast.Entry(f.Pick)
		if !ok {
			return nil
		}
		s.Name, s.Token = name, e.Token
		s.Text = fmt.Sprintf("delete the entry of %s in %s, token %d", e.Identity, name, e.Token)
		s.From = journal.Now()
		err = n.Cluster.DeleteEntry(ctx, name, e)
	}
	if err != nil {
		if errors.Is(err, cluster.ErrNone) {
			return nil
		}
		s.Failed = true
		s.Text += ": " + err.Error()
	}
	n.done(s)
	return nil
}
