package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/integration/faults/cluster"
	"github.com/fairlead-go/fairlead/integration/internal/server"
	"github.com/fairlead-go/fairlead/integration/proxy"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// What the tests below hold Fairlead to is a promise of two seconds, or of one
// after a TTL. They allow for a machine that has much else to do, and tell what
// they have measured.
const (
	afterLeader    = 2 * time.Second
	afterExpiry    = time.Second
	busyness       = 1500 * time.Millisecond
	recoveryTTL    = 10 * time.Second
	recoveryRounds = 3
)

// A killable is a cluster whose members are processes, and an operator at each of them.
type killable struct {
	cluster.Cluster
	admins []*clientv3.Client
}

func startKillable(t *testing.T) *killable {
	t.Helper()
	c, err := cluster.Start(bounded(t), "etcd", t.TempDir(), recoveryTTL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	k := &killable{Cluster: c}
	for _, addr := range c.Addrs() {
		admin, err := server.Dial(context.WithoutCancel(t.Context()), addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = admin.Close() }) // its requests are over
		k.admins = append(k.admins, admin)
	}
	return k
}

// killLeader kills the leader, and tells when the others have another one.
func (k *killable) killLeader(t *testing.T) (killed int, elected <-chan time.Time) {
	t.Helper()
	killed, err := k.Leader(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	before, err := k.admins[killed].Status(bounded(t), k.Addrs()[killed])
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Kill(killed); err != nil {
		t.Fatal(err)
	}
	ctx, other := bounded(t), (killed+1)%len(k.admins)
	at := make(chan time.Time, 1)
	go func() {
		defer close(at)
		for ctx.Err() == nil {
			now, err := k.admins[other].Status(ctx, k.Addrs()[other])
			if err == nil && now.Leader != 0 && now.RaftTerm > before.RaftTerm {
				at <- time.Now()
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return killed, at
}

func (k *killable) restart(t *testing.T, member int) {
	t.Helper()
	if err := k.Restart(bounded(t), member); err != nil {
		t.Fatal(err)
	}
	if err := k.Recovered(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

// openURL opens a session as quiet ones are, and closes it when the test ends.
func openURL(t *testing.T, url, identity string, ttl time.Duration) *session.Session {
	t.Helper()
	s, err := session.Open(bounded(t), url, quiet(identity, ttl))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSession(t, s) })
	return s
}

// Each round the release is asked for while the members still believe in the
// leader, which is gone, or know that there is none: what they forward to it is
// lost without a word.
func TestWaiterIsGrantedSoonAfterTheLeaderWasKilled(t *testing.T) {
	k := startKillable(t)
	name := strings.TrimPrefix(nameFor(t), "integration/")
	holder, waiter := openURL(t, k.URL(), "holder", recoveryTTL), openURL(t, k.URL(), "waiter", recoveryTTL)
	for round := range recoveryRounds {
		for _, after := range []time.Duration{0, 300 * time.Millisecond, 700 * time.Millisecond} {
			g := lock(t, holder, name)
			waiting := locking(bounded(t), waiter, name)
			queuedAt(t, k.admins[0], "/faults/"+name, 2)

			killed, elected := k.killLeader(t)
			time.Sleep(after)
			waiting.pending(t)
			released := time.Now()
			releasing := begin(func() (struct{}, error) { return struct{}{}, g.Release(bounded(t)) })
			next := waiting.must(t)
			granted := time.Now()
			since := released
			if at := <-elected; at.After(since) {
				since = at
			}
			took := granted.Sub(since)
			t.Logf("round %d, released %v after the kill: the waiter was granted %v after a leader was there and the release called",
				round, after, took)
			if took > afterLeader+busyness {
				t.Errorf("the waiter was granted after %v", took)
			}
			releasing.must(t)
			release(t, next)
			k.restart(t, killed)
		}
	}
}

// The lease of a process that was killed runs out, and nothing else has to happen.
func TestWaiterIsGrantedSoonAfterAHolderWasKilled(t *testing.T) {
	k := startKillable(t)
	name := strings.TrimPrefix(nameFor(t), "integration/")
	waiter := openURL(t, k.URL(), "waiter", recoveryTTL)
	for range recoveryRounds {
		holder := startHolder(t, k.URL(), name)
		holder.says(t, "that it holds", isLine("held"))
		waiting := locking(bounded(t), waiter, name)
		queuedAt(t, k.admins[0], "/faults/"+name, 2)
		waiting.pending(t)
		if err := holder.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		next := waiting.must(t)
		took := time.Since(killed)
		t.Logf("the waiter was granted %v after the holder, whose TTL was %v, was killed", took, shortTTL)
		if most := shortTTL + afterExpiry + busyness; took > most {
			t.Errorf("the waiter was granted %v after the kill, want %v at most", took, most)
		}
		release(t, next)
	}
}

// startHolder starts a process that holds a lock.
func startHolder(t *testing.T, url, name string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), holderURL+"="+url, nameVariable+"="+name)
	if _, err := cmd.StdinPipe(); err != nil { // it stays open: the process ends by other means
		t.Fatal(err)
	}
	return start(t, cmd)
}

// behindProxies puts a proxy in front of each member. Sessions at urls are on the
// first member alone as long as the others are frozen.
func (k *killable) behindProxies(t *testing.T) (ps []*proxy.Proxy, url string) {
	t.Helper()
	url = k.URL()
	for _, addr := range k.Addrs() {
		p := behindProxy(t, addr)
		ps = append(ps, p)
		url = strings.Replace(url, addr, p.Addr(), 1)
	}
	return ps, url
}

// openOnFirst opens a session whose watches are on the first member, while it has
// connections to all.
func openOnFirst(t *testing.T, ps []*proxy.Proxy, url, identity string) *session.Session {
	t.Helper()
	for _, p := range ps[1:] {
		p.Freeze(proxy.Both)
	}
	s := openURL(t, url, identity, silenceTTL)
	for _, p := range ps[1:] {
		p.Thaw(proxy.Both)
		eventually(t, func(context.Context) error {
			if p.Counts().Down == 0 {
				return errors.New("there is no connection to the other members")
			}
			return nil
		})
	}
	return s
}

// silenceTTL is such that a third of it is much shorter than the time in which gRPC
// finds out by itself.
const silenceTTL = 6 * time.Second

// The member of the waiter's watch says nothing any more, and nobody closes the
// connection. The next stream may be on the same one, and so may the look that
// follows.
func TestWaiterIsGrantedSoonWhenItsConnectionFallsSilent(t *testing.T) {
	k := startKillable(t)
	ps, url := k.behindProxies(t)
	name := strings.TrimPrefix(nameFor(t), "integration/")
	g := lock(t, openURL(t, k.URL(), "holder", 2*silenceTTL), name)
	waiter := openOnFirst(t, ps, url, "waiter")
	waiting := locking(bounded(t), waiter, name)
	queuedAt(t, k.admins[0], "/faults/"+name, 2)

	ps[0].Freeze(proxy.Both)
	begun := time.Now()
	release(t, g)
	release(t, waiting.must(t))
	took := time.Since(begun)
	t.Logf("the waiter was granted %v after the release", took)
	if most := silenceTTL/3 + 2*afterLeader + busyness; took > most {
		t.Errorf("the waiter was granted %v after the release, want %v at most", took, most)
	}
}

// The same for who looks on, and for a holder that is to be told that it is broken.
func TestOnlookersAndTheBrokenHearSoonWhenTheirConnectionFallsSilent(t *testing.T) {
	k := startKillable(t)
	ps, url := k.behindProxies(t)
	name := strings.TrimPrefix(nameFor(t), "integration/")
	quiet := openOnFirst(t, ps, url, "quiet")
	operator := openURL(t, k.URL(), "operator", 2*silenceTTL)
	seen := make(chan int, 1) // how many hold
	ctx := bounded(t)
	go func() {
		for q, err := range watch.Queue(ctx, quiet, name) {
			if err != nil {
				close(seen)
				return
			}
			seen <- len(q.Holders)
		}
	}()
	see := func(holders int) {
		t.Helper()
		select {
		case n := <-seen:
			if n != holders {
				t.Fatalf("%d were seen to hold, want %d", n, holders)
			}
		case <-ctx.Done():
			t.Fatal("nothing was seen")
		}
	}
	see(0)
	g := lock(t, quiet, name)
	see(1)

	ps[0].Freeze(proxy.Both)
	begun := time.Now()
	if err := operator.Break(ctx, name, g.Token(), nil); err != nil {
		t.Fatal(err)
	}
	see(0)
	took := time.Since(begun)
	t.Logf("it was seen %v after the break began", took)
	// The holder has the margin to stop.
	if most := 2*silenceTTL/3 + 2*afterLeader + busyness; took > most {
		t.Errorf("it was seen %v after the break began, want %v at most", took, most)
	}
}

// The release meets each of the connections, the silent one among them.
func TestReleaseIsDoneSoonWhenAConnectionFallsSilent(t *testing.T) {
	k := startKillable(t)
	ps, url := k.behindProxies(t)
	name := strings.TrimPrefix(nameFor(t), "integration/")
	holder := openOnFirst(t, ps, url, "holder")
	var held []*session.Grant
	for i := range 2 * len(ps) {
		held = append(held, lock(t, holder, fmt.Sprint(name, i)))
	}
	ps[0].Freeze(proxy.Both)
	for i, g := range held {
		begun := time.Now()
		release(t, g)
		took := time.Since(begun)
		t.Logf("release %d took %v", i, took)
		if most := afterLeader + busyness; took > most {
			t.Errorf("release %d took %v, want %v at most", i, took, most)
		}
	}
}
