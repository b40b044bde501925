package postgres_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/postgres"
)

// patience bounds what has to happen.
const patience = 20 * time.Second

// server is shared by the tests that do no harm to it.
var server *pgserver.Server

func TestMain(m *testing.M) {
	// Fuzz targets need no server, and would wait for one in each of their processes.
	if flag.Parse(); flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(m.Run())
	}
	var err error
	if server, err = pgserver.Start(pgserver.Config{NoSync: true}); err != nil {
		slog.Error("start PostgreSQL", "error", err)
		os.Exit(1)
	}
	code := m.Run()
	server.Close()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			slog.Error("goroutines are left", "error", err)
			code = 1
		}
	}
	os.Exit(code)
}

// bounded returns a context that ends when the test should have.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// connect makes a store through a link.
func connect(tb drivertest.TB, rawURL string, opts *session.Options, link *drivertest.Link) driver.Store {
	tb.Helper()
	st, err := dial(rawURL, opts, link)
	if err != nil {
		tb.Fatalf("connect to PostgreSQL: %v", err)
	}
	return st
}

func dial(rawURL string, opts *session.Options, link *drivertest.Link) (driver.Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if link == nil {
		return postgres.Open(ctx, u, opts)
	}
	return postgres.OpenWith(ctx, u, opts, link.Dial)
}

// refusedAtOnce checks that a URL is refused for good, with an error that says this.
func refusedAtOnce(t *testing.T, rawURL string, says ...string) {
	t.Helper()
	begun := time.Now()
	st, err := dial(rawURL, nil, nil)
	if err == nil {
		_ = st.Close()
	}
	if !driver.IsPermanent(err) {
		t.Errorf("%s: %v, want a permanent error", rawURL, err)
		return
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v\ndoes not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is in the error: %v", err)
	}
	if d := time.Since(begun); d > patience/2 {
		t.Errorf("it took %v", d)
	}
}

// with sets parameters of a URL.
func with(t testing.TB, rawURL string, pairs ...string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// namespace returns the URL of a namespace of the test's own, for the superuser.
func namespace(t testing.TB, ns string) string {
	return with(t, server.AdminURL("postgres"), "namespace", ns)
}

func execute(t testing.TB, sql string, args ...any) {
	t.Helper()
	if err := server.Exec(bounded(t), "postgres", sql, args...); err != nil {
		t.Fatal(err)
	}
}

// ask returns the answer to a query.
func ask[T any](t testing.TB, sql string, args ...any) (v T) {
	t.Helper()
	c := admin(t, server)
	if err := c.QueryRow(bounded(t), sql, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// admin connects the superuser.
func admin(t testing.TB, s *pgserver.Server) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(bounded(t), s.AdminURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// executor makes a namespace, and a user of the same name who may do what the
// package's documentation grants, and returns its URL.
func executor(t testing.TB, name string) string {
	t.Helper()
	if err := postgres.Migrate(bounded(t), namespace(t, name)); err != nil {
		t.Fatal(err)
	}
	return executorOf(t, name)
}

// executorOf is executor for a schema that is there.
func executorOf(t testing.TB, name string) string {
	t.Helper()
	if !ask[bool](t, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", name) { // go test -count
		if err := server.CreateRole(bounded(t), name, "secret"); err != nil {
			t.Fatal(err)
		}
	}
	execute(t, strings.NewReplacer("fairlead", name, "app", name).Replace(`
		GRANT USAGE ON SCHEMA fairlead TO app;
		GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA fairlead TO app;`))
	return server.URL(name, "secret", "postgres")
}

func bouncer(t testing.TB, mode, user string) *pgserver.Bouncer {
	t.Helper()
	b, err := pgserver.StartBouncer(server, mode, map[string]string{user: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// A party is a store and a lease on it.
type party struct {
	driver.Lease
	store driver.Store
	t     testing.TB
}

func enter(t testing.TB, rawURL string, ttl time.Duration, link *drivertest.Link) *party {
	t.Helper()
	st := connect(t, rawURL, &session.Options{TTL: ttl}, link)
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	l, _, err := st.Grant(bounded(t), driver.Spec{TTL: ttl, Identity: "party"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // most tests use the queue "q"
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = l.Revoke(ctx)
	})
	return &party{l, st, t}
}

func claim(name string) driver.Claim {
	return driver.Claim{Name: name, ID: randomText(), Kind: "mutex", Mode: driver.Exclusive}
}

func (p *party) join(name string) driver.View {
	p.t.Helper()
	v, err := p.Join(bounded(p.t), claim(name))
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

func (p *party) leave(e driver.Entry) {
	p.t.Helper()
	if err := p.Leave(bounded(p.t), e); err != nil {
		p.t.Fatal(err)
	}
}

func (p *party) queue(name string) []uint64 {
	p.t.Helper()
	q, err := p.store.Read(bounded(p.t), name, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	var tokens []uint64
	for _, e := range q.Entries {
		tokens = append(tokens, e.Token)
	}
	return tokens
}

var errAhead = errors.New("somebody is still ahead")

// waiting starts a Wait for the nearest ahead, and returns what it ends with.
func (p *party) waiting(v driver.View) <-chan error {
	p.t.Helper()
	if len(v.Ahead) == 0 {
		p.t.Fatalf("nobody is ahead of token %d", v.Me.Token)
	}
	ended := make(chan error, 1)
	ctx := bounded(p.t)
	go func() {
		on := driver.Obstacles{Entries: v.Ahead[len(v.Ahead)-1:]}
		next, err := p.Wait(ctx, v, on)
		if err == nil && len(next.Ahead) > 0 {
			err = errAhead
		}
		ended <- err
	}()
	return ended
}

// ends waits for a Wait to end well.
func ends(t testing.TB, ended <-chan error, within time.Duration) {
	t.Helper()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Wait: %v", err)
		}
	case <-time.After(within):
		t.Errorf("Wait has not ended within %v", within)
	}
}

// eventually waits until cond returns nil.
func eventually(t testing.TB, cond func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = cond(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// randomText is 32 hex digits.
func randomText() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// mustParse returns the session of a lease's ID.
func mustParse(t testing.TB, lease string) int64 {
	t.Helper()
	id, err := strconv.ParseInt(lease, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

var txDefault pgx.TxOptions
