package mutex_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
)

const weatherPasses = 2

// A weather is a schedule drawn from a seed: goroutines of some sessions lock, try, do and
// give up, while sessions are cut off and holders broken. Then comes a calm in which
// everybody has to get the lock.
type weather struct {
	*stage
	seed     uint64
	sessions []*session.Session
	calm     time.Time

	mu     sync.Mutex
	holder *session.Grant // who was granted last
	ended  bool           // and has begun to give it back
	run    int            // grants in a row with its token
	locks  int
}

func TestCohortsInBadWeather(t *testing.T) {
	passed, locks := 0, 0
	for seed := range uint64(100) {
		play(t, func(s *stage) {
			w := &weather{stage: s, seed: seed, calm: time.Now().Add(time.Minute)}
			passed += w.play()
			locks += w.locks
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if passed == 0 {
		t.Error("nothing was ever passed on")
	}
	t.Logf("%d locks, of which %d were passed on", locks, passed)
}

// play returns how often the lock was passed on.
func (w *weather) play() (passed int) {
	r := rand.New(rand.NewPCG(w.seed, 1))
	tokens := map[uint64]bool{}
	var crew sync.WaitGroup
	for i := range 2 + r.IntN(2) {
		s := w.session(fmt.Sprint(i))
		w.sessions = append(w.sessions, s)
		m := handing(s, weatherPasses)
		for j := range 1 + r.IntN(4) {
			own := rand.New(rand.NewPCG(w.seed, uint64(100*i+j+100)))
			crew.Go(func() { w.act(own, m, tokens) })
		}
	}
	for range r.IntN(8) {
		time.Sleep(time.Duration(r.Int64N(int64(7 * time.Second))))
		w.strike(r, w.sessions[r.IntN(len(w.sessions))])
	}
	crew.Wait()
	if n := w.entries(w.sessions[0]); n != 0 {
		w.t.Errorf("%d entries are left", n)
	}
	return w.locks - len(tokens)
}

// strike has something happen to a session, that is over before the calm.
func (w *weather) strike(r *rand.Rand, s *session.Session) {
	switch r.IntN(3) {
	case 0:
		w.st.Cut(s)
		time.Sleep(time.Duration(r.Int64N(int64(15 * time.Second))))
		w.st.Heal(s)
	default:
		w.mu.Lock()
		g := w.holder
		w.mu.Unlock()
		if g != nil {
			ctx, cancel := context.WithTimeout(w.ctx, time.Second)
			_ = s.Break(ctx, "x", g.Token(), nil) // it may have left
			cancel()
		}
	}
}

func (w *weather) act(r *rand.Rand, m *mutex.Mutex, tokens map[uint64]bool) {
	some := func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
	for stormy := true; stormy; {
		time.Sleep(some(time.Second))
		stormy = time.Now().Before(w.calm)
		ctx, cancel := context.WithTimeout(w.ctx, 10*time.Minute)
		if stormy && r.IntN(2) == 0 {
			cancel()
			ctx, cancel = context.WithTimeout(w.ctx, some(5*time.Second))
		}
		lock := m.Lock
		if r.IntN(5) == 0 {
			lock = m.TryLock
		}
		g, err := lock(ctx)
		_, broken := errors.AsType[*session.Broken](err)
		switch {
		case err == nil:
			w.granted(g, tokens)
			w.use(r, g, some(300*time.Millisecond))
		case errors.Is(err, session.ErrHeld), broken, stormy && ctx.Err() != nil:
		default:
			w.t.Errorf("in calm or without a reason: %v", err)
		}
		cancel()
	}
}

// granted finds out who else holds, and how often the lock was passed on.
func (w *weather) granted(g *session.Grant, tokens map[uint64]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holder != nil && !w.ended && w.holder.Context().Err() == nil {
		w.t.Errorf("token %d is granted while token %d is held", g.Token(), w.holder.Token())
	}
	switch {
	case w.holder == nil || g.Token() > w.holder.Token():
		w.run = 0
	case g.Token() < w.holder.Token():
		w.t.Errorf("token %d is granted after %d", g.Token(), w.holder.Token())
	default:
		if w.run++; w.run > weatherPasses {
			w.t.Errorf("token %d was passed on %d times", g.Token(), w.run)
		}
	}
	w.locks++
	w.holder, w.ended, tokens[g.Token()] = g, false, true
}

func (w *weather) use(r *rand.Rand, g *session.Grant, d time.Duration) {
	end := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.holder == g {
			w.ended = true
		}
	}
	if r.IntN(3) == 0 {
		_ = g.Do(w.ctx, func(ctx context.Context) error { time.Sleep(d); end(); return nil })
		return
	}
	if r.IntN(10) == 0 {
		d += 12 * time.Second // longer than what a session that is cut off can be trusted
	}
	time.Sleep(d)
	end()
	if r.IntN(4) == 0 {
		go g.Release(w.ctx)
	}
	ctx, cancel := context.WithTimeout(w.ctx, time.Second)
	defer cancel()
	_ = g.Release(ctx) // it may be lost
}

// Each acquisition has its spans, whether the store or a neighbour granted it, and nobody
// is counted as a waiter or as a holder when all is over.
func TestPassedGrantsAreMeasured(t *testing.T) {
	play(t, func(s *stage) {
		spans, reader := tracetest.NewInMemoryExporter(), metric.NewManualReader()
		v, err := memory.NewStore().Session(s.ctx, &session.Options{
			TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)),
			MeterProvider:  metric.NewMeterProvider(metric.WithReader(reader)),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close(s.ctx)
		m := handing(v, 9)
		g := s.lock(m)
		second, third := s.ask(m), s.ask(m)
		if waiters, held := gauge(t, reader, "fairlead.waiters"), gauge(t, reader, "fairlead.held"); waiters != 2 || held != 1 {
			t.Errorf("%d waiters and %d held, want 2 and 1", waiters, held)
		}
		s.release(g)
		s.release(second.granted())
		s.release(third.granted())
		if waiters, held := gauge(t, reader, "fairlead.waiters"), gauge(t, reader, "fairlead.held"); waiters != 0 || held != 0 {
			t.Errorf("%d waiters and %d held, want none", waiters, held)
		}
		count, links := map[string]int{}, 0
		for _, span := range spans.GetSpans() {
			count[span.Name]++
			links += len(span.Links)
		}
		if count["acquire mutex"] != 3 || count["hold mutex"] != 3 || links != 2 {
			t.Errorf("spans %v with %d links", count, links)
		}
	})
}

func gauge(t *testing.T, r *metric.ManualReader, name string) (sum int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if data, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == name {
				for _, p := range data.DataPoints {
					sum += p.Value
				}
			}
		}
	}
	return sum
}
