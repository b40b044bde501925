package redis_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session/driver"
)

// Two messages may be there before the first is heard: with a TTL that is so long,
// nobody would look by itself while the test lasts.
func TestTwoDeparturesInARowAreBothHeard(t *testing.T) {
	t.Parallel()
	p := enterAt(t, serverURL(server, ""), 10*time.Minute, nil)
	a, b, c := p.join("wait/two"), p.join("wait/two"), p.join("wait/two")
	mark, last := p.join("wait/mark"), p.join("wait/mark")
	p.leave(b.Me) // c is told that it is behind a
	p.leave(a.Me) // and that it is first
	p.leave(mark.Me)
	over(t, p.wait(last)) // what was told before has arrived, too
	v := over(t, p.wait(c))
	for len(v.Ahead) > 0 {
		v = over(t, p.wait(v))
	}
	p.leave(c.Me)
	p.leave(last.Me)
}

// A conditional Join is about the queue as it is when the entry is made, also where an
// entry there was changed meanwhile.
func TestAdmissionSeesUpdates(t *testing.T) {
	t.Parallel()
	p := enter(t, server, nil)
	writer := claim("wait/admit")
	writer.Value = "yes"
	v, err := p.Join(bounded(t), writer)
	if err != nil {
		t.Fatal(err)
	}
	c := claim("wait/admit")
	c.Mode = driver.Shared
	c.Admit = func(seen driver.View) bool {
		if len(seen.Ahead) == 0 {
			return true
		}
		admitted := seen.Ahead[0].Value == "yes"
		if admitted {
			if _, err := p.Update(bounded(t), v.Me, "no"); err != nil {
				t.Error(err)
			}
		}
		return admitted
	}
	if _, err := p.Join(bounded(t), c); !errors.Is(err, driver.ErrRefused) {
		t.Errorf("Join behind an entry that was changed meanwhile returned %v, want a refusal", err)
	}
	p.leave(v.Me)
}

// Those that a primary has granted since the failover before, without a replica that heard
// of it, hold until their TTL has passed.
func TestSecondFailoverWaitsForThoseSinceTheFirst(t *testing.T) {
	t.Parallel()
	r, err := redisserver.StartReplicated(redisserver.Config{Users: []string{rules("fairlead")}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	a, b := r.Servers()[0], r.Servers()[1]
	enterAt(t, serverURL(a, ""), shortTTL, nil)
	if err := r.WaitReplicated(bounded(t)); err != nil {
		t.Fatal(err)
	}
	follow(t, a, b)
	held := dial(t, serverURL(b, ""), nil)
	ctx, cancel := context.WithTimeout(bounded(t), 200*time.Millisecond)
	defer cancel()
	if _, _, err := held.Grant(ctx, driver.Spec{TTL: shortTTL}); err == nil { // now b knows what it is
		t.Fatal("a session began before those of the former primary have expired")
	}
	if err := r.WaitReplicated(bounded(t)); err != nil {
		t.Fatal(err)
	}
	do(t, a, "REPLICAOF", "NO", "ONE") // what b grants from here on, a does not hear of
	first := begin(t, held, shortTTL)
	sent := time.Now()
	if err := first.Renew(bounded(t)); err != nil {
		t.Fatal(err)
	}
	first.join("wait/failover")
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	second := enterAt(t, serverURL(a, ""), shortTTL, nil)
	second.join("wait/failover")
	notBefore(t, "the next grant", time.Now(), sent, shortTTL)
}

// A server that was the primary, then a replica, and is the primary again may have lost what
// it had acknowledged, without having been restarted.
func TestSessionsEndWhenTheirServerWasAReplicaMeanwhile(t *testing.T) {
	t.Parallel()
	r, err := redisserver.StartReplicated(redisserver.Config{Users: []string{rules("fairlead")}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	a, b := r.Servers()[0], r.Servers()[1]
	first, second := enter(t, a, nil), enter(t, a, nil)
	if err := r.WaitReplicated(bounded(t)); err != nil {
		t.Fatal(err)
	}
	do(t, b, "REPLICAOF", "NO", "ONE") // what a acknowledges from here on, b does not have
	first.join("wait/back")
	follow(t, a, b)
	do(t, a, "REPLICAOF", "NO", "ONE")
	if err := first.Renew(bounded(t)); !errors.Is(err, driver.ErrLeaseGone) {
		t.Errorf("the renewal of one whose entry is gone returned %v", err)
	}
	if v, err := second.Join(bounded(t), claim("wait/back")); !errors.Is(err, driver.ErrLeaseGone) {
		t.Errorf("another's Join returned %v, %v", v, err)
	}
}

// follow makes b the primary, and a its replica.
func follow(t *testing.T, a, b *redisserver.Server) {
	t.Helper()
	do(t, b, "REPLICAOF", "NO", "ONE")
	host, port := hostPort(t, b)
	do(t, a, "REPLICAOF", host, port)
	eventually(t, func() error {
		info, err := a.Info(bounded(t), "replication")
		if err == nil && info["master_link_status"] != "up" {
			err = errors.New("the replica is not connected")
		}
		return err
	})
}

func hostPort(t *testing.T, s *redisserver.Server) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}
