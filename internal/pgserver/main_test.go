package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/internal/process"
)

// orphanDir is set for a copy of the test binary that is to start a server in
// this directory, stop it if orphanStopped is set, tell its address and process
// id, and wait until it is killed.
const (
	orphanDir     = "PGSERVER_ORPHAN_DIR"
	orphanStopped = "PGSERVER_ORPHAN_STOPPED"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(orphanDir); dir != "" {
		s, err := Start(Config{Dir: dir, NoSync: true})
		if err == nil && os.Getenv(orphanStopped) != "" {
			err = s.Stop()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.Pid())
		select {}
	}
	goleak.VerifyTestMain(closing{m})
}

// closing closes the shared server after the tests.
type closing struct{ m *testing.M }

func (c closing) Run() int {
	code := c.m.Run()
	if shared.server != nil {
		shared.server.Close()
	}
	return code
}

// shared is a server for tests that do it no harm, if one has wanted it.
var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// share returns the shared server, which has user alice.
func share(t *testing.T) *Server {
	t.Helper()
	shared.once.Do(func() {
		if shared.server, shared.err = Start(quick()); shared.err == nil {
			shared.err = shared.server.CreateRole(bounded(t), "alice", "alice")
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// patience is a bound for what takes a moment, on a machine that is busy.
const patience = 30 * time.Second

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// quick is a configuration for tests that only look at the server.
func quick() Config { return Config{NoSync: true} }

func begin(t *testing.T, c Config) *Server {
	t.Helper()
	began := time.Now()
	s, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v", time.Since(began))
	finish(t, s)
	return s
}

// finish closes a server, or a bouncer, when the test has ended.
func finish(t *testing.T, s interface {
	Addr() string
	Log() string
	Close()
}) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", s.Addr(), s.Log())
		}
		s.Close()
	})
}

// connect opens a connection that the test closes when it has ended.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c, err := dial(t, url)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func dial(t *testing.T, url string) (*pgx.Conn, error) {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // a pooler does not bear prepared statements
	c, err := pgx.ConnectConfig(bounded(t), config)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = c.Close(ctx) // the server may be gone
	})
	return c, nil
}

func execute(t *testing.T, c *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := c.Exec(bounded(t), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// ask returns the one value that the query has.
func ask[T any](t *testing.T, c *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := c.QueryRow(bounded(t), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// refused checks that an error is the server's, with that SQLSTATE.
func refused(t *testing.T, what string, err error, state string) {
	t.Helper()
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != state {
		t.Errorf("%s: %v, want SQLSTATE %s", what, err, state)
	}
}

// addUser creates a user of that name, whose password is the name.
func addUser(t *testing.T, s *Server, name string) {
	t.Helper()
	if err := s.CreateRole(bounded(t), name, name); err != nil {
		t.Fatal(err)
	}
}

// until waits until what is to come has come.
func until(t *testing.T, what string, come func() bool) {
	t.Helper()
	ctx := bounded(t)
	tick := time.NewTicker(process.Poll)
	defer tick.Stop()
	for !come() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not after %v", what, patience)
		case <-tick.C:
		}
	}
}
