package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/redis"
)

const (
	// shortTTL leaves a session that a busy machine keeps up two seconds of trust.
	shortTTL = 3 * time.Second

	// quietTime is how long a server that has lost everything grants nothing.
	quietTime = 2 * time.Second

	// rounding is by how much less that may be, as servers tell their age in seconds.
	rounding = time.Millisecond
)

// restart kills a server and starts it again. It returns a time before the new life.
func restart(t *testing.T, s *redisserver.Server) time.Time {
	t.Helper()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	if err := s.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	return before
}

// notBefore checks that something came no sooner than so long after.
func notBefore(t *testing.T, what string, at, begun time.Time, least time.Duration) {
	t.Helper()
	if after := at.Sub(begun); after < least-rounding {
		t.Errorf("%s came %v after the restart, want %v or more", what, after, least)
	}
}

// lostAt waits for the end of a grant, which has to be a loss.
func lostAt(t *testing.T, g *session.Grant, lost <-chan time.Time) time.Time {
	t.Helper()
	select {
	case at := <-lost:
		if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrLost) {
			t.Errorf("the grant ended with cause %v, want ErrLost", cause)
		}
		return at
	case <-time.After(patience):
		t.Fatalf("after %v the holder knows of no loss", patience)
		return time.Time{}
	}
}

// The server comes back with nothing, as if nobody had ever held anything.
func TestHolderSeesItsLossBeforeAnEmptiedServerGrants(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	holder, waiter := open(t, serverURL(s, ""), "holder", shortTTL), open(t, serverURL(s, ""), "waiter", shortTTL)
	g := lock(t, holder, "q")
	lost := loss(g)
	next := locking(t, waiter, "q")
	queued(t, s, "q", 2)

	before := restart(t, s)
	late := open(t, serverURL(s, ""), "late", shortTTL)
	arrived := time.Now()
	notBefore(t, "the session of a newcomer", arrived, before, quietTime)
	at := lostAt(t, g, lost)
	second := taken(t, next)
	notBefore(t, "the next grant", second.at, before, quietTime)
	if !at.Before(second.at) || !at.Before(arrived) {
		t.Errorf("the holder saw its loss at %v, after a session at %v or a grant at %v", at, arrived, second.at)
	}
	if second.grant.Token() <= g.Token() {
		t.Errorf("token %d was granted after %d", second.grant.Token(), g.Token())
	}
	if err := second.grant.Release(bounded(t)); err != nil {
		t.Error(err)
	}
	lock(t, late, "q")
}

// Somebody may be there who does not hear of the restart, and was promised more time than
// an empty server gives by itself: who knows of it says so.
func TestClientThatKnewTheServerEnforcesTheLongestTTL(t *testing.T) {
	t.Parallel()
	const longest = 5 * time.Second
	s := startWarm(t, redisserver.Config{})
	deaf := enterAt(t, serverURL(s, ""), longest, nil) // hears nothing, as nobody renews it
	held := deaf.join("q")
	witness := open(t, serverURL(s, ""), "witness", shortTTL)
	lost := loss(lock(t, witness, "w"))

	before := restart(t, s)
	select {
	case <-lost: // so it is about to begin another session
	case <-time.After(patience):
		t.Fatal("the witness does not know that it has lost everything")
	}
	late := open(t, serverURL(s, ""), "late", shortTTL)
	notBefore(t, "the session of a newcomer", time.Now(), before, longest)
	g := lock(t, late, "q")
	if g.Token() <= held.Me.Token {
		t.Errorf("token %d was granted after %d", g.Token(), held.Me.Token)
	}
}

// lasting is a server that keeps its data. It reads them in the name of the default user,
// and what scripts have written is refused to that, and lost, where the user is off.
func lasting() redisserver.Config {
	return redisserver.Config{
		Users:    []string{rules(redis.DefaultNamespace), "default on >" + password + " ~* &* +@all"},
		Settings: map[string]string{"appendonly": "yes", "appendfsync": "always"},
	}
}

