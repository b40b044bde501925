package zk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/memory"
	"github.com/fairlead-go/fairlead/session/zk"
)

// open opens a session under a path for the test alone, on the common server.
func open(t *testing.T) *session.Session {
	t.Helper()
	return openOn(t, connect(t, "zk://"+server.Addr()+prefix(t), nil, nil))
}

func openOn(t *testing.T, st driver.Store) *session.Session {
	t.Helper()
	s, err := session.New(bounded(t), st, &session.Options{TTL: 30 * time.Second, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A remembering store remembers the lease that it has granted first.
type remembering struct {
	driver.Store
	first driver.Lease
}

func (r *remembering) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	l, at, err := r.Store.Grant(ctx, spec)
	if r.first == nil {
		r.first = l
	}
	return l, at, err
}

func lock(t *testing.T, s *session.Session) *session.Grant {
	t.Helper()
	g, err := mutex.New(s, "ledger").Lock(bounded(t))
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

// A ledger is what a lock guards: a node that is none of a queue.
type ledger struct {
	hand
	node string
}

func newLedger(t *testing.T, h hand) ledger {
	h.make(prefix(t) + "-ledger")
	return ledger{h, prefix(t) + "-ledger"}
}

// write writes text if the guard passes.
func (l ledger) write(guard *gozk.CheckVersionRequest, text string) error {
	responses, err := l.Multi(guard, &gozk.SetDataRequest{Path: l.node, Data: []byte(text), Version: -1})
	if err != nil && (len(responses) != 2 || responses[0].Error != err) {
		l.t.Errorf("%v, but it was not the check that failed: %+v", err, responses)
	}
	return err
}

// holder and former try to write as one who holds, and one who does no longer.
func (l ledger) holder(g *session.Grant) {
	l.t.Helper()
	if err := l.write(zk.Guard(g), "holder"); err != nil {
		l.t.Errorf("the holder of %s %q: %v", g.Kind(), g.Name(), err)
	}
}

func (l ledger) former(guard *gozk.CheckVersionRequest, want error) {
	l.t.Helper()
	before, _, err := l.Get(l.node)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.write(guard, "former"); !errors.Is(err, want) {
		l.t.Errorf("a former holder: %v, want %v", err, want)
	}
	if now, _, err := l.Get(l.node); err != nil || string(now) != string(before) {
		l.t.Errorf("after a former holder has tried, %q is written, %v", now, err)
	}
}

func TestGuardedMultiOfEveryHolderIsCarriedOut(t *testing.T) {
	t.Parallel()
	s, l := open(t), newLedger(t, byHand(t, server.Addr(), ""))
	ctx := bounded(t)
	term, err := election.New(s, "election").Campaign(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	permits := semaphore.New(s, "semaphore", 2)
	first, err1 := permits.Acquire(ctx, 1)
	second, err2 := permits.Acquire(ctx, 1)
	reader, err3 := rwmutex.New(s, "readers").RLock(ctx)
	writer, err4 := rwmutex.New(s, "writer").Lock(ctx)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	grants := []*session.Grant{lock(t, s), term.Grant, first, second, reader, writer}
	for _, g := range grants {
		l.holder(g)
	}
	// What an entry says of itself may change, and its node's version with it.
	if err := term.Proclaim(ctx, "two"); err != nil {
		t.Fatal(err)
	}
	l.holder(term.Grant)
	for _, g := range grants {
		release(t, g)
		l.former(zk.Guard(g), gozk.ErrNoNode)
	}
}

func TestGuardedMultiOfAFormerHolderIsRefused(t *testing.T) {
	t.Parallel()
	for _, how := range []struct {
		name string
		end  func(t *testing.T, h hand, s *session.Session, l driver.Lease, g *session.Grant)
	}{
		{"released", func(t *testing.T, _ hand, _ *session.Session, _ driver.Lease, g *session.Grant) { release(t, g) }},
		{"session closed", func(t *testing.T, _ hand, s *session.Session, _ driver.Lease, _ *session.Grant) {
			if err := s.Close(bounded(t)); err != nil {
				t.Fatal(err)
			}
		}},
		{"session expired", func(t *testing.T, _ hand, _ *session.Session, l driver.Lease, _ *session.Grant) {
			id, password := zk.SessionOf(l)
			if err := zkserver.Expire(bounded(t), server.Addr(), id, password); err != nil {
				t.Fatal(err)
			}
		}},
		{"deleted", func(t *testing.T, h hand, _ *session.Session, _ driver.Lease, g *session.Grant) {
			if err := h.Delete(g.Key(), -1); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			h := byHand(t, server.Addr(), "")
			st := &remembering{Store: connect(t, "zk://"+server.Addr()+prefix(t), nil, nil)}
			old, next, l := openOn(t, st), open(t), newLedger(t, h)
			g := lock(t, old)
			guard := zk.Guard(g) // in a request that was made in time, and is on its way
			l.holder(g)
			how.end(t, h, old, st.first, g)
			successor := lock(t, next)
			l.former(guard, gozk.ErrNoNode)
			l.former(zk.Guard(g), gozk.ErrNoNode)
			l.holder(successor)
			release(t, successor)
			l.former(guard, gozk.ErrNoNode)
		})
	}
}

// Beside the reader that it has become others read.
func TestGuardOfAWriterEndsWithItsDowngrade(t *testing.T) {
	t.Parallel()
	s, l := open(t), newLedger(t, byHand(t, server.Addr(), ""))
	m := rwmutex.New(s, "ledger")
	w, err := m.Lock(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	guard := zk.Guard(w)
	l.holder(w)
	r, err := m.Downgrade(bounded(t), w)
	if err != nil {
		t.Fatal(err)
	}
	l.former(guard, gozk.ErrBadVersion)
	l.former(zk.Guard(w), gozk.ErrBadVersion)
	l.holder(r)
	release(t, r)
	l.former(guard, gozk.ErrNoNode)
	l.former(zk.Guard(r), gozk.ErrNoNode)
}

func TestGuardNeedsPermissionToReadTheEntry(t *testing.T) {
	t.Parallel()
	g := lock(t, openOn(t, connect(t, teamURL(t), nil, nil)))
	for who, h := range strangers(t) {
		if err := newLedger(t, h).write(zk.Guard(g), "x"); !errors.Is(err, gozk.ErrNoAuth) {
			t.Errorf("%s: %v", who, err)
		}
	}
	newLedger(t, byHand(t, server.Addr(), team)).holder(g)
	release(t, g)
}

func TestGuardOfAnotherStorePanics(t *testing.T) {
	t.Parallel()
	s, err := memory.NewStore().Session(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	g := lock(t, s)
	defer func() {
		if p := fmt.Sprint(recover()); !strings.HasPrefix(p, "zk: ") || !strings.Contains(p, g.Key()) {
			t.Errorf("Guard of a grant in memory: %s", p)
		}
		release(t, g)
	}()
	zk.Guard(g)
}
