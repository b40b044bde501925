package session_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/memory"
)

// The context of a grant is done before its entry leaves, also for the second of
// two that release it.
func TestConcurrentReleasesEndTheContextFirst(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			ctx, st := patient(t), memory.NewStore()
			a, err := st.Session(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close(ctx)
			g, err := mutex.New(a, "x").Lock(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				go g.Release(ctx)
			}
			next, err := mutex.New(a, "x").Lock(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if g.Context().Err() == nil {
				t.Error("two live grants")
			}
			_ = next.Release(ctx)
		})
	}
}

// The lease of a store that has been away for longer than a TTL has expired: Close
// does not wait for it, whatever its context.
func TestCloseEndsWhileTheStoreIsAway(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for _, c := range []struct{ timeout, within time.Duration }{
			{0, 11 * time.Second}, {time.Second, time.Second}, {-1, 2 * time.Second},
		} {
			synctest.Test(t, func(t *testing.T) {
				st := memory.NewStore()
				s, err := st.Session(patient(t), &session.Options{TTL: 10 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				g, err := mutex.New(s, "x").Lock(patient(t))
				if err != nil {
					t.Fatal(err)
				}
				st.Cut(s)
				defer st.Heal(s)
				if lost {
					<-g.Context().Done()
					time.Sleep(time.Second)
				}
				ctx := context.Background()
				if c.timeout != 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.timeout)
					defer cancel()
				}
				start := time.Now()
				err = s.Close(ctx)
				if took := time.Since(start); took > c.within {
					t.Errorf("lost %v, timeout %v: Close took %v", lost, c.timeout, took)
				}
				if !lost && c.timeout > 0 && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("timeout %v: error %v", c.timeout, err)
				}
			})
		}
	}
}

// A further Close does not outlive its own context.
func TestSecondCloseIsBoundByItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := memory.NewStore().Session(patient(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan struct{})
		go mutex.New(s, "x").Do(patient(t), func(context.Context) error { <-end; return nil })
		synctest.Wait()
		first := make(chan error, 1)
		go func() { first <- s.Close(context.Background()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("second Close: %v", err)
		}
		close(end)
		if err := <-first; err != nil {
			t.Errorf("first Close: %v", err)
		}
	})
}

// A leader that stops soon after the end of signal.NotifyContext gives its
// leadership back, though Close is called with that context.
func TestGracefulShutdownHandsOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.NewStore()
		a, err := st.Session(patient(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := st.Session(patient(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close(context.Background())
		ctx, stop := context.WithCancel(patient(t))
		ran := make(chan error, 1)
		go func() {
			ran <- election.New(a, "x").Run(ctx, "a", func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(5 * time.Millisecond) // close a listener
				return ctx.Err()
			})
		}()
		synctest.Wait()
		stop()
		if err := a.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-ran; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		start := time.Now()
		term, err := election.New(b, "x").Campaign(patient(t), "b")
		if err != nil {
			t.Fatal(err)
		}
		defer term.Resign(context.Background())
		if took := time.Since(start); took > time.Second {
			t.Errorf("the next leader waited %v", took)
		}
	})
}

// Under a function that does not stop, the entry stays; what is only waited for
// is given back, also when its making is answered after Close began.
func TestCloseGivesBackWhatNoFunctionHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.NewStore()
		var hold atomic.Bool
		calls := func(ctx context.Context, op drivertest.Op, call func(context.Context) error) error {
			err := call(ctx)
			if op == drivertest.OpJoin && hold.Load() {
				<-ctx.Done() // the entry is made, and nobody hears of it
				return ctx.Err()
			}
			return err
		}
		s, err := session.New(patient(t), drivertest.Interpose(st.Connect(), calls), &session.Options{TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan struct{})
		defer close(end)
		go mutex.New(s, "busy").Do(patient(t), func(context.Context) error { <-end; return nil })
		synctest.Wait()
		hold.Store(true)
		go mutex.New(s, "x").Lock(patient(t))
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Close(ctx); err == nil {
			t.Error("Close does not say that a function is still running")
		}
		other := st.Connect()
		if entries, err := other.Read(patient(t), "x", 0); err != nil || len(entries.Entries) > 0 {
			t.Errorf("left behind: %v %v", entries, err)
		}
		if entries, err := other.Read(patient(t), "busy", 0); err != nil || len(entries.Entries) != 1 {
			t.Errorf("under a running function there should be an entry: %v %v", entries, err)
		}
	})
}

// However many places are to be given back, Close tries that for two seconds after its
// context has ended, and no longer.
func TestCloseThatIsOverdueTriesForAMomentInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.NewStore()
		s, err := st.Session(patient(t), &session.Options{TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b", "c"} {
			if _, err := mutex.New(s, name).Lock(patient(t)); err != nil {
				t.Fatal(err)
			}
		}
		end := make(chan struct{})
		defer close(end)
		go mutex.New(s, "busy").Do(patient(t), func(context.Context) error { <-end; return nil })
		synctest.Wait()
		st.Cut(s)
		defer st.Heal(s)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close returned %v", err)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}

// Close ends the lease, which is no loss, whoever notices first that it has ended.
func TestLeaseThatCloseEndsIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.NewStore()
		calls := func(ctx context.Context, op drivertest.Op, call func(context.Context) error) error {
			switch op {
			case drivertest.OpLeave:
				time.Sleep(time.Second) // until after the lease has ended
			case drivertest.OpRevoke:
				err := call(ctx)
				time.Sleep(time.Hour) // everybody has noticed
				return err
			}
			return call(ctx)
		}
		s, err := session.New(patient(t), drivertest.Interpose(st.Connect(), calls), &session.Options{TTL: 3 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		g, err := mutex.New(s, "x").Lock(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		released := make(chan error, 1)
		go func() {
			<-g.Context().Done()
			released <- g.Release(patient(t))
		}()
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-released; err != nil {
			t.Errorf("Release beside Close: %v", err)
		}
		if err := g.Check(); !errors.Is(err, session.ErrClosed) {
			t.Errorf("Check after Close: %v", err)
		}
	})
}

// What waits for the store's answer ends with the session.
func TestLeaderEndsWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.NewStore()
		s, err := st.Session(patient(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		st.Cut(s)
		defer st.Heal(s)
		answer := make(chan error, 1)
		go func() {
			_, err := election.New(s, "x").Leader(patient(t))
			answer <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Close(ctx)
		if err := <-answer; !errors.Is(err, session.ErrClosed) {
			t.Error(err)
		}
	})
}

// Nothing is asked of the store for a context that is done.
func TestDoneContextCostsNoRequest(t *testing.T) {
	var joins atomic.Int64
	calls := func(ctx context.Context, op drivertest.Op, call func(context.Context) error) error {
		if op == drivertest.OpJoin {
			joins.Add(1)
		}
		return call(ctx)
	}
	s, err := session.New(t.Context(), drivertest.Interpose(memory.NewStore().Connect(), calls), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := mutex.New(s, "x").Lock(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if joins.Load() != 0 {
		t.Error("Lock asked the store")
	}
}
