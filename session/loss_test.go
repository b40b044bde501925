package session_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/memory"
)

// A slowProvider exports each span when it ends, which takes 20 ms.
type (
	slowProvider struct{ noop.TracerProvider }
	slowTracer   struct{ noop.Tracer }
	slowSpan     struct{ noop.Span }
)

func (slowProvider) Tracer(string, ...trace.TracerOption) trace.Tracer { return slowTracer{} }

func (slowTracer) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	return trace.ContextWithSpan(ctx, slowSpan{}), slowSpan{}
}

func (slowSpan) End(...trace.SpanEndOption) { time.Sleep(20 * time.Millisecond) }

// All holders are told before the lease is revoked, and before anything that
// takes time, such as telemetry.
func TestEveryHolderIsToldBeforeTheLeaseIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, st := patient(t), memory.NewStore()
		a, err := st.Session(ctx, &session.Options{TTL: 10 * time.Second, TracerProvider: slowProvider{}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := st.Session(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		grants := map[string]*session.Grant{}
		for i := range 20 {
			name := fmt.Sprint("q", i)
			if grants[name], err = mutex.New(a, name).Lock(ctx); err != nil {
				t.Fatal(err)
			}
		}
		st.Cut(a)
		time.AfterFunc(time.Until(grants["q0"].Deadline()), func() { st.Heal(a) }) // back as the window closes
		verdicts := make(chan error)
		for name, g := range grants {
			go func() {
				next, err := mutex.New(b, name).Lock(ctx)
				if err == nil && g.Context().Err() == nil && next.Context().Err() == nil {
					err = fmt.Errorf("%s is held twice", name)
				}
				verdicts <- err
			}()
		}
		for range grants {
			if err := <-verdicts; err != nil {
				t.Error(err)
			}
		}
		_ = a.Close(ctx)
		_ = b.Close(ctx)
	})
}

// After a suspension no timer has run, but the holder learns of its loss within
// a second, also while the network is still down.
func TestSuspensionCountsAgainstTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer session.Asleep.Store(0)
		ctx, st := patient(t), memory.NewStore()
		s, err := st.Session(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(ctx)
		g, err := mutex.New(s, "x").Lock(ctx)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		st.Cut(s)
		defer st.Heal(s)
		session.Asleep.Add(int64(time.Hour))
		start := time.Now()
		<-g.Context().Done()
		if took := time.Since(start); took > time.Second {
			t.Errorf("the holder learned of the loss %v after it woke", took)
		}
	})
}

// A holder has the margin to stop, also when the store could be reached again as
// its window closed; unless it says that it has stopped.
func TestALostHolderKeepsItsMargin(t *testing.T) {
	for _, c := range []struct {
		releases bool
		min, max time.Duration // the successor's wait
	}{{false, 2 * time.Second, 3 * time.Second}, {true, 0, time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, st := patient(t), memory.NewStore()
			s, slow := openSlow(t, st, 0, &session.Options{TTL: 10 * time.Second})
			defer s.Close(ctx)
			other, err := st.Session(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close(ctx)
			g, err := mutex.New(s, "x").Lock(ctx)
			if err != nil {
				t.Fatal(err)
			}
			slow.delay.Store(int64(9 * time.Second)) // renewed at the store, but we do not hear of it
			<-g.Context().Done()
			slow.delay.Store(0)
			start := time.Now()
			if c.releases {
				if err := g.Release(ctx); !errors.Is(err, session.ErrLost) {
					t.Error(err)
				}
			}
			next, err := mutex.New(other, "x").Lock(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer next.Release(ctx)
			if took := time.Since(start); took < c.min || took > c.max {
				t.Errorf("releases %v: the successor waited %v, want %v to %v", c.releases, took, c.min, c.max)
			}
		})
	}
}

// Where leases end as soon as they are granted, the session does not hurry.
func TestLeasesAreNotTakenInAHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, st := patient(t), memory.NewStore()
		var doomed atomic.Bool
		var grants atomic.Int64
		calls := func(ctx context.Context, op drivertest.Op, call func(context.Context) error) error {
			switch op {
			case drivertest.OpGrant:
				grants.Add(1)
			case drivertest.OpWatchLease:
				if doomed.Load() {
					return driver.ErrLeaseGone
				}
			}
			return call(ctx)
		}
		s, err := session.New(ctx, drivertest.Interpose(st.Connect(), calls), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(ctx)
		time.Sleep(time.Second)
		doomed.Store(true)
		st.Expire(s)
		before := grants.Load()
		time.Sleep(10 * time.Second)
		if n := grants.Load() - before; n < 2 || n > 50 {
			t.Errorf("%d leases taken in 10 s", n)
		}
	})
}
