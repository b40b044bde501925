package etcd_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/embed"
	"github.com/fairlead-go/fairlead/session/etcd"
)

// patience is how long tests wait for what has to happen.
const patience = 20 * time.Second

// server is what most tests run on.
var server *embed.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	// Fuzz targets need no server, whose goroutines would pass for coverage.
	if flag.Parse(); flag.Lookup("test.fuzz").Value.String() != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "fairlead-etcd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	server, err = embed.Start(context.Background(), embed.Config{Dir: dir, Logger: quiet, UnsafeNoFsync: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	server.Close()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

var quiet = slog.New(slog.DiscardHandler)

// start starts a server of a test's own.
func start(t *testing.T, cfg embed.Config) *embed.Server {
	t.Helper()
	cfg.Dir, cfg.Logger, cfg.UnsafeNoFsync = t.TempDir(), quiet, true
	s, err := embed.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// connect opens a store. link may be nil.
func connect(tb drivertest.TB, rawURL string, opts *session.Options, link *drivertest.Link, dial ...grpc.DialOption) driver.Store {
	tb.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	if opts == nil {
		opts = &session.Options{}
	}
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	if link != nil {
		dial = append(dial, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return link.Dial(ctx, "tcp", addr)
		}))
	}
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	st, err := etcd.OpenWith(ctx, u, opts, dial...)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return st
}

// raw returns a client of etcd's own.
func raw(t *testing.T, s *embed.Server, user, password string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"http://" + s.Addr()}, Username: user, Password: password, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A party is a lease in a store, and what a test does with it.
type party struct {
	driver.Lease
	t     *testing.T
	store driver.Store
}

// enter connects to the common server, under a prefix for the test alone, and
// obtains a lease there. link may be nil.
func enter(t *testing.T, link *drivertest.Link, dial ...grpc.DialOption) *party {
	t.Helper()
	return enterAt(t, server.Endpoint()+prefix(t), link, dial...)
}

func prefix(t *testing.T) string { return "/" + t.Name() }

func enterAt(t *testing.T, rawURL string, link *drivertest.Link, dial ...grpc.DialOption) *party {
	t.Helper()
	st := connect(t, rawURL, nil, link, dial...)
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	l, _, err := st.Grant(t.Context(), driver.Spec{TTL: 30 * time.Second, Identity: "party"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := l.Revoke(ctx); err != nil {
			t.Error(err)
		}
	})
	return &party{l, t, st}
}

func claim(name string) driver.Claim {
	var id [16]byte
	_, _ = rand.Read(id[:])
	return driver.Claim{Name: name, ID: hex.EncodeToString(id[:]), Kind: "mutex", Mode: driver.Exclusive}
}

func (p *party) join(name string) driver.View {
	p.t.Helper()
	v, err := p.Join(p.t.Context(), claim(name))
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

func (p *party) leave(e driver.Entry) {
	p.t.Helper()
	if err := p.Leave(p.t.Context(), e); err != nil {
		p.t.Fatal(err)
	}
}

// queue returns the tokens of a queue.
func (p *party) queue(name string) []uint64 {
	p.t.Helper()
	q, err := p.store.Read(p.t.Context(), name, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	return tokens(q.Entries)
}

func tokens(entries []driver.Entry) []uint64 {
	ts := []uint64{}
	for _, e := range entries {
		ts = append(ts, e.Token)
	}
	return ts
}

// wait starts a Wait for the nearest entry ahead. The channel it returns yields
// its end.
func (p *party) wait(v driver.View) <-chan waited {
	p.t.Helper()
	if len(v.Ahead) == 0 {
		p.t.Fatalf("nobody is ahead of token %d", v.Me.Token)
	}
	end := make(chan waited, 1)
	go func() {
		v, err := p.Wait(p.t.Context(), v, driver.Obstacles{Entries: v.Ahead[len(v.Ahead)-1:]})
		end <- waited{v, err}
	}()
	return end
}

type waited struct {
	view driver.View
	err  error
}

// over waits for the end of a Wait, which has to be a good one.
func over(t *testing.T, end <-chan waited) driver.View {
	t.Helper()
	select {
	case w := <-end:
		if w.err != nil {
			t.Fatal(w.err)
		}
		return w.view
	case <-time.After(patience):
		t.Fatalf("still waiting after %v", patience)
		return driver.View{}
	}
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

// put writes a key by hand, with a lease of its own unless that is 0.
func put(t *testing.T, c *clientv3.Client, key, value string, lease clientv3.LeaseID) {
	t.Helper()
	if _, err := c.Put(t.Context(), key, value, clientv3.WithLease(lease)); err != nil {
		t.Fatal(err)
	}
}

// leaseOf obtains a lease by hand.
func leaseOf(t *testing.T, c *clientv3.Client) clientv3.LeaseID {
	t.Helper()
	l, err := c.Grant(t.Context(), 30)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := c.Revoke(ctx, l.ID); err != nil {
			t.Error(err)
		}
	})
	return l.ID
}
