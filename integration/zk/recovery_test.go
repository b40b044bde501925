package zk_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

// What the tests below hold Fairlead to is a promise of two seconds, or of one
// after a TTL. They allow for a machine that has much else to do, and tell what
// they have measured.
const (
	afterLeader    = 2 * time.Second
	afterExpiry    = time.Second
	busyness       = 1500 * time.Millisecond
	recoveryRounds = 3
)

// alone starts an ensemble for one test.
func alone(t *testing.T) *site {
	t.Helper()
	p, err := settle()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.leave)
	return at(t, p)
}

// killLeader kills the leader, and tells when there is another one.
func (s *site) killLeader(t *testing.T) (elected <-chan time.Time) {
	t.Helper()
	killed, _ := s.leader(t)
	do(t, killing, killed)
	ctx := bounded(t)
	at := make(chan time.Time, 1)
	go func() {
		defer close(at)
		for ctx.Err() == nil {
			if now, err := s.Leader(ctx); err == nil && now != killed {
				at <- time.Now()
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return at
}

// The release is asked for at once, in the middle of the election, or after it.
func TestWaiterIsGrantedSoonAfterTheLeaderWasKilled(t *testing.T) {
	s := alone(t)
	const name = "q"
	holder, waiter := s.open(t, "holder", longTTL/3), s.open(t, "waiter", longTTL/3)
	for round := range recoveryRounds {
		for _, after := range []time.Duration{0, 300 * time.Millisecond, 700 * time.Millisecond} {
			g := lock(t, holder, name)
			waiting := locking(bounded(t), waiter, name)
			s.queued(t, name, 2)

			elected := s.killLeader(t)
			time.Sleep(after)
			waiting.pending(t)
			since := time.Now()
			releasing := begin(func() (struct{}, error) { return struct{}{}, g.Release(bounded(t)) })
			next := waiting.must(t)
			granted := time.Now()
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
			s.heal(t)
		}
	}
}

// The session of a process that was killed expires, and nothing else has to happen.
func TestWaiterIsGrantedSoonAfterAHolderWasKilled(t *testing.T) {
	s := alone(t)
	const name = "q"
	waiter := s.open(t, "waiter", longTTL/3)
	for range recoveryRounds {
		kill := s.startHolder(t, name)
		waiting := locking(bounded(t), waiter, name)
		s.queued(t, name, 2)
		waiting.pending(t)
		kill()
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

// holderURL, when set, makes this program a process that holds a lock, the name of
// which is in holderName, until its standard input ends or it is killed.
const (
	holderURL  = "FAIRLEAD_TEST_HOLDER"
	holderName = "FAIRLEAD_TEST_NAME"
)

func hold(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := session.Open(ctx, url, &session.Options{Identity: "process", TTL: shortTTL})
	if err != nil {
		return err
	}
	if _, err := mutex.New(s, os.Getenv(holderName)).Lock(ctx); err != nil {
		return err
	}
	fmt.Println("held")
	bufio.NewScanner(os.Stdin).Scan()
	return s.Close(ctx)
}

// startHolder starts a process that holds a lock, and returns what kills it.
func (s *site) startHolder(t *testing.T, name string) (kill func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), holderURL+"="+s.url(s.ConnectString()), holderName+"="+name)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // it stays open: the process ends by other means
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has been, unless the test failed
		_ = cmd.Wait()
	})
	if !bufio.NewScanner(out).Scan() {
		t.Fatal("the holder ended")
	}
	return func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
}
