package postgres_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

// durableServer is one with fsync, as figures without say nothing.
func durableServer(b *testing.B) *pgserver.Server {
	b.Helper()
	s, err := pgserver.Start(pgserver.Config{NoSync: os.Getenv("NOSYNC") != ""})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s
}

func open(tb testing.TB, rawURL string) *session.Session {
	tb.Helper()
	return openWith(tb, rawURL, nil)
}

func openWith(tb testing.TB, rawURL string, opts *session.Options) *session.Session {
	tb.Helper()
	s, err := session.Open(tb.Context(), rawURL, opts)
	if err != nil {
		tb.Fatal(err)
	}
	closing(tb, s)
	return s
}

// closing has a session closed with the test.
func closing(tb testing.TB, s *session.Session) {
	tb.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			tb.Errorf("%v", err)
		}
	})
}

func BenchmarkLockUnlock(b *testing.B) {
	s := durableServer(b)
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprintf("goroutines=%d", n), func(b *testing.B) {
			ses := open(b, s.AdminURL("postgres"))
			var wg sync.WaitGroup
			b.ResetTimer()
			for i := range n {
				wg.Go(func() {
					m := mutex.New(ses, fmt.Sprint("own", i))
					for range max(b.N/n, 1) {
						g, err := m.Lock(b.Context())
						if err != nil {
							b.Error(err)
							return
						}
						_ = g.Release(b.Context())
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
		})
	}
}

// BenchmarkHandOff has 16 sessions contend for one mutex. A hand-off is from before the
// release to after the next one's Lock.
func BenchmarkHandOff(b *testing.B) {
	s := durableServer(b)
	var sessions []*session.Session
	for range 16 {
		sessions = append(sessions, open(b, s.AdminURL("postgres")))
	}
	var mu sync.Mutex
	var released time.Time
	var took []time.Duration
	served := make([]int, len(sessions))
	var wg sync.WaitGroup
	b.ResetTimer()
	for i, ses := range sessions {
		wg.Go(func() {
			m := mutex.New(ses, "shared")
			for range max(b.N/len(sessions), 1) {
				g, err := m.Lock(b.Context())
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				if !released.IsZero() {
					took = append(took, time.Since(released))
				}
				served[i]++
				released = time.Now()
				mu.Unlock()
				_ = g.Release(b.Context())
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(slices.Max(served))/float64(slices.Min(served)), "most:least")
}
