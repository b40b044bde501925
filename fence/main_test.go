package fence_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/internal/pgserver"
)

// patience is how long tests wait for what has to happen.
const patience = 20 * time.Second

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	code := m.Run()
	if s, err := server(); err == nil {
		s.Close()
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// server is a PostgreSQL for those tests that need one.
var server = sync.OnceValues(func() (*pgserver.Server, error) {
	return pgserver.Start(pgserver.Config{NoSync: true})
})

// address returns the URL of a database.
func address(t *testing.T) string {
	t.Helper()
	s, err := server()
	if err != nil {
		t.Fatal(err)
	}
	return s.AdminURL("postgres")
}

// connect opens that database.
func connect(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", address(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// bounded is the test's context, with an end that comes before the test binary's.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until cond returns nil.
func eventually(t *testing.T, cond func() error) {
	t.Helper()
	var err error
	for begun := time.Now(); time.Since(begun) < patience; <-time.After(5 * time.Millisecond) {
		if err = cond(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// exec runs statements that have to succeed.
func exec(t *testing.T, db interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, query string, args ...any,
) {
	t.Helper()
	if _, err := db.ExecContext(bounded(t), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
