package redis_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/redis"
)

// longTTL is for leases that are to outlive what is done to the server.
const longTTL = 30 * time.Second

// start starts a server of a test's own, with the suite's user.
func start(t *testing.T, c redisserver.Config) *redisserver.Server {
	t.Helper()
	if c.Users == nil {
		c.Users = []string{rules(redis.DefaultNamespace)}
	}
	s, err := redisserver.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the server:\n%s", s.Log())
		}
		s.Close()
	})
	return s
}

// startWarm starts a server as if somebody had come before and gone.
func startWarm(t *testing.T, c redisserver.Config) *redisserver.Server {
	t.Helper()
	s := start(t, c)
	warm(t, s, redis.DefaultNamespace)
	return s
}

// warm has a server know what was in a namespace, which is nothing: so it grants at once.
func warm(t *testing.T, s *redisserver.Server, namespace string) {
	t.Helper()
	do(t, s, "HSET", "{"+namespace+"}:guard", "run", life(t, s), "quiet", "0", "ttl", "0", "blank", "0")
}

// life is what sessions call the present run of a server.
func life(t *testing.T, s *redisserver.Server) string {
	t.Helper()
	run, err := s.RunID(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(bounded(t), "replication")
	if err != nil {
		t.Fatal(err)
	}
	return run + "-" + info["master_replid2"]
}

// bounded is the test's context, with an end that comes before the test binary's.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
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

// calls is how often a server has run a command.
func calls(t *testing.T, s *redisserver.Server, command string) int {
	t.Helper()
	info, err := s.Info(bounded(t), "commandstats")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(strings.TrimPrefix(info["cmdstat_"+command], "calls="), ",")
	n, _ := strconv.Atoi(text)
	return n
}

// A party is a lease in a store, and what a test does with it.
type party struct {
	driver.Lease
	t     *testing.T
	store driver.Store
}

// enter connects to a server and obtains a lease there. link may be nil.
func enter(t *testing.T, s *redisserver.Server, link *drivertest.Link) *party {
	t.Helper()
	return enterAt(t, serverURL(s, ""), longTTL, link)
}

// enterAt is enter with a URL, and for so long.
func enterAt(t *testing.T, rawURL string, ttl time.Duration, link *drivertest.Link) *party {
	t.Helper()
	return begin(t, dial(t, rawURL, link), ttl)
}

// dial opens a store until the test ends.
func dial(t *testing.T, rawURL string, link *drivertest.Link) driver.Store {
	t.Helper()
	st := connect(t, rawURL, nil, link)
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// begin begins a session in a store. When the test ends it may be over already, and
// the server be dead.
func begin(t *testing.T, st driver.Store, ttl time.Duration) *party {
	t.Helper()
	l, _, err := st.Grant(bounded(t), driver.Spec{TTL: ttl, Identity: "party"})
	if err != nil {
		t.Fatal(err)
	}
	return &party{l, t, st}
}

func claim(name string) driver.Claim {
	var id [16]byte
	_, _ = rand.Read(id[:])
	return driver.Claim{Name: name, ID: hex.EncodeToString(id[:]), Kind: "mutex", Mode: driver.Exclusive}
}

func permit(name string, limit int64) driver.Claim {
	c := claim(name)
	c.Kind, c.Mode, c.Limit = "semaphore", driver.Permit, limit
	return c
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

// wait starts a Wait for the nearest entry ahead. The channel it returns yields its
// end.
func (p *party) wait(v driver.View) <-chan waited {
	p.t.Helper()
	if len(v.Ahead) == 0 {
		p.t.Fatalf("nobody is ahead of %s", v.Me.Key)
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
	w := ended(t, end)
	if w.err != nil {
		t.Fatal(w.err)
	}
	return w.view
}

// ended waits for whatever end.
func ended(t *testing.T, end <-chan waited) waited {
	t.Helper()
	select {
	case w := <-end:
		return w
	case <-time.After(patience):
		t.Fatalf("still waiting after %v", patience)
		return waited{}
	}
}

// eventually waits until cond returns nil.
func eventually(t *testing.T, cond func() error) {
	t.Helper()
	var err error
	for begun := time.Now(); time.Since(begun) < patience; <-time.After(10 * time.Millisecond) {
		if err = cond(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func errOf[T any](_ T, err error) error { return err }

// open opens a session, and closes it when the test ends.
func open(t *testing.T, rawURL, identity string, ttl time.Duration) *session.Session {
	t.Helper()
	s, err := session.Open(bounded(t), rawURL, &session.Options{TTL: ttl, Identity: identity, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close session %s: %v", identity, err)
		}
	})
	return s
}

func lock(t *testing.T, s *session.Session, name string) *session.Grant {
	t.Helper()
	g, err := mutex.New(s, name).Lock(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A turn is a grant, and when it came.
type turn struct {
	grant *session.Grant
	at    time.Time
	err   error
}

// locking starts a Lock.
func locking(t *testing.T, s *session.Session, name string) <-chan turn {
	t.Helper()
	ctx, turns := bounded(t), make(chan turn, 1)
	go func() {
		g, err := mutex.New(s, name).Lock(ctx)
		turns <- turn{g, time.Now(), err}
	}()
	return turns
}

// taken waits for a Lock, which has to succeed.
func taken(t *testing.T, turns <-chan turn) turn {
	t.Helper()
	select {
	case r := <-turns:
		if r.err != nil {
			t.Fatal(r.err)
		}
		return r
	case <-time.After(patience):
		t.Fatalf("still waiting after %v", patience)
		return turn{}
	}
}

// loss tells when a grant ends.
func loss(g *session.Grant) <-chan time.Time {
	lost := make(chan time.Time, 1)
	context.AfterFunc(g.Context(), func() { lost <- time.Now() })
	return lost
}

// queued waits until a queue has n entries.
func queued(t *testing.T, s *redisserver.Server, name string, n int64) {
	t.Helper()
	eventually(t, func() error {
		if got := do(t, s, "ZCARD", "{fairlead}:q:"+name); got != n {
			return fmt.Errorf("%v entries in queue %s, want %d", got, name, n)
		}
		return nil
	})
}
