package zk_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/integration/proxy"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/zk"
)

const (
	// patience bounds everything that must happen, on a machine that may be busy.
	patience = 30 * time.Second

	// shortTTL leaves a session that a busy machine keeps up two seconds of trust.
	shortTTL = 4 * time.Second

	// longTTL is for sessions that are to outlive what is done to the servers.
	longTTL = 30 * time.Second
)

// bounded returns a context that ends with the test, or when patience does.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// withDeadline returns a context that ends after d.
func withDeadline(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// A site is a folder of an ensemble that one test has for itself.
type site struct {
	*place
	root string
}

// at makes a site. When the test ends, nothing may be left there: neither entries
// nor the folders for them.
func at(t *testing.T, p *place) *site {
	t.Helper()
	s := &site{p, "/" + strings.ReplaceAll(t.Name(), "/", "-")}
	t.Cleanup(func() {
		if !t.Failed() { // the first failure tells more
			s.nothingLeft(t)
		}
	})
	return s
}

func (s *site) nothingLeft(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := poll(ctx, func() error {
		left, err := s.tree(s.root)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("all sessions are closed, and there is left %s", strings.Join(left, ", "))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// tree returns the paths of a node and of all below it, none if it is not there.
func (s *site) tree(node string) ([]string, error) {
	names, err := s.children(node)
	if err != nil || names == nil {
		return nil, err
	}
	all := []string{node}
	for _, name := range names {
		below, err := s.tree(path.Join(node, name))
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

// children lists a node as it is now, wherever the admin is connected. It is nil
// where there is no node.
func (s *site) children(node string) ([]string, error) {
	if _, err := s.admin.Multi(&gozk.CheckVersionRequest{Path: "/", Version: -1}); err != nil { // it may lag behind
		return nil, err
	}
	names, _, err := s.admin.Children(node)
	if errors.Is(err, gozk.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return append([]string{}, names...), nil
}

// queued waits until a queue has n entries.
func (s *site) queued(t *testing.T, name string, n int) {
	t.Helper()
	eventually(t, func() error { return s.hasQueued(name, n) })
}

func (s *site) hasQueued(name string, n int) error {
	names, err := s.children(s.root + "/" + name)
	if err == nil && len(names) != n {
		err = fmt.Errorf("%d entries in queue %s, want %d: %v", len(names), name, n, names)
	}
	return err
}

// url is that of the site at the servers, host:port with commas between.
func (s *site) url(servers string) string { return "zk://" + servers + s.root }

// eventually waits until cond returns nil.
func eventually(t *testing.T, cond func() error) {
	t.Helper()
	if err := poll(bounded(t), cond); err != nil {
		t.Fatal(err)
	}
}

func poll(ctx context.Context, cond func() error) error {
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// options are for a session whose warnings would only be noise: its test breaks
// things on purpose.
func options(identity string, ttl time.Duration) *session.Options {
	return &session.Options{Identity: identity, TTL: ttl, Logger: slog.New(slog.DiscardHandler)}
}

// open opens a session with all servers and closes it when the test ends.
func (s *site) open(t *testing.T, identity string, ttl time.Duration) *session.Session {
	t.Helper()
	return s.openAt(t, s.ConnectString(), identity, ttl)
}

// openAt is open with some servers, or with proxies of theirs.
func (s *site) openAt(t *testing.T, servers, identity string, ttl time.Duration) *session.Session {
	t.Helper()
	o, err := session.Open(bounded(t), s.url(servers), options(identity, ttl))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSession(t, o) })
	return o
}

// openThrough is open with a network that can lose what the proxies cannot.
func (s *site) openThrough(t *testing.T, link *drivertest.Link, identity string, ttl time.Duration) *session.Session {
	t.Helper()
	u, err := url.Parse(s.url(s.ConnectString()))
	if err != nil {
		t.Fatal(err)
	}
	opts := options(identity, ttl)
	store, err := zk.OpenWith(bounded(t), u, opts, link.Dial)
	if err != nil {
		t.Fatal(err)
	}
	o, err := session.New(bounded(t), store, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSession(t, o) })
	return o
}

func closeSession(t *testing.T, s *session.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("close session %s: %v", s.Identity(), err)
	}
}

// A network is a proxy for each of the servers.
type network []*proxy.Proxy

// listen sets up a network between the ensemble and a client.
func (s *site) listen() (network, error) {
	var n network
	for _, server := range s.Servers() {
		p, err := proxy.Listen(server.Addr())
		if err != nil {
			_ = n.close()
			return nil, err
		}
		n = append(n, p)
	}
	return n, nil
}

// servers is what the client is given.
func (n network) servers() string {
	var addrs []string
	for _, p := range n {
		addrs = append(addrs, p.Addr())
	}
	return strings.Join(addrs, ",")
}

func (n network) each(f func(p *proxy.Proxy)) {
	for _, p := range n {
		f(p)
	}
}

func (n network) close() error {
	var errs []error
	n.each(func(p *proxy.Proxy) { errs = append(errs, p.Close()) })
	return errors.Join(errs...)
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

// stillHeld asks the store whether a grant is held, until it says so or the grant
// is lost: a question may meet a connection that is just lost, and tells so.
func stillHeld(t *testing.T, g *session.Grant) (held bool) {
	t.Helper()
	eventually(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := g.Confirm(ctx)
		if held = err == nil; errors.Is(err, session.ErrLost) {
			return nil
		}
		return err
	})
	return held
}
