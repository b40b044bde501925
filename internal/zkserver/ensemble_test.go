package zkserver

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func startEnsemble(t *testing.T, n int) *Ensemble {
	t.Helper()
	began := time.Now()
	e, err := StartEnsemble(n, quick())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v", time.Since(began))
	t.Cleanup(func() { finish(t, e.Servers()...) })
	return e
}

func leader(t *testing.T, e *Ensemble) *Server {
	t.Helper()
	l, err := e.Leader(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestEnsembleReplacesAKilledLeader(t *testing.T) {
	t.Parallel()
	e, ctx := startEnsemble(t, 3), bounded(t)
	first := leader(t, e)
	followers, err := e.Followers(ctx)
	if err != nil || len(followers) != 2 || slices.Contains(followers, first) {
		t.Fatalf("Followers() = %v, %v; want the two that do not lead", followers, err)
	}
	if got := strings.Count(e.ConnectString(), ","); got != 2 {
		t.Errorf("ConnectString() = %q, want three addresses", e.ConnectString())
	}
	connect(t, first.Addr()).create(t, "/kept", persistent)

	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	second := leader(t, e)
	if second == first {
		t.Fatal("the killed server leads")
	}
	if !connect(t, second.Addr()).exists(t, "/kept") {
		t.Error("the new leader does not have what was written to the old one")
	}
	if err := first.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if mode, err := first.Mode(ctx); err != nil || mode != Follower {
		t.Errorf("the old leader's Mode() = %q, %v; want %q", mode, err, Follower)
	}
}

func TestEnsembleReplacesAFrozenLeader(t *testing.T) {
	t.Parallel()
	e := startEnsemble(t, 3)
	first := leader(t, e)
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	second := leader(t, e)
	if second == first {
		t.Fatal("the frozen server leads")
	}
	if err := first.Cont(); err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t); ; {
		if mode, err := first.Mode(ctx); err == nil && mode == Follower {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("the leader that was frozen does not follow the new one")
		}
	}
}

func TestExpireWorksThroughAnyServerOfAnEnsemble(t *testing.T) {
	t.Parallel()
	e, ctx := startEnsemble(t, 3), bounded(t)
	followers, err := e.Followers(ctx)
	if err != nil || len(followers) != 2 {
		t.Fatalf("Followers() = %v, %v; want two", followers, err)
	}
	victim := connect(t, followers[0].Addr())
	victim.create(t, "/victim", ephemeral)
	if err := Expire(ctx, followers[1].Addr(), victim.id, victim.password); err != nil {
		t.Fatal(err)
	}
	if connect(t, followers[1].Addr()).exists(t, "/victim") {
		t.Error("the session's node is there after its end")
	}
}

func TestEnsemblesSideBySideAreGoneAfterClose(t *testing.T) {
	t.Parallel()
	one, two := startEnsemble(t, 3), startEnsemble(t, 3)
	connect(t, leader(t, one).Addr()).create(t, "/kept", persistent)
	if connect(t, leader(t, two).Addr()).exists(t, "/kept") {
		t.Error("what was written to one ensemble is in the other")
	}
	for _, e := range []*Ensemble{one, two} {
		e.Close()
		for _, s := range e.Servers() {
			if s.child.Running() {
				t.Errorf("%s runs after Close", s.Addr())
			}
			if _, err := os.Stat(s.Dir()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is there after Close: %v", s.Dir(), err)
			}
		}
	}
}

func TestLeaderEndsWithTheContext(t *testing.T) {
	t.Parallel()
	e := startEnsemble(t, 3)
	for _, s := range e.Servers()[1:] {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	// The one that is left may believe for a moment that it has a majority.
	for {
		ctx, cancel := context.WithTimeout(bounded(t), 300*time.Millisecond)
		_, err := e.Leader(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
