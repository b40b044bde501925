package zk_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/proxy"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// Who waits loses its place with its session, and not its call: it joins again,
// behind those who came meanwhile.
func TestSessionExpiredWhileQueuedJoinsAgainAtTheEnd(t *testing.T) {
	t.Parallel()
	s := at(t, calm)
	blocks := blocked(t, s.open(t, "holder", longTTL))
	first := acquiring(t, s.open(t, "first", longTTL))
	s.allQueued(t, 2)
	second := acquiring(t, s.open(t, "second", longTTL))
	s.allQueued(t, 3)

	before, err := s.leaseOf("first")
	if err != nil {
		t.Fatal(err)
	}
	s.expire(t, "first")
	eventually(t, func() error {
		if now, err := s.leaseOf("first"); err != nil || now == before {
			return fmt.Errorf("the session has no other lease than %s: %w", before, err)
		}
		return nil
	})
	s.allQueued(t, 3)
	nobodyIsIn(t, first)
	nobodyIsIn(t, second)
	grants := follow(t, blocks, second) // tokens show that the first is behind
	releaseAll(t, follow(t, grants, first))
}

// What is held is lost, whatever it is, and the session goes on.
func TestSessionExpiredWhileHoldingLosesEverything(t *testing.T) {
	t.Parallel()
	s := at(t, calm)
	unlucky := s.open(t, "unlucky", longTTL)
	var lost []*session.Grant
	for _, c := range acquiring(t, unlucky) {
		lost = append(lost, c.must(t))
	}
	// One who is to block waits for readers as well.
	ctx, other := bounded(t), s.open(t, "other", longTTL)
	var next []*call[*session.Grant]
	for _, k := range kinds {
		next = append(next, begin(func() (*session.Grant, error) { return k.block(ctx, other, k.name) }))
	}
	s.allQueued(t, 2)
	nobodyIsIn(t, next)

	s.expire(t, "unlucky")
	for i, g := range lost {
		select {
		case <-g.Context().Done():
		case <-time.After(patience):
			t.Fatalf("%s: the holder of an expired session goes on", kinds[i].name)
		}
		if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrLost) {
			t.Errorf("%s: the grant ended with cause %v, want ErrLost", kinds[i].name, cause)
		}
		if err := g.Release(ctx); !errors.Is(err, session.ErrLost) {
			t.Errorf("%s: Release of a lost grant: %v, want ErrLost", kinds[i].name, err)
		}
	}
	again := acquiring(t, unlucky)
	grants := follow(t, lost, next)
	s.allQueued(t, 2)
	releaseAll(t, follow(t, grants, again))
}

// The requests are on their way when the session ends, and arrive after it: they
// must not be obeyed under that session, nor under the next one, for which their
// callers have asked again by then.
func TestSessionExpiredBeforeTheJoinArrivesLeavesOneEntry(t *testing.T) {
	t.Parallel()
	s := at(t, calm)
	blocks := blocked(t, s.open(t, "holder", longTTL))
	var link drivertest.Link
	unlucky := s.openThrough(t, &link, "unlucky", longTTL)

	link.Freeze()
	sent := link.Requests()
	calls := acquiring(t, unlucky)
	eventually(t, func() error {
		if now := link.Requests(); now == sent {
			return errors.New("nothing is sent")
		}
		return nil
	})
	s.expire(t, "unlucky")
	link.Heal()
	s.allQueued(t, 2)
	nobodyIsIn(t, calls)
	grants := follow(t, blocks, calls)
	s.allQueued(t, 1)
	releaseAll(t, grants)
}

// The entries have been made, and go with the session before their owner hears of
// them: what it hears then is of no use any more.
func TestSessionExpiredBeforeTheJoinIsAnsweredLeavesOneEntry(t *testing.T) {
	t.Parallel()
	s := at(t, calm)
	blocks := blocked(t, s.open(t, "holder", longTTL))
	net, err := s.listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := net.close(); err != nil {
			t.Error(err)
		}
	})
	unlucky := s.openAt(t, net.servers(), "unlucky", longTTL)

	net.each(func(p *proxy.Proxy) { p.Freeze(proxy.Down) })
	calls := acquiring(t, unlucky)
	for _, k := range kinds {
		if k.name != "permit" { // which reads the limit first
			s.queued(t, k.name, 2)
		}
	}
	nobodyIsIn(t, calls)
	s.expire(t, "unlucky")
	for _, k := range kinds {
		s.queued(t, k.name, 1)
	}
	net.each(func(p *proxy.Proxy) { p.Thaw(proxy.Down) })
	s.allQueued(t, 2)
	nobodyIsIn(t, calls)
	grants := follow(t, blocks, calls)
	s.allQueued(t, 1)
	releaseAll(t, grants)
}
