package redis_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// clusterOf starts a cluster of a test's own. It returns the slot of all keys, its owner,
// and another server. Somebody has been there before.
func clusterOf(t *testing.T) (c *redisserver.Cluster, slot int, owner, other *redisserver.Server) {
	t.Helper()
	c, err := redisserver.StartCluster(3, config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, s := range c.Servers() {
				t.Logf("log of %s:\n%s", s.Addr(), s.Log())
			}
		}
		c.Close()
	})
	const key = "{fairlead}:guard"
	if slot, err = c.Slot(bounded(t), key); err == nil {
		owner, err = c.Owner(bounded(t), key)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, other = range c.Servers() {
		if other != owner {
			break
		}
	}
	welcome(t, owner)
	return c, slot, owner, other
}

// The keys are all there, at another server: for those who hold it is as if it were the
// same one after a restart.
func TestSessionsEndWhereTheirSlotMoves(t *testing.T) {
	t.Parallel()
	const longest = 5 * time.Second
	c, slot, owner, other := clusterOf(t)
	holder, waiter := open(t, at(c.Addrs(), ""), "holder", shortTTL), open(t, at(c.Addrs(), ""), "waiter", shortTTL)
	one, two := open(t, at(c.Addrs(), ""), "one", longest), open(t, at(c.Addrs(), ""), "two", longest)
	var in room
	g := lock(t, holder, "q")
	in.enter(g)
	next := in.visiting(bounded(t), waiter, "q")
	queued(t, owner, "q", 2)

	begun := time.Now()
	if err := c.Move(bounded(t), slot, other); err != nil {
		t.Fatal(err)
	}
	mustBeLost(t, g)
	next.must(t)
	in.visiting(bounded(t), open(t, at(c.Addrs(), ""), "late", shortTTL), "q").must(t)
	in.visited(t, 3)
	in.notBefore(t, begun.Add(longest))
	queued(t, other, "q", 0)

	// And back, as waiters are told things on the server that has the keys.
	again := lock(t, holder, "q")
	in.enter(again)
	next = in.visiting(bounded(t), waiter, "q")
	queued(t, other, "q", 2)
	if err := c.Move(bounded(t), slot, owner); err != nil {
		t.Fatal(err)
	}
	mustBeLost(t, again)
	next.must(t)
	in.visited(t, 5)

	// Nobody is left with a subscription where nothing is told any more, and finds out by
	// itself that it is its turn: that takes a third of a TTL.
	const times = 12
	begun = time.Now()
	g = lock(t, one, "p")
	for range times {
		next := locking(bounded(t), two, "p")
		queued(t, owner, "p", 2)
		release(t, g)
		g = next.must(t)
		one, two = two, one
	}
	if took := time.Since(begun); took > times*longest/6 {
		t.Errorf("%d hand-offs took %v", times, took)
	}
}

// Slots of others are none of our business.
func TestSessionsSurviveTheMoveOfAnotherSlot(t *testing.T) {
	t.Parallel()
	c, slot, owner, other := clusterOf(t)
	holder, waiter := open(t, at(c.Addrs(), ""), "holder", longTTL), open(t, at(c.Addrs(), ""), "waiter", longTTL)
	g := lock(t, holder, "q")
	var in room
	in.enter(g)
	next := in.visiting(bounded(t), waiter, "q")
	queued(t, owner, "q", 2)
	near := slot + 1 // the next one's owner is the same, but at the border
	if from, err := c.Owner(bounded(t), "{fairlead}:guard"); err != nil || from != owner {
		t.Fatalf("the slot has moved: %v", err)
	}
	if err := c.Move(bounded(t), near, other); err != nil {
		t.Fatal(err)
	}
	if err := g.Confirm(bounded(t)); err != nil {
		t.Errorf("the lock is lost: %v", err)
	}
	next.pending(t)
	release(t, g)
	next.must(t)
	in.visited(t, 2)
}

