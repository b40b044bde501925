package mutex_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
	"github.com/fairlead-go/fairlead/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A stage is a store and ways to ask for its lock x, in a bubble of virtual time.
type stage struct {
	t   *testing.T
	ctx context.Context
	st  *memory.Store
}

func play(t *testing.T, f func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		f(&stage{t, ctx, memory.NewStore()})
	})
}

// session opens one that is closed at the end, when nothing may be left in the queue.
func (s *stage) session(identity string) *session.Session {
	s.t.Helper()
	v, err := s.st.Session(s.ctx, &session.Options{TTL: 10 * time.Second, Identity: identity, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = v.Close(context.Background()) })
	return v
}

func handing(s *session.Session, n int) *mutex.Mutex {
	return mutex.NewWith(s, "x", &mutex.Options{LocalHandoff: n})
}

// entries are those in the store's queue.
func (s *stage) entries(v *session.Session) int {
	s.t.Helper()
	q, err := watch.Read(s.ctx, v, "x")
	if err != nil {
		s.t.Fatal(err)
	}
	return len(q.Holders) + len(q.Waiters)
}

func (s *stage) lock(m *mutex.Mutex) *session.Grant {
	s.t.Helper()
	g, err := m.Lock(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return g
}

func (s *stage) release(g *session.Grant) {
	s.t.Helper()
	if err := g.Release(s.ctx); err != nil {
		s.t.Error(err)
	}
}

// A call of Lock that may have returned.
type call struct {
	s      *stage
	cancel context.CancelFunc
	done   chan struct{}
	grant  *session.Grant
	err    error
}

// ask calls Lock, and returns when it waits or has returned.
func (s *stage) ask(m *mutex.Mutex) *call {
	ctx, cancel := context.WithCancel(s.ctx)
	c := &call{s: s, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer cancel()
		c.grant, c.err = m.Lock(ctx)
	}()
	synctest.Wait()
	return c
}

func (c *call) waits() bool {
	synctest.Wait()
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// granted returns the grant, which has to have come without any time passing.
func (c *call) granted() *session.Grant {
	c.s.t.Helper()
	if c.waits() {
		c.s.t.Fatal("it still waits")
	}
	if c.err != nil {
		c.s.t.Fatal(c.err)
	}
	return c.grant
}

// The lock is passed on in the order of the calls, at most n times, with one entry in the
// store for all. Then another session has its turn, and the next of the line one behind it.
func TestOthersHaveTheirTurnAfterSoManyPasses(t *testing.T) {
	play(t, func(s *stage) {
		a, b := s.session("a"), s.session("b")
		m := handing(a, 3)
		g := s.lock(m)
		var line []*call
		for range 6 {
			line = append(line, s.ask(m))
		}
		other := s.ask(mutex.New(b, "x"))
		if n := s.entries(b); n != 2 {
			t.Fatalf("%d entries, want one of each session", n)
		}
		batch := g.Token()
		for i := range 3 {
			before := g
			s.release(g)
			g = line[i].granted()
			if g.Token() != batch || g == before || !other.waits() {
				t.Fatalf("pass %d: token %d of batch %d, the same grant: %v", i+1, g.Token(), batch, g == before)
			}
			if !errors.Is(before.Check(), session.ErrReleased) || g.Check() != nil {
				t.Errorf("pass %d: before %v, now %v", i+1, before.Check(), g.Check())
			}
			if err := g.Confirm(s.ctx); err != nil {
				t.Error(err)
			}
		}
		s.release(g)
		g = other.granted()
		if g.Token() <= batch || !line[3].waits() {
			t.Fatalf("token %d after %d, the next of the line waits: %v", g.Token(), batch, line[3].waits())
		}
		s.release(g)
		next := line[3].granted()
		if next.Token() <= g.Token() {
			t.Fatalf("token %d after %d", next.Token(), g.Token())
		}
		s.release(next)
		s.release(line[4].granted())
		s.release(line[5].granted())
		if n := s.entries(b); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}

// What somebody in the store depends on goes back to the store, and the next of the line
// joins again.
func TestPinnedGrantIsNotPassedOn(t *testing.T) {
	play(t, func(s *stage) {
		m := handing(s.session("a"), 9)
		g := s.lock(m)
		next := s.ask(m)
		g.Pin()
		if p, err := g.Pass(s.ctx); err == nil || g.Check() != nil {
			t.Fatalf("Pass returned %v, and the grant is %v", p, g.Check())
		}
		s.release(g)
		after := next.granted()
		if after.Token() <= g.Token() {
			t.Errorf("token %d after %d", after.Token(), g.Token())
		}
		s.release(after)
	})
}

// Of Pin and Pass one is first, and whoever pins knows by Check which.
func TestPinAndPassMeet(t *testing.T) {
	s, err := memory.NewStore().Session(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(context.Background()) }()
	for range 500 {
		g, err := mutex.New(s, "x").Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var valid error
		var wg sync.WaitGroup
		wg.Go(func() {
			g.Pin()
			valid = g.Check()
		})
		next, err := g.Pass(t.Context())
		wg.Wait()
		if valid == nil && err == nil {
			t.Fatal("it was pinned, held after that, and passed on")
		}
		if err == nil {
			g = next
		}
		_ = g.Release(t.Context())
	}
}

// What its owner has passed on it cannot take away any more.
func TestStaleReleaseKeepsNewOwner(t *testing.T) {
	play(t, func(s *stage) {
		m := handing(s.session("a"), 9)
		g := s.lock(m)
		next, third := s.ask(m), s.ask(m)
		for range 3 {
			s.release(g)
		}
		if err := next.granted().Check(); err != nil || !third.waits() {
			t.Fatalf("the new owner: %v; the third waits: %v", err, third.waits())
		}
		if err := g.Do(s.ctx, func(context.Context) error { return nil }); !errors.Is(err, session.ErrReleased) {
			t.Errorf("Do under what was passed on: %v", err)
		}
		if err := g.Update(s.ctx, "value"); !errors.Is(err, session.ErrReleased) {
			t.Errorf("Update under what was passed on: %v", err)
		}
		if !third.waits() {
			t.Fatal("the third holds as well")
		}
		s.release(next.granted())
		s.release(third.granted())
	})
}

// Who gives up leaves the line, and nobody behind it is held up: in the line, as the one
// who stands in the store's queue, and when its turn comes that moment.
func TestWaiterGivesUp(t *testing.T) {
	play(t, func(s *stage) {
		a, b := s.session("a"), s.session("b")
		held, m := s.lock(mutex.New(b, "x")), handing(a, 9)
		leads, second, third, last := s.ask(m), s.ask(m), s.ask(m), s.ask(m)
		second.cancel()
		if second.waits() || !errors.Is(second.err, context.Canceled) {
			t.Fatalf("the second: %v", second.err)
		}
		leads.cancel()
		if leads.waits() || !errors.Is(leads.err, context.Canceled) || !third.waits() || s.entries(b) != 2 {
			t.Fatalf("the first: %v; %d entries", leads.err, s.entries(b))
		}
		timed, err := mutex.NewWith(a, "y", &mutex.Options{LocalHandoff: 1, MaxWait: time.Second}), error(nil)
		y, _ := timed.Lock(s.ctx)
		if _, err = timed.Lock(s.ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "ahead: a") {
			t.Errorf("after MaxWait: %v", err)
		}
		s.release(y)
		s.release(held)
		s.release(third.granted())
		s.release(last.granted())
		if n := s.entries(b); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}

func TestPassAndCancellationMeet(t *testing.T) {
	outcomes := map[bool]int{}
	for range 500 {
		play(t, func(s *stage) {
			m := handing(s.session("a"), 9)
			g := s.lock(m)
			second, third := s.ask(m), s.ask(m)
			var wg sync.WaitGroup
			wg.Go(second.cancel)
			wg.Go(func() { s.release(g) })
			wg.Wait()
			second.waits()
			outcomes[second.err == nil]++
			if second.err == nil {
				if !third.waits() {
					t.Fatal("two hold")
				}
				s.release(second.grant)
			} else if !errors.Is(second.err, context.Canceled) {
				t.Fatal(second.err)
			}
			s.release(third.granted())
			if free, err := m.TryLock(s.ctx); err != nil {
				t.Fatalf("a hold has leaked: %v", err)
			} else {
				s.release(free)
			}
		})
	}
	t.Logf("it had the lock %d times, and gave up %d times", outcomes[true], outcomes[false])
}

// When the lease is lost, so is the batch: nobody waits for its last owner, who may not
// have noticed, and who waits in the line goes to the store's queue.
func TestLossEndsTheBatch(t *testing.T) {
	play(t, func(s *stage) {
		a := s.session("a")
		m := handing(a, 9)
		first := s.lock(m)
		second, third := s.ask(m), s.ask(m)
		s.release(first)
		g := second.granted()
		s.st.Expire(a)
		<-g.Context().Done()
		<-third.done
		if third.err != nil || third.grant.Token() <= g.Token() {
			t.Fatalf("the third: %v", third.err)
		}
		if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrLost) {
			t.Errorf("cause %v", cause)
		}
		if err := g.Release(s.ctx); !errors.Is(err, session.ErrLost) {
			t.Errorf("the release of what was lost: %v", err)
		}
		if err := first.Release(s.ctx); err != nil { // it was passed on before
			t.Errorf("the release of what was passed on: %v", err)
		}
		if err := third.grant.Check(); err != nil {
			t.Error(err)
		}
		s.release(third.grant)
	})
}

// Lost and released in the same moment, the lock goes to the next, once.
func TestLossAndReleaseMeet(t *testing.T) {
	for range 300 {
		play(t, func(s *stage) {
			a := s.session("a")
			m := handing(a, 9)
			g := s.lock(m)
			second, third := s.ask(m), s.ask(m)
			var wg sync.WaitGroup
			wg.Go(func() { s.st.Expire(a) })
			wg.Go(func() { _ = g.Release(s.ctx) })
			wg.Wait()
			for _, c := range []*call{second, third} {
				<-c.done
				if c.err != nil {
					t.Fatal(c.err)
				}
				if c == second && c.grant.Check() == nil && !third.waits() {
					t.Fatal("two hold")
				}
				_ = c.grant.Release(s.ctx) // perhaps lost
			}
			s.release(s.lock(m))
			if n := s.entries(a); n != 0 {
				t.Errorf("%d entries are left", n)
			}
		})
	}
}

// Who breaks the entry ends what its present owner holds, and the batch.
func TestBreakEndsTheBatch(t *testing.T) {
	play(t, func(s *stage) {
		a, b := s.session("a"), s.session("b")
		m := handing(a, 9)
		g := s.lock(m)
		second, third := s.ask(m), s.ask(m)
		s.release(g)
		g = second.granted()
		other := s.ask(mutex.New(b, "x"))
		broken := make(chan error, 1)
		go func() { broken <- b.Break(s.ctx, "x", g.Token(), &session.BreakOptions{Reason: "stuck"}) }()
		<-g.Context().Done()
		if cause, ok := errors.AsType[*session.Broken](context.Cause(g.Context())); !ok || cause.By != "b" {
			t.Fatalf("cause %v", context.Cause(g.Context()))
		}
		if !other.waits() || !third.waits() {
			t.Fatal("somebody holds before the owner has stopped")
		}
		if err := g.Release(s.ctx); !errors.Is(err, session.ErrLost) {
			t.Errorf("release: %v", err)
		}
		if err := <-broken; err != nil {
			t.Errorf("break: %v", err)
		}
		s.release(other.granted())
		s.release(third.granted())
	})
}

func TestCloseEndsTheLine(t *testing.T) {
	play(t, func(s *stage) {
		a := s.session("a")
		m := handing(a, 9)
		g := s.lock(m)
		line := []*call{s.ask(m), s.ask(m), s.ask(m)}
		if err := a.Close(s.ctx); err != nil {
			t.Fatal(err)
		}
		for i, c := range line {
			if c.waits() || !errors.Is(c.err, session.ErrClosed) {
				t.Errorf("waiter %d: %v", i, c.err)
			}
		}
		if !errors.Is(g.Check(), session.ErrClosed) {
			t.Error(g.Check())
		}
	})
}

// TryLock does not queue, and does not overtake the line.
func TestTryLockBesideALine(t *testing.T) {
	play(t, func(s *stage) {
		a, b := s.session("a"), s.session("b")
		m := handing(a, 9)
		g, err := m.TryLock(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		second := s.ask(m)
		_, err = m.TryLock(s.ctx)
		if e, ok := errors.AsType[*session.Error](err); !ok || !errors.Is(err, session.ErrHeld) || e.Holder != "a" || e.Token != g.Token() {
			t.Errorf("while it is held: %v", err)
		}
		if waits, n := second.waits(), s.entries(b); n != 1 || !waits {
			t.Errorf("%d entries, want one: that it failed has sent the line to the store", n)
		}
		s.release(g)
		s.release(second.granted())
		g = s.lock(mutex.New(b, "x"))
		if _, err := m.TryLock(s.ctx); !errors.Is(err, session.ErrHeld) {
			t.Errorf("while another session holds: %v", err)
		}
		third := s.ask(m)
		s.release(g)
		s.release(third.granted())
	})
}

// The function under Do may release early; whoever is next does not run under its entry.
func TestReleaseInsideDoPassesNothingOn(t *testing.T) {
	play(t, func(s *stage) {
		m := handing(s.session("a"), 9)
		var second *call
		var token uint64
		err := m.Do(s.ctx, func(ctx context.Context) error {
			second = s.ask(m)
			g, _ := session.GrantFrom(ctx)
			token = g.Token()
			s.release(g)
			if next := second.granted(); next.Token() <= token {
				t.Errorf("token %d after %d", next.Token(), token)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		third := s.ask(m)
		if !third.waits() || second.grant.Check() != nil {
			t.Fatal("the end of Do has released what is another's")
		}
		s.release(second.grant)
		err = third.granted().Do(s.ctx, func(context.Context) error { second = s.ask(m); return nil })
		if next := second.granted(); err != nil || next.Token() != third.grant.Token() {
			t.Errorf("the end of Do does not pass on: %v, token %d after %d", err, next.Token(), third.grant.Token())
		}
		s.release(second.grant)
	})
}

// The grant carries the values of the context of the call that it is passed on to.
func TestPassedGrantHasItsOwnContext(t *testing.T) {
	type key struct{}
	play(t, func(s *stage) {
		m := handing(s.session("a"), 9)
		g := s.lock(m)
		ctx, cancel := context.WithCancel(context.WithValue(s.ctx, key{}, "second"))
		got := make(chan *session.Grant, 1)
		go func() { g, _ := m.Lock(ctx); got <- g }()
		synctest.Wait()
		s.release(g)
		next := <-got
		cancel()
		inside, ok := session.GrantFrom(next.Context())
		if next.Context().Err() != nil || next.Context().Value(key{}) != "second" || !ok || inside != next {
			t.Errorf("context %v, grant in it %v", next.Context(), ok)
		}
		s.release(next)
	})
}

func TestLocalHandoffIsForMutexesAlone(t *testing.T) {
	play(t, func(s *stage) {
		a := s.session("a")
		opts := &watch.Options{LocalHandoff: 1}
		_, election := election.NewWith(a, "x", opts).Campaign(s.ctx, "")
		_, writer := rwmutex.NewWith(a, "x", opts).Lock(s.ctx)
		_, permit := semaphore.NewWith(a, "x", 1, opts).Acquire(s.ctx, 1)
		_, negative := handing(a, -1).Lock(s.ctx)
		for what, err := range map[string]error{"election": election, "rwmutex": writer, "semaphore": permit, "negative": negative} {
			if err == nil || !strings.Contains(err.Error(), "LocalHandoff") {
				t.Errorf("%s: %v", what, err)
			}
		}
		for range 2 { // a bad name is reported by each, and leaves nothing behind
			if _, err := mutex.NewWith(a, "/", opts).Lock(s.ctx); err == nil {
				t.Error("a bad name is no error")
			}
		}
	})
}

// 64 goroutines of two sessions change what they protect without any other lock.
func TestCohortsExcludeEachOther(t *testing.T) {
	st := memory.NewStore()
	var plain, want int
	var wg sync.WaitGroup
	for i := range 2 {
		s, err := st.Session(t.Context(), &session.Options{Identity: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(context.Background())
		m := handing(s, 5)
		for j := range 32 {
			want += 50
			wg.Go(func() {
				for k := range 50 {
					if (j+k)%7 == 0 { // in vain, mostly
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(k)*10*time.Microsecond)
						if g, err := m.Lock(ctx); err == nil {
							plain++
							plain--
							_ = g.Release(ctx)
						}
						cancel()
					}
					if err := m.Do(t.Context(), func(context.Context) error { plain++; return nil }); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if plain != want {
		t.Errorf("counted to %d, want %d", plain, want)
	}
}
