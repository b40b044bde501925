package zk_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// start starts a server of a test's own.
func start(t *testing.T, c zkserver.Config) *zkserver.Server {
	t.Helper()
	c.NoSync = true
	s, err := zkserver.Start(c)
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

// bounded is the test's context, with an end that comes before the test binary's.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A hand is a client of the library's own, which does by hand what others may do.
type hand struct {
	*gozk.Conn
	t *testing.T
}

// byHand connects as "user:password", or as nobody.
func byHand(t *testing.T, addr, user string) hand {
	t.Helper()
	c, _, err := gozk.Connect([]string{addr}, 30*time.Second, gozk.WithLogger(silent{}), gozk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if user != "" {
		if err := c.AddAuth("digest", []byte(user)); err != nil {
			t.Fatal(err)
		}
	}
	return hand{c, t}
}

type silent struct{}

func (silent) Printf(string, ...any) {}

var world = gozk.WorldACL(gozk.PermAll)

// make makes a node and those above it.
func (h hand) make(dir string) {
	h.t.Helper()
	if dir == "/" {
		return
	}
	h.make(path.Dir(dir))
	if ok, _, err := h.Exists(dir); err != nil || !ok {
		h.put(dir, "", gozk.FlagPersistent)
	}
}

// put makes a node, whose name the server may add to, and which goes with the test.
func (h hand) put(name, data string, flags int32) string {
	h.t.Helper()
	made, err := h.Create(name, []byte(data), flags, world)
	if err != nil {
		h.t.Fatalf("create %s: %v", name, err)
	}
	if flags&gozk.FlagEphemeral == 0 {
		h.t.Cleanup(func() { _ = h.Delete(made, -1) }) // unless the test has, or others are in it
	}
	return made
}

// tree returns the paths below dir, and which of them have data or owners: what is
// more than an empty folder.
func (h hand) tree(dir string) (all, full []string) {
	h.t.Helper()
	names, _, err := h.Children(dir)
	if err == gozk.ErrNoNode {
		return nil, nil
	}
	if err != nil {
		h.t.Fatalf("list %s: %v", dir, err)
	}
	for _, name := range names {
		p := path.Join(dir, name)
		data, stat, err := h.Get(p)
		if err == gozk.ErrNoNode {
			continue
		}
		if err != nil {
			h.t.Fatalf("read %s: %v", p, err)
		}
		all = append(all, p)
		if len(data) > 0 || stat.EphemeralOwner != 0 {
			full = append(full, p)
		}
		below, fullBelow := h.tree(p)
		all, full = append(all, below...), append(full, fullBelow...)
	}
	return all, full
}

// A party is a lease in a store, and what a test does with it.
type party struct {
	driver.Lease
	t     *testing.T
	store driver.Store
}

// prefix is a path for this run of the test alone: what an earlier one has left may
// be reaped meanwhile.
func prefix(t *testing.T) string {
	p, _ := prefixes.LoadOrStore(t, fmt.Sprintf("/%s-%d", t.Name(), runs.Add(1)))
	return p.(string)
}

var (
	prefixes sync.Map // by *testing.T
	runs     atomic.Int32
)

// enter connects to the common server, under a prefix for the test alone, and
// obtains a lease there. link may be nil.
func enter(t *testing.T, link *drivertest.Link) *party {
	t.Helper()
	return enterAt(t, "zk://"+server.Addr()+prefix(t), nil, link)
}

func enterAt(t *testing.T, rawURL string, opts *session.Options, link *drivertest.Link) *party {
	t.Helper()
	st := connect(t, rawURL, opts, link)
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	l, _, err := st.Grant(bounded(t), driver.Spec{TTL: 30 * time.Second, Identity: "party"})
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

// permit is the claim of one of so many permits of "q".
func permit(limit int64) driver.Claim {
	c := claim("q")
	c.Kind, c.Mode, c.Limit, c.Value = "semaphore", driver.Permit, limit, "1"
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

// queue returns the tokens of a queue.
func (p *party) queue(name string) []uint64 {
	p.t.Helper()
	q, err := p.store.Read(bounded(p.t), name, 0)
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
	for begun := time.Now(); time.Since(begun) < patience; <-time.After(10 * time.Millisecond) {
		if err = cond(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func errOf[T any](_ T, err error) error { return err }