// The server comes back with everything, as far as anybody can tell.
func TestRestartWithItsDataEndsAllSessions(t *testing.T) {
	t.Parallel()
	const longest = 5 * time.Second
	s := startWarm(t, lasting())
	deaf := enterAt(t, serverURL(s, ""), longest, nil)
	held := deaf.join("q")
	behind := deaf.join("q")
	gone := deaf.store

	before := restart(t, s)
	if n := do(t, s, "ZCARD", "{fairlead}:q:q"); n != int64(2) {
		t.Fatalf("%v entries are back, want 2", n)
	}
	late := open(t, serverURL(s, ""), "late", shortTTL)
	notBefore(t, "the session of a newcomer", time.Now(), before, longest)
	if g := lock(t, late, "q"); g.Token() <= behind.Me.Token {
		t.Errorf("token %d was granted after %d", g.Token(), behind.Me.Token)
	}
	eventually(t, func() error { return errOf(gone.Read(bounded(t), "q", 0)) }) // it is connected again
	for what, err := range map[string]error{
		"Renew": deaf.Renew(bounded(t)),
		"Check": deaf.Check(bounded(t)),
		"Join":  errOf(deaf.Join(bounded(t), claim("q"))),
		"Look":  errOf(deaf.Look(bounded(t), held.Me)),
	} {
		if !errors.Is(err, driver.ErrLeaseGone) {
			t.Errorf("%s under a session of the earlier run: %v, want ErrLeaseGone", what, err)
		}
	}
}

// Even when the session's key has a long time to live, and before anybody has begun
// another session.
func TestSessionOfAnEarlierRunIsOverAtOnce(t *testing.T) {
	t.Parallel()
	s := startWarm(t, lasting())
	p := enter(t, s, nil)
	v := p.join("q")
	restart(t, s)
	if n := do(t, s, "EXISTS", "{fairlead}:s:"+p.ID()); n != int64(1) {
		t.Fatal("the session's key is not back")
	}
	eventually(t, func() error {
		if err := p.Renew(bounded(t)); !errors.Is(err, driver.ErrLeaseGone) {
			return err
		}
		return nil
	})
	if err := errOf(p.Update(bounded(t), v.Me, "value")); !errors.Is(err, driver.ErrLeaseGone) {
		t.Errorf("Update: %v, want ErrLeaseGone", err)
	}
}

// A server that has no data and does not know for how long gives those who held the time to say
// so from its first answer on. It may have answered nobody for a while: a cluster does so, whose
// node was restarted.
func TestEmptyServerGrantsNothingForAWhileAfterItsFirstScript(t *testing.T) {
	t.Parallel()
	s := start(t, redisserver.Config{})
	grown(t, s)
	newcomer := dial(t, serverURL(s, ""), nil)
	asked := time.Now()
	begin(t, newcomer, shortTTL)
	notBefore(t, "the first session", time.Now(), asked, quietTime)
}

// grown waits until a server has been up for longer than any grants nothing because it is new.
func grown(t *testing.T, s *redisserver.Server) {
	t.Helper()
	eventually(t, func() error {
		info, err := s.Info(bounded(t), "server")
		if age, _ := strconv.Atoi(info["uptime_in_seconds"]); err == nil && age < 4 {
			err = fmt.Errorf("the server is up for %d s alone", age)
		}
		return err
	})
}

// All is deleted, and the server lives on.
func TestHolderSeesItsLossBeforeAFlushedServerGrants(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	holder := open(t, serverURL(s, ""), "holder", longTTL)
	g := lock(t, holder, "q")
	lost := loss(g)
	newcomer := dial(t, serverURL(s, ""), nil)
	grown(t, s)
	flushed := time.Now()
	do(t, s, "FLUSHALL")
	begin(t, newcomer, longTTL)
	arrived := time.Now()
	notBefore(t, "the session of a newcomer", arrived, flushed, quietTime)
	if at := lostAt(t, g, lost); !at.Before(arrived) {
		t.Errorf("the holder saw its loss at %v, after a session at %v", at, arrived)
	}
}

