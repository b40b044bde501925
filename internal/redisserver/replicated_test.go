package redisserver

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"
)

func startReplicated(t *testing.T, c Config, sentinels int) *Replicated {
	t.Helper()
	began := time.Now()
	r, err := StartReplicated(c, sentinels)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v", time.Since(began))
	t.Cleanup(func() { finish(t, slices.Concat(r.Servers(), r.Sentinels())...) })
	return r
}

func primary(t *testing.T, r *Replicated) *Server {
	t.Helper()
	began := time.Now()
	p, err := r.Primary(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("primary after %v", time.Since(began))
	return p
}

func replica(t *testing.T, r *Replicated) *Server {
	t.Helper()
	s, err := r.Replica(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sentinelsSay waits until all sentinels say that the primary is at addr.
func sentinelsSay(t *testing.T, r *Replicated, addr string) {
	t.Helper()
	ctx := bounded(t)
	err := until(ctx, func() error {
		for _, at := range r.SentinelAddrs() {
			answer, err := connect(t, at).call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", r.Name())
			if err != nil {
				return err
			}
			list, _ := answer.([]any)
			if len(list) != 2 || net.JoinHostPort(list[0].(string), list[1].(string)) != addr {
				return errors.New("another primary")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("sentinels do not say that the primary is at %s: %v", addr, err)
	}
}

func TestReplicaGetsWhatThePrimaryHas(t *testing.T) {
	t.Parallel()
	r := startReplicated(t, Config{}, 0)
	p, s := primary(t, r), replica(t, r)
	if p != r.Servers()[0] || s != r.Servers()[1] {
		t.Error("the first server is not the primary, or the second not the replica")
	}
	do(t, p, "SET", "kept", "1")
	if err := r.WaitReplicated(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if got := do(t, s, "GET", "kept"); got != "1" {
		t.Errorf("the replica has %v", got)
	}
	connect(t, s.Addr()).want(t, Error("READONLY"), "SET", "kept", "2")
	if err := r.Failover(bounded(t)); err == nil {
		t.Error("Failover without sentinels is no error")
	}
}

func TestWaitReplicatedWaitsForAFrozenReplica(t *testing.T) {
	t.Parallel()
	r := startReplicated(t, Config{}, 0)
	s := replica(t, r)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	do(t, primary(t, r), "SET", "kept", "1")
	short, cancel := context.WithTimeout(bounded(t), 200*time.Millisecond)
	defer cancel()
	if err := r.WaitReplicated(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitReplicated() = %v with a frozen replica, want %v", err, context.DeadlineExceeded)
	}
	if err := s.Cont(); err != nil {
		t.Fatal(err)
	}
	if err := r.WaitReplicated(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if got := do(t, s, "GET", "kept"); got != "1" {
		t.Errorf("the replica has %v", got)
	}
}

func TestFailoverMakesTheReplicaPrimary(t *testing.T) {
	t.Parallel()
	r := startReplicated(t, Config{Users: []string{"fairlead on >secret ~* &* +@all"}}, 3)
	first, second := primary(t, r), replica(t, r)
	sentinelsSay(t, r, first.Addr())
	do(t, first, "SET", "kept", "1")
	if err := r.WaitReplicated(bounded(t)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := r.Failover(bounded(t)); err != nil {
		t.Fatal(err)
	}
	t.Logf("failed over after %v", time.Since(began))
	if p := primary(t, r); p != second {
		t.Errorf("the primary is %s, and was %s", p.Addr(), first.Addr())
	}
	if s := replica(t, r); s != first {
		t.Errorf("the replica is %s, want the old primary", s.Addr())
	}
	sentinelsSay(t, r, second.Addr())
	if got := do(t, second, "GET", "kept"); got != "1" {
		t.Errorf("the new primary has %v", got)
	}

	// And back, without the sentinel that did it.
	dead := r.Sentinels()[0]
	if err := dead.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := r.Failover(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if p := primary(t, r); p != first {
		t.Error("a second failover does not lead back")
	}
	if err := dead.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	sentinelsSay(t, r, first.Addr())
}

func TestSentinelsReplaceAKilledPrimary(t *testing.T) {
	t.Parallel()
	r := startReplicated(t, Config{}, 3)
	first, second := primary(t, r), replica(t, r)
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if p := primary(t, r); p != second {
		t.Fatal("the killed server is the primary")
	}
	if err := first.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if s := replica(t, r); s != first {
		t.Error("the old primary does not replicate from the new one")
	}
	// What the sentinel has told the server outlasts a restart.
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := first.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if v, err := first.view(bounded(t)); err != nil || v.role != "slave" {
		t.Errorf("after another restart the old primary is %v, %v", v, err)
	}
}

func TestSentinelsReplaceAFrozenPrimary(t *testing.T) {
	t.Parallel()
	r := startReplicated(t, Config{}, 1)
	first, second := primary(t, r), replica(t, r)
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	if p := primary(t, r); p != second {
		t.Fatal("the frozen server is the primary")
	}
	if err := first.Cont(); err != nil {
		t.Fatal(err)
	}
	if s := replica(t, r); s != first {
		t.Error("the old primary does not replicate from the new one")
	}
}

func TestPrimaryEndsWithTheContext(t *testing.T) {
	t.Parallel()
	r := startReplicated(t, Config{}, 0)
	if err := primary(t, r).Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(bounded(t), 200*time.Millisecond)
	defer cancel()
	if p, err := r.Primary(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Primary() = %v, %v without a primary", p, err)
	}
}