// The server of the keys dies, and comes back with nothing, of which those tell who knew it.
func TestServerOfAClusterThatIsEmptiedGrantsNothingTooEarly(t *testing.T) {
	t.Parallel()
	const longest = 6 * time.Second // more than it takes to be in the cluster again
	c, _, owner, _ := clusterOf(t)
	holder, waiter := open(t, at(c.Addrs(), ""), "holder", shortTTL), open(t, at(c.Addrs(), ""), "waiter", longest)
	var in room
	g := lock(t, holder, "q")
	in.enter(g)
	next := in.visiting(bounded(t), waiter, "q")
	queued(t, owner, "q", 2)
	if err := owner.Kill(); err != nil {
		t.Fatal(err)
	}
	gone := time.Now()
	if err := owner.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(bounded(t)); err != nil {
		t.Fatal(err)
	}
	mustBeLost(t, g)
	next.must(t)
	in.visited(t, 2)
	in.notBefore(t, gone.Add(longest))
}

// A cluster answers nobody for a while after one of its servers was restarted, and then all at
// once: those who held, and those who have just come.
func TestHolderSeesItsLossBeforeAnEmptiedServerOfAClusterGrants(t *testing.T) {
	t.Parallel()
	c, _, owner, _ := clusterOf(t)
	holder := open(t, at(c.Addrs(), ""), "holder", longTTL)
	g := lock(t, holder, "q")
	lost := make(chan time.Time, 1)
	context.AfterFunc(g.Context(), func() { lost <- time.Now() })
	if err := owner.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := owner.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(bounded(t)); err != nil {
		t.Fatal(err)
	}
	st := connect(t, at(c.Addrs(), ""), nil)
	defer st.Close()
	ctx, cancel := context.WithTimeout(bounded(t), patience)
	defer cancel()
	asked := begin(func() (driver.Lease, error) {
		l, _, err := st.Grant(ctx, driver.Spec{TTL: longTTL})
		return l, err
	})
	select {
	case <-lost:
	case <-asked.done:
		t.Errorf("a session began (%v) before the holder knew of its loss", asked.err)
	}
	cancel()
	<-asked.done
}

// Who moves a slot that has many keys moves some of them first. Whichever they are: until the
// others have followed, nothing is decided without them.
func TestNobodyIsLetInWhileASlotMovesInSteps(t *testing.T) {
	t.Parallel()
	c, slot, owner, other := clusterOf(t)
	holder, second := open(t, at(c.Addrs(), ""), "holder", shortTTL), open(t, at(c.Addrs(), ""), "second", shortTTL)
	for i, first := range [][]string{{"q:q0", "d:q0"}, {"s:%s"}, {"token", "names"}, {"guard"}} {
		name := fmt.Sprint("q", i)
		var in room
		g := lock(t, holder, name)
		in.enter(g)
		var keys []string
		for _, key := range first {
			if key == "s:%s" {
				key = "s:" + sessionOf(t, owner, g)
			}
			keys = append(keys, "{fairlead}:"+key)
		}
		moveSome(t, slot, owner, other, keys...)
		next := in.visiting(bounded(t), second, name)
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			if g, err := mutex.New(second, name).TryLock(ctx); err == nil {
				in.enter(g)
				release(t, g)
				t.Errorf("with %v at another server, token %d was granted", keys, g.Token())
			}
			cancel()
		}
		if err := c.Move(bounded(t), slot, other); err != nil {
			t.Fatal(err)
		}
		next.must(t)
		in.visited(t, 2)
		owner, other = other, owner
	}
}

// sessionOf is the ID of the session that has a grant.
func sessionOf(t *testing.T, s *redisserver.Server, g *session.Grant) string {
	t.Helper()
	_, id, _ := strings.Cut(g.Key(), "#")
	record, _ := do(t, s, "HGET", "{fairlead}:d:"+g.Name(), id).(string)
	return strings.Fields(record)[2]
}

// moveSome begins to move a slot, with these keys.
func moveSome(t *testing.T, slot int, from, to *redisserver.Server, keys ...string) {
	t.Helper()
	const mover = "mover"
	do(t, to, "ACL", "SETUSER", mover, "on", ">"+password, "+@all", "~*", "&*")
	number := strconv.Itoa(slot)
	do(t, to, "CLUSTER", "SETSLOT", number, "IMPORTING", do(t, from, "CLUSTER", "MYID").(string))
	do(t, from, "CLUSTER", "SETSLOT", number, "MIGRATING", do(t, to, "CLUSTER", "MYID").(string))
	host, port, err := net.SplitHostPort(to.Addr())
	if err != nil {
		t.Fatal(err)
	}
	do(t, from, append([]string{"MIGRATE", host, port, "", "0", "5000", "AUTH2", mover, password, "KEYS"}, keys...)...)
}
