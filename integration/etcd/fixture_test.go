package etcd_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/fairlead-go/fairlead/integration/proxy"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	_ "github.com/fairlead-go/fairlead/session/etcd"
)

const (
	// patience bounds everything that must happen, on a machine that may be busy.
	patience = 30 * time.Second

	// shortTTL is the smallest that etcd grants.
	shortTTL = 2 * time.Second
)

// bounded returns a context that ends with the test, or when patience does.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// nameFor returns a name that no other test uses.
func nameFor(t *testing.T) string {
	return "integration/" + strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())
}

// quiet are options for a session whose warnings would only be noise: its test
// breaks things on purpose.
func quiet(identity string, ttl time.Duration) *session.Options {
	return &session.Options{Identity: identity, TTL: ttl, Logger: slog.New(slog.DiscardHandler)}
}

// open opens a session at addr and closes it when the test ends.
func open(t *testing.T, addr string, opts *session.Options) *session.Session {
	t.Helper()
	s, err := session.Open(bounded(t), "etcd://"+addr, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSession(t, s) })
	return s
}

func closeSession(t *testing.T, s *session.Session) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("close session %s: %v", s.Identity(), err)
	}
}

// behindProxy puts a proxy in front of addr.
func behindProxy(t *testing.T, addr string) *proxy.Proxy {
	t.Helper()
	p, err := proxy.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// startServer starts a server for this test alone.
func startServer(t *testing.T) *site {
	t.Helper()
	s, err := newSite(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

// compact discards everything but the present state: whoever watches from a
// revision of before learns what a compaction is.
func (s *site) compact(ctx context.Context, t *testing.T) {
	t.Helper()
	r, err := s.admin.Put(ctx, "compacted", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.Compact(ctx, r.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// foreignSession opens a session of etcd's own client library.
func foreignSession(t *testing.T) *concurrency.Session {
	t.Helper()
	s, err := concurrency.NewSession(shared.admin, concurrency.WithTTL(30))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close a session of the concurrency package: %v", err)
		}
	})
	return s
}

// queue returns the keys of a queue, in order, whoever made them.
func queue(ctx context.Context, client *clientv3.Client, name string) ([]string, error) {
	r, err := client.Get(ctx, name+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly(),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, kv := range r.Kvs {
		keys = append(keys, string(kv.Key))
	}
	return keys, nil
}

// queued waits until the queue on the shared server has n entries.
func queued(t *testing.T, name string, n int) {
	t.Helper()
	queuedAt(t, shared.admin, name, n)
}

// queuedAt is queued for another server.
func queuedAt(t *testing.T, client *clientv3.Client, name string, n int) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		keys, err := queue(ctx, client, name)
		if err == nil && len(keys) != n {
			err = fmt.Errorf("%d entries in queue %s, want %d: %v", len(keys), name, n, keys)
		}
		return err
	})
}

// eventually waits until cond returns nil.
func eventually(t *testing.T, cond func(ctx context.Context) error) {
	t.Helper()
	ctx := bounded(t)
	for {
		err := cond(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// A call runs beside the test.
type call[T any] struct {
	done chan struct{}
	v    T
	err  error
}

// begin starts a call.
func begin[T any](f func() (T, error)) *call[T] {
	c := &call[T]{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.v, c.err = f()
	}()
	return c
}

// locking starts a Lock.
func locking(ctx context.Context, s *session.Session, name string) *call[*session.Grant] {
	return begin(func() (*session.Grant, error) { return mutex.New(s, name).Lock(ctx) })
}

// must waits for the call, which has to succeed.
func (c *call[T]) must(t *testing.T) T {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		t.Fatalf("still waiting after %v", patience)
	}
	if c.err != nil {
		t.Fatal(c.err)
	}
	return c.v
}

// pending fails the test when the call has ended already.
func (c *call[T]) pending(t *testing.T) {
	t.Helper()
	select {
	case <-c.done:
		t.Fatalf("ended too early: %v, %v", c.v, c.err)
	default:
	}
}

func lock(t *testing.T, s *session.Session, name string) *session.Grant {
	t.Helper()
	g, err := mutex.New(s, name).Lock(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func release(t *testing.T, g *session.Grant) {
	t.Helper()
	if err := g.Release(bounded(t)); err != nil {
		t.Fatal(err)
	}
}
