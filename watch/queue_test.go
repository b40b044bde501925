package watch_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/memory"
	"github.com/fairlead-go/fairlead/watch"
)

// inBubble runs a test in virtual time, with a session.
func inBubble(t *testing.T, f func(t *testing.T, st *memory.Store, s *session.Session)) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.NewStore()
		s, err := st.Session(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		f(t, st, s)
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

func TestReadShowsWhatEachWaitsFor(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Store, s *session.Session) {
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		rw, sem := rwmutex.New(s, "rw"), semaphore.New(s, "sem", 3)
		acquire := func(n int64) func(context.Context) (*session.Grant, error) {
			return func(ctx context.Context) (*session.Grant, error) { return sem.Acquire(ctx, n) }
		}
		for _, acquire := range []func(context.Context) (*session.Grant, error){
			rw.RLock, rw.RLock, rw.Lock, rw.RLock, rw.RLock, rw.Lock,
			acquire(1), acquire(1), acquire(2), acquire(1),
		} {
			go func() { _, _ = acquire(ctx) }()
			synctest.Wait()
		}
		for name, want := range map[string]struct {
			holders int
			waitFor [][]int // by their places in the queue
		}{
			"rw":   {2, [][]int{{1}, {2}, {2}, {4}}},
			"sem":  {2, [][]int{{0, 1}, {2}}},
			"none": {},
		} {
			q, err := watch.Read(t.Context(), s, name)
			if err != nil || q.Name != name || len(q.Holders) != want.holders || len(q.Waiters) != len(want.waitFor) {
				t.Fatalf("%s is %+v, %v", name, q, err)
			}
			all := slices.Concat(q.Holders, q.Waiters)
			for i, places := range want.waitFor {
				var tokens []uint64
				for _, place := range places {
					tokens = append(tokens, all[place].Token)
				}
				if got := q.Waiters[i].WaitsFor; !slices.Equal(got, tokens) {
					t.Errorf("%s: waiter %d waits for %v, want %v", name, i, got, tokens)
				}
			}
		}
		if _, err := watch.Read(t.Context(), s, "a//b"); err == nil {
			t.Error("a bad name was read")
		}
	})
}

// Who is told that it waits can find itself in the queue.
func TestQueuedTellsWhoWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, st *memory.Store, s *session.Session) {
		other, err := st.Session(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var told []uint64
		m := mutex.NewWith(other, "m", &watch.Options{MaxWait: time.Hour, Queued: func(token uint64) { told = append(told, token) }})
		g, err := m.Lock(t.Context())
		if err != nil || len(told) != 0 {
			t.Fatalf("a turn that came at once: %v, told %v", err, told)
		}
		if err := g.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := mutex.New(s, "m").Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := m.Lock(context.WithoutCancel(t.Context()))
			done <- err
		}()
		for range 2 {
			synctest.Wait()
			q, err := watch.Read(t.Context(), s, "m")
			if err != nil || len(q.Waiters) != 1 || len(told) == 0 || q.Waiters[0].Token != told[len(told)-1] {
				t.Errorf("the queue is %+v, %v; told %v", q, err, told)
			}
			st.Expire(other) // and it joins again
			time.Sleep(time.Minute)
		}
		if err := other.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, session.ErrClosed) {
			t.Errorf("the wait ended with %v", err)
		}
		if len(told) < 2 || told[0] == told[1] {
			t.Errorf("told %v, want a token for each time that it joined", told)
		}
	})
}

// Who gives up on a store that does not answer is told what it said last.
func TestErrorOfAReadThatIsGivenUpSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("connection refused")
		calls := func(ctx context.Context, op drivertest.Op, call func(context.Context) error) error {
			if op == drivertest.OpRead || op == drivertest.OpList {
				return away
			}
			return call(ctx)
		}
		s, err := session.New(t.Context(), drivertest.Interpose(memory.NewStore().Connect(), calls), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(context.Background())
		for what, call := range map[string]func(ctx context.Context) error{
			"Read": func(ctx context.Context) error { _, err := watch.Read(ctx, s, "x"); return err },
			"List": func(ctx context.Context) error { _, err := watch.List(ctx, s, ""); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, away) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}