// Trouble with the connection is none of the session's: who watches that goes on asking, and so
// learns of its end as soon as there is an answer.
func TestWatchOutlivesTheServer(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	p := enter(t, s, nil)
	end := make(chan error, 1)
	go func() { end <- p.Watch(t.Context(), func() {}) }()
	eventually(t, func() error { return subscribed(t, s, 1) })
	restart(t, s)
	select {
	case err := <-end:
		if !errors.Is(err, driver.ErrLeaseGone) {
			t.Errorf("Watch returned %v, want ErrLeaseGone", err)
		}
	case <-time.After(patience):
		t.Errorf("after %v the session is still watched", patience)
	}
}

// Where nothing is lost nothing is delayed: a client may come and go.
func TestServerThatWasNotRestartedGrantsAtOnce(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	begun := time.Now()
	for range 3 {
		enter(t, s, nil)
	}
	if took := time.Since(begun); took > quietTime {
		t.Errorf("three sessions took %v", took)
	}
}

// A replica is behind, and so nobody asks it anything: not who comes, nor who was there
// when it was the primary.
func TestReplicaIsRefusedForNow(t *testing.T) {
	t.Parallel()
	primary := startWarm(t, redisserver.Config{})
	s := startWarm(t, redisserver.Config{})
	p, watcher := enter(t, s, nil), enter(t, s, nil)
	first, second := p.join("q"), watcher.join("q")
	demote(t, s, primary)

	ctx := bounded(t)
	c := claim("q")
	for what, err := range map[string]error{
		"Open":     errOf(openStore(t, serverURL(s, ""))),
		"Grant":    grantErr(t, p.store),
		"Renew":    p.Renew(ctx),
		"Check":    p.Check(ctx),
		"Join":     errOf(p.Join(ctx, c)),
		"Resolve":  errOf(p.Resolve(ctx, c)),
		"Withdraw": p.Withdraw(ctx, c),
		"Look":     errOf(p.Look(ctx, first.Me)),
		"Wait":     errOf(watcher.Lease.Wait(ctx, second, driver.Obstacles{Entries: second.Ahead, Limit: true})),
		"Update":   errOf(p.Update(ctx, first.Me, "value")),
		"Leave":    p.Leave(ctx, first.Me),
		"Entries":  errOf(p.Entries(ctx)),
		"Revoke":   p.Revoke(ctx),
		"Read":     errOf(p.store.Read(ctx, "q", 0)),
		"List":     errOf(p.store.List(ctx, "")),
		"Watch":    p.store.Watch(ctx, "q", func(driver.Queue) error { return errors.New("something is seen") }),
		"SetLimit": p.store.SetLimit(ctx, "q", driver.Limit{Version: 1}, driver.Limit{N: 1}),
	} {
		definite := errors.Is(err, driver.ErrLeaseGone) || errors.Is(err, driver.ErrEntryGone) || errors.Is(err, driver.ErrConflict)
		if err == nil || definite || driver.IsPermanent(err) || !strings.Contains(err.Error(), "replica") {
			t.Errorf("%s: %v, want a temporary error about the replica", what, err)
		}
	}
}

// demote makes a server a replica, which has what the primary has when it returns.
func demote(t *testing.T, s, primary *redisserver.Server) {
	t.Helper()
	host, port, err := net.SplitHostPort(primary.Addr())
	if err != nil {
		t.Fatal(err)
	}
	// Its own password would not do: it logs in as the suite's admin of the other.
	do(t, primary, "ACL", "SETUSER", "follower", "on", ">"+password, "+@all", "~*", "&*")
	do(t, s, "CONFIG", "SET", "masteruser", "follower", "masterauth", password)
	do(t, s, "REPLICAOF", host, port)
	eventually(t, func() error {
		info, err := s.Info(bounded(t), "replication")
		if err == nil && info["master_link_status"] != "up" {
			err = errors.New("the replica is not connected")
		}
		return err
	})
}
