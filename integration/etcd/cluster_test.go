package etcd_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/tests/v3/framework/integration"

	"github.com/fairlead-go/fairlead/integration/proxy"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/etcd"
)

// startCluster starts three members. The framework changes the directory, so
// these tests are not parallel.
func startCluster(t *testing.T) *integration.Cluster {
	t.Helper()
	integration.BeforeTestExternal(t)
	c := integration.NewCluster(t, &integration.ClusterConfig{Size: 3, UseTCP: true, UseIP: true})
	t.Cleanup(func() { c.Terminate(t) })
	return c
}

// addrOf is where clients reach a member, host:port.
func addrOf(m *integration.Member) string { return strings.TrimPrefix(m.GRPCURL, "http://") }

func addrs(c *integration.Cluster) string {
	var all []string
	for _, m := range c.Members {
		all = append(all, addrOf(m))
	}
	return strings.Join(all, ",")
}

func TestLeaderChangeDisturbsNeitherHolderNorWaiter(t *testing.T) {
	c := startCluster(t)
	name, ctx := nameFor(t), bounded(t)
	g := lock(t, open(t, addrs(c), quiet("holder", 10*time.Second)), name)
	waiter := locking(ctx, open(t, addrs(c), quiet("waiter", 10*time.Second)), name)
	queuedAt(t, c.Client(0), name, 2)

	for range 3 {
		from := c.WaitLeader(t)
		to := (from + 1) % len(c.Members)
		if _, err := c.Client(from).MoveLeader(ctx, uint64(c.Members[to].ID())); err != nil {
			t.Fatal(err)
		}
		if now := c.WaitLeader(t); now == from {
			t.Fatal("the leader did not change")
		}
		if err := g.Confirm(ctx); err != nil {
			t.Fatal(err)
		}
		waiter.pending(t)
	}
	release(t, g)
	release(t, waiter.must(t))
}

func TestRestartOfEveryMemberDisturbsNeitherHolderNorWaiter(t *testing.T) {
	c := startCluster(t)
	name, ctx := nameFor(t), bounded(t)
	g := lock(t, open(t, addrs(c), quiet("holder", 15*time.Second)), name)
	waiter := locking(ctx, open(t, addrs(c), quiet("waiter", 15*time.Second)), name)
	queuedAt(t, c.Client(0), name, 2)

	for i, m := range c.Members {
		m.Stop(t)
		c.WaitMembersForLeader(t, append(append([]*integration.Member{}, c.Members[:i]...), c.Members[i+1:]...))
		if err := g.Confirm(ctx); err != nil {
			t.Fatalf("with member %d stopped: %v", i, err)
		}
		waiter.pending(t)
		if err := m.Restart(t); err != nil {
			t.Fatal(err)
		}
		c.WaitLeader(t)
	}
	release(t, g)
	release(t, waiter.must(t))
}

// A waiter whose watch is on a member that lost the others hears nothing from
// it: it has to go to another one while the partition lasts.
func TestWaiterOnPartitionedMemberProceeds(t *testing.T) {
	c := startCluster(t)
	name, ctx := nameFor(t), bounded(t)
	alone := (c.WaitLeader(t) + 1) % len(c.Members)
	others := append(append([]*integration.Member{}, c.Members[:alone]...), c.Members[alone+1:]...)

	// At first the waiter reaches one member only, so that its watch is there.
	var endpoints []string
	var proxies []*proxy.Proxy
	for i, m := range c.Members {
		p := behindProxy(t, addrOf(m))
		if i != alone {
			p.Freeze(proxy.Both)
		}
		proxies = append(proxies, p)
		endpoints = append(endpoints, p.Addr())
	}
	waiting := open(t, strings.Join(endpoints, ","), quiet("waiter", 20*time.Second))
	g := lock(t, open(t, addrs(c), quiet("holder", 20*time.Second)), name)
	waiter := locking(ctx, waiting, name)
	queuedAt(t, c.Client(0), name, 2)
	for _, p := range proxies {
		p.Thaw(proxy.Both)
	}

	member := c.Members[alone]
	member.InjectPartition(t, others...)
	defer member.RecoverPartition(t, others...)
	release(t, g)
	release(t, waiter.must(t))
}

// No quorum: the holder has to give up in time, nobody is granted anything, and
// everything goes on when the members are back.
func TestLostQuorumEndsTheGrantAndHeals(t *testing.T) {
	c := startCluster(t)
	name, ctx := nameFor(t), bounded(t)
	holder := open(t, addrs(c), quiet("holder", shortTTL))
	g := lock(t, holder, name)
	waiter := locking(ctx, open(t, addrs(c), quiet("waiter", shortTTL)), name)
	queuedAt(t, c.Client(0), name, 2)

	for _, m := range c.Members[1:] {
		m.Stop(t)
	}
	select {
	case <-g.Context().Done():
	case <-ctx.Done():
		t.Fatal("the holder goes on without a quorum")
	}
	if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrLost) {
		t.Errorf("the grant ended with cause %v, want ErrLost", cause)
	}
	waiter.pending(t)
	for _, m := range c.Members[1:] {
		if err := m.Restart(t); err != nil {
			t.Fatal(err)
		}
	}
	next := waiter.must(t)
	if next.Token() <= g.Token() {
		t.Errorf("token %d was granted after %d", next.Token(), g.Token())
	}
	release(t, next)
}

// A client that the program has already stays the program's.
func TestSessionOnACallersClientLeavesItOpen(t *testing.T) {
	t.Parallel()
	name, ctx := nameFor(t), bounded(t)
	s, err := etcd.NewSession(ctx, shared.admin, "", quiet("ours", 0))
	if err != nil {
		t.Fatal(err)
	}
	release(t, lock(t, s, name))
	closeSession(t, s)
	if _, err := shared.admin.Get(ctx, name); err != nil {
		t.Errorf("the client after the session was closed: %v", err)
	}
}
