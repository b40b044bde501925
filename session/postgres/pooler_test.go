package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/postgres"
)

func TestPoolerThatSharesTransactionsIsFoundOut(t *testing.T) {
	t.Parallel()
	executor(t, "pooled")
	url := with(t, bouncer(t, pgserver.PoolTransaction, "pooled").URL("pooled", "secret", "postgres"), "namespace", "pooled")
	for range 3 { // whatever of its connections it gives us
		refusedAtOnce(t, url, "pooler", "?poll=200ms", "share sessions")
	}
	handOff(t, []*session.Session{open(t, with(t, url, "poll", "5ms")), open(t, with(t, url, "poll", "5ms"))}, "q", 4, 10)

	pool, err := pgxpool.New(bounded(t), url)
	if err == nil {
		defer pool.Close()
	}
	for _, poll := range []time.Duration{0, 5 * time.Millisecond} {
		pool, err := pgxpool.New(bounded(t), bouncer(t, pgserver.PoolTransaction, "pooled").URL("pooled", "secret", "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		s, err := postgres.NewSessionWith(bounded(t), postgres.Config{Pool: pool, Namespace: "pooled", Poll: poll}, nil)
		if poll == 0 {
			if !driver.IsPermanent(err) {
				t.Errorf("NewSession returned %v, want a permanent error", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		handOff(t, []*session.Session{s}, "q", 4, 10)
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// Nothing is prepared there, nor where each request has to say which isolation it needs.
func TestPoolerThatSharesTransactionsAndAnotherIsolationGoTogether(t *testing.T) {
	t.Parallel()
	const ns = "pooledstrict"
	executor(t, ns)
	execute(t, "ALTER ROLE pooledstrict SET default_transaction_isolation = 'serializable'")
	pool, err := pgxpool.New(bounded(t), bouncer(t, pgserver.PoolTransaction, ns).URL(ns, "secret", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s, err := postgres.NewSessionWith(bounded(t), postgres.Config{Pool: pool, Namespace: ns, Poll: 5 * time.Millisecond}, nil)
	if err != nil {
		t.Fatal(err)
	}
	handOff(t, []*session.Session{s}, "q", 4, 10)
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestPoolerThatSharesSessionsIsAsGoodAsNone(t *testing.T) {
	t.Parallel()
	executor(t, "sessions")
	url := with(t, bouncer(t, pgserver.PoolSession, "sessions").URL("sessions", "secret", "postgres"), "namespace", "sessions")
	// It does not take the parameters that we start a session with, unless it is told to.
	a, b := enter(t, url, patience, nil), enter(t, url, patience, nil)
	held := a.join("q")
	ended := b.waiting(b.join("q"))
	a.leave(held.Me)
	ends(t, ended, patience/4)
}
