package mutex_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/session"
)

// leaves calls f in a goroutine, which f may end by a panic, that is recovered, or by
// runtime.Goexit. The channel that it returns is closed then.
func leaves(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		f()
	}()
	synctest.Wait()
	return done
}

// quits are the ways in which code of others may end a call that never returns.
var quits = map[string]func(){
	"panic":  func() { panic("in code of others") },
	"Goexit": runtime.Goexit,
}

// abandoned has b wait for the lock, with Queued, which ends the call as quit does when
// goOn is closed, and returns the token of the entry.
func (s *stage) abandoned(b *session.Session, n int, quit func()) (m *mutex.Mutex, token *atomic.Uint64, goOn chan struct{}, done <-chan struct{}) {
	s.t.Helper()
	token, goOn = &atomic.Uint64{}, make(chan struct{})
	m = mutex.NewWith(b, "x", &mutex.Options{LocalHandoff: n, Queued: func(of uint64) {
		if token.CompareAndSwap(0, of) {
			<-goOn
			quit()
		}
	}})
	done = leaves(func() { _, _ = m.Lock(s.ctx) })
	if token.Load() == 0 {
		s.t.Fatal("Queued was not called")
	}
	return m, token, goOn, done
}

// A call that ends in Queued, and never returns, leaves no entry behind, for which all others
// would wait.
func TestEntryOfACallThatNeverReturnsLeaves(t *testing.T) {
	for how, quit := range quits {
		for _, n := range []int{0, 5} {
			t.Run(fmt.Sprint(how, " with LocalHandoff ", n), func(t *testing.T) {
				play(t, func(s *stage) {
					g := s.lock(mutex.New(s.session("a"), "x"))
					m, _, goOn, done := s.abandoned(s.session("b"), n, quit)
					local := s.ask(m)
					close(goOn)
					<-done
					synctest.Wait() // local has joined
					other := s.ask(mutex.New(s.session("c"), "x"))
					s.release(g)
					s.release(local.granted())
					s.release(other.granted())
				})
			})
		}
	}
}

// Nor has who breaks such an entry to wait for anybody.
func TestEntryOfACallThatNeverReturnsIsBrokenAtOnce(t *testing.T) {
	for how, quit := range quits {
		t.Run(how, func(t *testing.T) {
			play(t, func(s *stage) {
				a := s.session("a")
				g := s.lock(mutex.New(a, "x"))
				_, token, goOn, done := s.abandoned(s.session("b"), 0, quit)
				close(goOn)
				<-done
				ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
				defer cancel()
				if err := a.Break(ctx, "x", token.Load(), nil); err != nil && !errors.Is(err, session.ErrNotHeld) {
					t.Error(err)
				}
				s.release(g)
			})
		})
	}
}

// A tracer that panics on the way to a grant leaves no entry behind, nor a grant that nobody
// has.
func TestEntryLeavesWhereTheTracerPanics(t *testing.T) {
	for _, where := range []string{"AddLink", "hold mutex", "end acquire mutex"} {
		for _, n := range []int{0, 5} {
			t.Run(fmt.Sprint(where, " with LocalHandoff ", n), func(t *testing.T) {
				play(t, func(s *stage) {
					v, tracer := s.fragile()
					g := s.lock(mutex.New(v, "x"))
					m := handing(v, n)
					tracer.panicsIn(where)
					done := leaves(func() { _, _ = m.Lock(s.ctx) })
					local := s.ask(m)
					other := s.ask(mutex.New(s.session("other"), "x"))
					s.release(g)
					<-done
					if local.waits() { // it has joined when its leader left
						local, other = other, local
					}
					s.release(local.granted())
					s.release(other.granted())
					if tracer.in.Load() != nil {
						t.Errorf("the tracer was never in %q", where)
					}
				})
			})
		}
	}
}

// A local successor whose call never returns passes the lock on.
func TestLockPassedToACallThatNeverReturnsGoesOn(t *testing.T) {
	play(t, func(s *stage) {
		v, tracer := s.fragile()
		m := handing(v, 5)
		g := s.lock(m)
		done := leaves(func() { _, _ = m.Lock(s.ctx) })
		local := s.ask(m)
		tracer.panicsIn("end acquire mutex")
		s.release(g)
		<-done
		s.release(local.granted())
		s.release(s.lock(mutex.New(s.session("other"), "x")))
	})
}

// One that panics as it passes the lock on leaves no entry for nobody, nor does its successor wait.
func TestReleaseThatPanicsAsItPassesTheLockOn(t *testing.T) {
	play(t, func(s *stage) {
		v, tracer := s.fragile()
		m := handing(v, 5)
		g := s.lock(m)
		next := s.ask(m)
		tracer.panicsIn("end hold mutex")
		panics(t, func() { _ = g.Release(s.ctx) })
		s.release(next.granted())
		s.release(s.lock(mutex.New(s.session("other"), "x")))
	})
}

// What panics in a release, or a downgrade, which have ended the grant, keeps nobody waiting.
func TestEntryLeavesWhereTheEndOfAGrantPanics(t *testing.T) {
	release := func(ctx context.Context, _ *rwmutex.RWMutex, g *session.Grant) { _ = g.Release(ctx) }
	downgrade := func(ctx context.Context, m *rwmutex.RWMutex, g *session.Grant) { _, _ = m.Downgrade(ctx, g) }
	for what, c := range map[string]struct {
		end   func(ctx context.Context, m *rwmutex.RWMutex, g *session.Grant)
		where string
	}{
		"release":                    {release, "end hold rwmutex"},
		"downgrade, at the old hold": {downgrade, "end hold rwmutex"},
		"downgrade, at the new hold": {downgrade, "hold rwmutex"},
	} {
		t.Run(what, func(t *testing.T) {
			play(t, func(s *stage) {
				v, tracer := s.fragile()
				m := rwmutex.New(v, "x")
				g, err := m.Lock(s.ctx)
				if err != nil {
					t.Fatal(err)
				}
				other := s.ask(mutex.New(s.session("other"), "x"))
				tracer.panicsIn(c.where)
				panics(t, func() { c.end(s.ctx, m, g) })
				s.release(other.granted())
			})
		})
	}
}
