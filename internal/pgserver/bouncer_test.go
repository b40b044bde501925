package pgserver

import (
	"errors"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/fairlead-go/fairlead/internal/cert"
)

// bounce starts a bouncer for user alice, whom the server has.
func bounce(t *testing.T, s *Server, mode string) *Bouncer {
	t.Helper()
	b, err := StartBouncer(s, mode, map[string]string{"alice": "alice"})
	if err != nil {
		t.Fatal(err)
	}
	finish(t, b)
	return b
}

// alice connects, and returns where notifications are counted by channel, too.
// They are counted while something is asked.
func alice(t *testing.T, b *Bouncer) (*pgx.Conn, map[string]int) {
	t.Helper()
	config, err := pgx.ParseConfig(b.URL("alice", "alice", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	heard := make(map[string]int) // of one goroutine: pgx calls back from what it is called for
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { heard[n.Channel]++ }
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	c, err := pgx.ConnectConfig(bounded(t), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(bounded(t)) })
	return c, heard
}

const whichSession = "select pg_backend_pid()"

// What is heard is heard by whoever has the server's connection at that moment.
func TestTransactionPoolingLosesNotifications(t *testing.T) {
	t.Parallel()
	s := share(t)
	b := bounce(t, s, PoolTransaction)
	listener, heard := alice(t, b)
	execute(t, listener, "listen news")
	session := ask[int](t, listener, whichSession)

	other, overheard := alice(t, b)
	execute(t, other, "begin")
	if got := ask[int](t, other, whichSession); got != session {
		t.Fatalf("the other client has session %d, the listener had %d", got, session)
	}
	if err := s.Exec(bounded(t), "postgres", "notify news"); err != nil {
		t.Fatal(err)
	}
	execute(t, other, "commit") // the session tells what it has heard before it answers
	execute(t, listener, "select 1")
	if got := ask[int](t, listener, whichSession); got != session {
		t.Fatalf("the listener has session %d, and had %d", got, session)
	}
	if heard["news"] != 0 || overheard["news"] != 1 {
		t.Errorf("who listens hears %v, who does not hears %v", heard, overheard)
	}
}

func TestSessionPoolingKeepsNotifications(t *testing.T) {
	t.Parallel()
	s := share(t)
	b := bounce(t, s, PoolSession)
	listener := connect(t, b.URL("alice", "alice", "postgres"))
	execute(t, listener, "listen tidings")
	connect(t, b.URL("alice", "alice", "postgres")) // gets another session
	if err := s.Exec(bounded(t), "postgres", "notify tidings"); err != nil {
		t.Fatal(err)
	}
	if n, err := listener.WaitForNotification(bounded(t)); err != nil || n.Channel != "tidings" {
		t.Errorf("the listener hears %v, %v", n, err)
	}
}

func TestAKilledBouncerComesBack(t *testing.T) {
	t.Parallel()
	b := bounce(t, share(t), PoolTransaction)
	conn, addr := connect(t, b.URL("alice", "alice", "postgres")), b.Addr()
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(bounded(t)); err == nil {
		t.Error("a connection outlives a killed bouncer")
	}
	if err := b.Kill(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Kill() of a dead bouncer = %v, want %v", err, os.ErrProcessDone)
	}
	if err := b.Restart(); err != nil {
		t.Fatal(err)
	}
	if b.Addr() != addr {
		t.Errorf("it is at %s now, and was at %s", b.Addr(), addr)
	}
	connect(t, b.URL("alice", "alice", "postgres"))
	b.Close()
	if _, err := os.Stat(b.place.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is there after Close: %v", err)
	}
	b.Close()
}

func TestABouncerFindsItsServerAgain(t *testing.T) {
	t.Parallel()
	s := begin(t, quick())
	addUser(t, s, "alice")
	b := bounce(t, s, PoolTransaction)
	connect(t, b.URL("alice", "alice", "postgres"))
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "the bouncer has found the server", func() bool {
		c, err := dial(t, b.URL("alice", "alice", "postgres"))
		return err == nil && c.Ping(bounded(t)) == nil
	})
}

func TestABouncerChecksPasswords(t *testing.T) {
	t.Parallel()
	b := bounce(t, share(t), PoolTransaction)
	_, err := dial(t, b.URL("alice", "wrong", "postgres"))
	refused(t, "a wrong password", err, "08P01") // pgbouncer knows no finer one
	_, err = dial(t, b.URL("bob", "bob", "postgres"))
	refused(t, "an unknown user", err, "08P01")
}

func TestABouncerSpeaksTLSToTheServer(t *testing.T) {
	t.Parallel()
	ca := cert.NewKit(t)
	c := quick()
	c.TLS = &TLS{Cert: ca.Server.Cert, Key: ca.Server.Key}
	s := begin(t, c)
	addUser(t, s, "alice")
	b := bounce(t, s, PoolTransaction)
	conn := connect(t, b.URL("alice", "alice", "postgres"))
	if !ask[bool](t, conn, "select ssl from pg_stat_ssl where pid = pg_backend_pid()") {
		t.Error("the bouncer's connection to the server is without TLS")
	}
}

func TestABouncerThatCannotBeIsNotStarted(t *testing.T) {
	t.Parallel()
	s := &Server{}
	if _, err := StartBouncer(s, "statement", nil); err == nil {
		t.Error("there is no error for an unknown mode")
	}
	if _, err := StartBouncer(s, PoolSession, map[string]string{"pgbouncer": "x"}); err == nil {
		t.Error("there is no error for a user that is the bouncer's own")
	}
	s.config.TLS = &TLS{CA: "ca.pem"}
	if _, err := StartBouncer(s, PoolSession, nil); err == nil {
		t.Error("there is no error for a server that wants a certificate")
	}
}
