package etcd_test

import (
	"context"
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
func connect(tb drivertest.TB, rawURL string, opts *session.Options, link *drivertest.Link) driver.Store {
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
	var dial []grpc.DialOption
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
