package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/postgres"
)

// listeners counts the connections that listen, in a database of the test's own.
const listeners = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND query LIKE '%LISTEN%' AND pid <> pg_backend_pid()"

// tally checks that a query counts n.
func tally(t *testing.T, sql, arg string, n int) error {
	t.Helper()
	if got := ask[int](t, sql, arg); got != n {
		return fmt.Errorf("%d connections, want %d", got, n)
	}
	return nil
}

func ownDatabase(t *testing.T, name string) (rawURL string) {
	t.Helper()
	if err := server.CreateDatabase(bounded(t), name); err != nil {
		t.Fatal(err)
	}
	return server.AdminURL(name)
}

// With each notification the server wakes all connections of the database that listen.
func TestSessionsOfAProcessListenOnOneConnection(t *testing.T) {
	t.Parallel()
	rawURL := ownDatabase(t, "sharing")
	quiet := &session.Options{Logger: slog.New(slog.DiscardHandler)}
	sessions := make([]*session.Session, 8)
	var work sync.WaitGroup
	for i := range sessions {
		work.Go(func() { // at once, so that several begin before there is one to share
			s, err := session.Open(bounded(t), rawURL, quiet)
			if err != nil {
				t.Error(err)
			}
			sessions[i] = s
		})
	}
	if work.Wait(); t.Failed() {
		t.FailNow()
	}
	for _, s := range sessions[1:] {
		if postgres.Inbox(s.Store()) != postgres.Inbox(sessions[0].Store()) {
			t.Error("two sessions listen each for itself")
		}
	}
	eventually(t, func() error { return tally(t, listeners, "sharing", 1) })
	handOff(t, sessions, "q", 1, 20)

	// Those that go leave nothing behind, and the others alone.
	for _, s := range sessions[1:] {
		if err := s.Close(bounded(t)); err != nil {
			t.Error(err)
		}
	}
	if n := postgres.Leases(sessions[0].Store()); n != 1 {
		t.Errorf("%d leases are known, want one", n)
	}
	handOff(t, sessions[:1], "q", 4, 20)
	if err := sessions[0].Close(bounded(t)); err != nil {
		t.Error(err)
	}
	eventually(t, func() error {
		return tally(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", "sharing", 0)
	})
	next, err := session.Open(bounded(t), rawURL, quiet)
	if err != nil {
		t.Fatal(err)
	}
	handOff(t, []*session.Session{next}, "q", 2, 5)
	if err := next.Close(bounded(t)); err != nil {
		t.Error(err)
	}
}

// Who closes its session while it still holds lets the lease expire. Others who share its
// store do not remove the entry before, whatever the server has been through.
func TestEntriesOfOneWhoLeftInAHurryStayUntilTheLeaseEnds(t *testing.T) {
	t.Parallel()
	rawURL := namespace(t, "hurry")
	stay, hurry := enter(t, rawURL, patience, nil), enter(t, rawURL, patience, nil)
	held := hurry.join("q").Me
	if err := hurry.store.Close(); err != nil {
		t.Fatal(err)
	}
	if n := postgres.Leases(stay.store); n != 1 {
		t.Errorf("%d leases are known, want one", n)
	}
	postgres.Tidy(bounded(t), hurry.Lease)
	if q := stay.queue("q"); len(q) != 1 || q[0] != held.Token {
		t.Errorf("the queue is %v, want %d in it", q, held.Token)
	}
	if _, err := hurry.Join(bounded(t), claim("q2")); err != nil { // under way when it was closed
		t.Fatal(err)
	}
	if n := postgres.Boxes(stay.store); n != 1 {
		t.Errorf("%d mailboxes are kept, want the one of the lease", n)
	}
}

// The connection that listens renews leases one after the other, each with a flush. Where that
// takes long, and the sessions are many, they are renewed beside it.
func TestManySessionsAreRenewedWhereTheDiskIsSlow(t *testing.T) {
	t.Parallel()
	s := ownServer(t, pgserver.Config{Settings: map[string]string{"commit_delay": "50000", "commit_siblings": "0"}})
	opts := &session.Options{TTL: 3 * time.Second}
	var held []*session.Grant
	for i := range 60 {
		g, err := mutex.New(openWith(t, s.AdminURL("postgres"), opts), fmt.Sprint("q", i)).Lock(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, g)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*opts.TTL)
	defer cancel()
	for _, g := range held {
		select {
		case <-g.Context().Done():
		case <-ctx.Done():
		}
		if err := g.Check(); err != nil {
			t.Error(err)
		}
	}
}

// What is not the same is not shared.
func TestSessionsThatDifferDoNotShare(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.CreateRole(bounded(t), "rotated", "first"); err != nil {
		t.Fatal(err)
	}
	execute(t, "DROP SCHEMA IF EXISTS rotated CASCADE; CREATE SCHEMA rotated AUTHORIZATION rotated")
	u, err := url.Parse(with(t, server.AdminURL("postgres"), "namespace", "rotated", "password-file", file))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User("rotated")
	byFile := u.String()
	write("first")
	a := openWith(t, byFile, nil)
	write("second")
	execute(t, "ALTER ROLE rotated PASSWORD 'second'")
	b := openWith(t, byFile, nil)
	pool, err := pgxpool.New(bounded(t), server.AdminURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	through := func(ns string) *session.Session {
		s, err := postgres.NewSession(bounded(t), pool, ns, nil)
		if err != nil {
			t.Fatal(err)
		}
		closing(t, s)
		return s
	}
	seen := map[string]string{}
	for what, s := range map[string]*session.Session{
		"the first password": a, "the second": b,
		"a long TTL":        openWith(t, namespace(t, "differ"), nil),
		"a short TTL":       openWith(t, namespace(t, "differ"), &session.Options{TTL: 3 * time.Second}),
		"a logger":          openWith(t, namespace(t, "differ"), &session.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}),
		"another namespace": openWith(t, namespace(t, "differ2"), nil),
		"a pool":            through("differ"),
		"its other half":    through("differ2"),
	} {
		inbox := postgres.Inbox(s.Store())
		if seen[inbox] != "" {
			t.Errorf("%s and %s share a connection", what, seen[inbox])
		}
		seen[inbox] = what
	}
	if c, d := through("differ"), through("differ"); postgres.Inbox(c.Store()) != postgres.Inbox(d.Store()) {
		t.Error("two sessions through a pool listen each for itself")
	}
}
