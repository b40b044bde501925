package session_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A slowStore answers late: the request takes effect at once, its reply is held
// back.
type slowStore struct {
	driver.Store
	first time.Duration // of Grant
	delay atomic.Int64  // of the rest, a time.Duration
}

func (s *slowStore) Unwrap() driver.Store { return s.Store }

func late(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slowStore) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	l, sent, err := s.Store.Grant(ctx, spec)
	return &slowLease{l, s}, sent, errors.Join(err, late(ctx, s.first))
}

type slowLease struct {
	driver.Lease
	s *slowStore
}

func (l *slowLease) Renew(ctx context.Context) error {
	err := l.Lease.Renew(ctx)
	return errors.Join(err, late(ctx, time.Duration(l.s.delay.Load())))
}

func (l *slowLease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	v, err := l.Lease.Join(ctx, c)
	return v, errors.Join(err, late(ctx, time.Duration(l.s.delay.Load())))
}

// patient is a context that a test which hangs in virtual time ends with.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	t.Cleanup(cancel)
	return ctx
}

func openSlow(t *testing.T, st *memory.Store, delay time.Duration, opts *session.Options) (*session.Session, *slowStore) {
	t.Helper()
	slow := &slowStore{Store: st.Connect(), first: delay}
	slow.delay.Store(int64(delay))
	s, err := session.New(patient(t), slow, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s, slow
}

// Two replies of a second each fit into a TTL of two only if a renewal is on its
// way before the one before it was answered.
func TestSlowRepliesDoNotCostTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := openSlow(t, memory.NewStore(), time.Second, &session.Options{TTL: 2 * time.Second})
		defer s.Close(context.Background())
		g, err := mutex.New(s, "x").Lock(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := g.Check(); err != nil {
			t.Fatal(err)
		}
		if err := g.Release(patient(t)); err != nil {
			t.Fatal(err)
		}
	})
}

// The holder's context is done before the store can expire the lease, also when
// the last replies took long: trust counts from when a request was sent.
func TestLossIsSeenBeforeTheStoreExpiresTheLease(t *testing.T) {
	for _, delay := range []time.Duration{0, 300 * time.Millisecond, time.Second} {
		for cutAfter := time.Duration(0); cutAfter < 2*time.Second; cutAfter += 77 * time.Millisecond {
			synctest.Test(t, func(t *testing.T) { lossBeforeExpiry(t, delay, cutAfter) })
		}
	}
}

func lossBeforeExpiry(t *testing.T, delay, cutAfter time.Duration) {
	st := memory.NewStore()
	a, _ := openSlow(t, st, delay, &session.Options{TTL: 2 * time.Second})
	b, err := st.Session(patient(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	defer a.Close(context.Background())
	g, err := mutex.New(a, "x").Lock(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(cutAfter)
	st.Cut(a)
	defer st.Heal(a)
	next, err := mutex.New(b, "x").Lock(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Release(context.Background())
	select {
	case <-g.Context().Done():
	default:
		t.Fatalf("delay %v, cut after %v: the next holder has the lock and the last one does not know", delay, cutAfter)
	}
	if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrLost) {
		t.Fatalf("cause %v", cause)
	}
}

// An answer that arrives after the window has closed does not open it again.
func TestWindowThatClosedStaysClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, slow := openSlow(t, memory.NewStore(), 0, &session.Options{TTL: 10 * time.Second})
		defer s.Close(context.Background())
		g, err := mutex.New(s, "x").Lock(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		slow.delay.Store(int64(9 * time.Second)) // more than the window, less than the TTL
		<-g.Context().Done()
		slow.delay.Store(0)
		time.Sleep(time.Minute)
		if err := g.Check(); !errors.Is(err, session.ErrLost) {
			t.Fatalf("after the loss Check says %v", err)
		}
		if err := g.Release(patient(t)); !errors.Is(err, session.ErrLost) {
			t.Fatalf("after the loss Release says %v", err)
		}
		next, err := mutex.New(s, "x").Lock(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := next.Release(patient(t)); err != nil {
			t.Fatal(err)
		}
	})
}

// A lease that we gave up too early is revoked once the store can be reached, so
// nobody waits for its entries.
func TestLeftoversOfALostLeaseAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.NewStore()
		s, slow := openSlow(t, st, 0, &session.Options{TTL: time.Hour, Margin: 30 * time.Minute})
		defer s.Close(context.Background())
		g, err := mutex.New(s, "x").Lock(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		slow.delay.Store(int64(31 * time.Minute)) // the store renews, we do not hear of it in time
		<-g.Context().Done()
		slow.delay.Store(0)
		if err := g.Release(patient(t)); !errors.Is(err, session.ErrLost) { // it has stopped
			t.Fatal(err)
		}
		start := time.Now()
		next, err := mutex.New(s, "x").Lock(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		defer next.Release(context.Background())
		if waited := time.Since(start); waited > time.Minute {
			t.Fatalf("waited %v for an entry of our own", waited)
		}
	})
}

// Deadline moves with each renewal, and is never further than TTL - Margin away.
func TestDeadlineMovesWithRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := openSlow(t, memory.NewStore(), 0, &session.Options{TTL: 10 * time.Second})
		defer s.Close(context.Background())
		g, err := mutex.New(s, "x").Lock(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Release(context.Background())
		first := g.Deadline()
		for range 100 {
			time.Sleep(time.Second)
			if left := time.Until(g.Deadline()); left <= 0 || left > 8*time.Second {
				t.Fatalf("%v left", left)
			}
		}
		if !g.Deadline().After(first) {
			t.Fatal("the deadline did not move")
		}
	})
}
