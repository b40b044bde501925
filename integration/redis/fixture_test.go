package redis_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/redis"
)

const (
	// patience bounds everything that must happen, on a machine that may be busy.
	patience = 30 * time.Second

	// shortTTL leaves a session that a busy machine keeps up two seconds of trust.
	shortTTL = 3 * time.Second

	// longTTL is for sessions that are to outlive what is done to the servers.
	longTTL = 30 * time.Second

	// rounding is what the servers' milliseconds leave out.
	rounding = time.Millisecond
)

// bounded returns a context that ends with the test, or when patience does.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// pairOf starts a primary and a replica of a test's own, with so many sentinels. Somebody
// has been there before, so that the first session begins at once.
func pairOf(t *testing.T, sentinels int) *redisserver.Replicated {
	t.Helper()
	r, err := redisserver.StartReplicated(config(), sentinels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, s := range r.Servers() {
				t.Logf("log of %s:\n%s", s.Addr(), s.Log())
			}
		}
		r.Close()
	})
	welcome(t, r.Servers()[0])
	return r
}

// welcome has a server be sure that nobody was there before.
func welcome(t *testing.T, s *redisserver.Server) {
	t.Helper()
	run, err := s.RunID(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(bounded(t), "replication")
	if err != nil {
		t.Fatal(err)
	}
	do(t, s, "HSET", "{fairlead}:guard", "run", run+"-"+info["master_replid2"], "quiet", "0", "ttl", "0", "blank", "0")
}

// do sends a server a command as somebody who may do everything.
func do(t *testing.T, s *redisserver.Server, words ...string) any {
	t.Helper()
	answer, err := s.Do(bounded(t), words...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// follow has a server replicate from another, in whose name it knows how to log in.
func follow(t *testing.T, s, primary *redisserver.Server) {
	t.Helper()
	host, port, err := net.SplitHostPort(primary.Addr())
	if err != nil {
		t.Fatal(err)
	}
	do(t, s, "REPLICAOF", host, port)
	eventually(t, func() error {
		info, err := s.Info(bounded(t), "replication")
		if err == nil && info["master_link_status"] != "up" {
			err = errors.New("the replica is not connected")
		}
		return err
	})
}

// promote makes a replica a primary, as an operator may, of which nobody else is told.
func promote(t *testing.T, s *redisserver.Server) {
	t.Helper()
	do(t, s, "REPLICAOF", "NO", "ONE")
}

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

// options are for a session whose warnings would only be noise: its test breaks things
// on purpose.
func options(identity string, ttl time.Duration) *session.Options {
	return &session.Options{Identity: identity, TTL: ttl, Logger: slog.New(slog.DiscardHandler)}
}

// connect opens a store, through a link if there is one.
func connect(tb drivertest.TB, rawURL string, link *drivertest.Link) driver.Store {
	tb.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	dial := (&net.Dialer{}).DialContext
	if link != nil {
		dial = link.Dial
	}
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	st, err := redis.OpenWith(ctx, u, options("", 0), dial)
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	return st
}

// open opens a session and closes it when the test ends.
func open(t *testing.T, rawURL, identity string, ttl time.Duration) *session.Session {
	t.Helper()
	s, err := session.Open(bounded(t), rawURL, options(identity, ttl))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSession(t, s) })
	return s
}

func closeSession(t *testing.T, s *session.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("close session %s: %v", s.Identity(), err)
	}
}

// queued waits until a queue of the server's has n entries.
func queued(t *testing.T, s *redisserver.Server, name string, n int64) {
	t.Helper()
	eventually(t, func() error { return hasQueued(bounded(t), s, name, n) })
}

func hasQueued(ctx context.Context, s *redisserver.Server, name string, n int64) error {
	got, err := s.Do(ctx, "ZCARD", "{fairlead}:q:"+name)
	if err == nil && got != n {
		err = fmt.Errorf("%v entries in queue %s, want %d", got, name, n)
	}
	return err
}

// A room is what the lock of one name protects: whoever comes in has a higher token than
// all before, and finds nobody who has not left or been told to.
type room struct {
	mu      sync.Mutex
	inside  []*session.Grant
	since   []time.Time
	trouble []error
}

func (r *room) enter(g *session.Grant) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.inside {
		if other.Context().Err() == nil {
			r.trouble = append(r.trouble, fmt.Errorf("token %d was granted while %d is held", g.Token(), other.Token()))
		}
		if other.Token() >= g.Token() {
			r.trouble = append(r.trouble, fmt.Errorf("token %d was granted after %d", g.Token(), other.Token()))
		}
	}
	r.inside, r.since = append(r.inside, g), append(r.since, now)
}

// visited checks that so many came in, and none at a wrong time.
func (r *room) visited(t *testing.T, times int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := errors.Join(r.trouble...); err != nil {
		t.Error(err)
	}
	if len(r.inside) != times {
		t.Errorf("%d came in, want %d", len(r.inside), times)
	}
}

// notBefore checks that nobody but the first came in before then.
func (r *room) notBefore(t *testing.T, then time.Time) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, at := range r.since[1:] {
		if early := then.Sub(at); early > rounding {
			t.Errorf("the %d. that came in did so %v too early", i+2, early)
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

// visiting starts a Lock that comes in, and leaves at once.
func (r *room) visiting(ctx context.Context, s *session.Session, name string) *call[*session.Grant] {
	return begin(func() (*session.Grant, error) {
		g, err := mutex.New(s, name).Lock(ctx)
		if err != nil {
			return nil, err
		}
		r.enter(g)
		if err := g.Release(ctx); err != nil && !errors.Is(err, session.ErrLost) {
			return nil, err
		}
		return g, nil
	})
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

// mustBeLost waits for the end of a grant, which has to be a loss.
func mustBeLost(t *testing.T, g *session.Grant) {
	t.Helper()
	select {
	case <-g.Context().Done():
	case <-time.After(patience):
		t.Fatalf("after %v the holder knows of no loss", patience)
	}
	if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrLost) {
		t.Errorf("the grant ended with cause %v, want ErrLost", cause)
	}
}

func claim(name string) driver.Claim {
	var id [16]byte
	_, _ = rand.Read(id[:])
	return driver.Claim{Name: name, ID: hex.EncodeToString(id[:]), Kind: "mutex", Mode: driver.Exclusive}
}
