package etcd_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/embed"
)

// BenchmarkPairs locks and unlocks from goroutines that have a name of their own
// each, over one connection; beside it, what others do on the same server. The
// server is in this process, so allocations are those of both.
func BenchmarkPairs(b *testing.B) {
	s, err := embed.Start(b.Context(), embed.Config{Dir: b.TempDir(), Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	ours, err := session.Open(b.Context(), s.Endpoint()+"/ours", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ours.Close(context.Background()) })
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + s.Addr()}, Logger: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	theirs, err := concurrency.NewSession(client)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = theirs.Close() })

	subjects := []struct {
		name string
		pair func(ctx context.Context, name string) func() error
	}{
		{"ours", func(ctx context.Context, name string) func() error {
			m := mutex.New(ours, name)
			return func() error {
				g, err := m.Lock(ctx)
				if err != nil {
					return err
				}
				return g.Release(ctx)
			}
		}},
		{"concurrency", func(ctx context.Context, name string) func() error {
			m := concurrency.NewMutex(theirs, "/theirs/"+name)
			return func() error {
				if err := m.Lock(ctx); err != nil {
					return err
				}
				return m.Unlock(ctx)
			}
		}},
		{"raw", func(ctx context.Context, name string) func() error {
			return func() error {
				if _, err := client.Put(ctx, "/raw/"+name, ""); err != nil {
					return err
				}
				_, err := client.Delete(ctx, "/raw/"+name)
				return err
			}
		}},
	}
	for _, goroutines := range []int{1, 2, 4, 8, 64, 512} {
		for _, sub := range subjects {
			b.Run(fmt.Sprintf("goroutines=%d/%s", goroutines, sub.name), func(b *testing.B) {
				pairs := make([]func() error, goroutines)
				for i := range pairs {
					pairs[i] = sub.pair(b.Context(), fmt.Sprintf("n%d", i))
				}
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for i, pair := range pairs {
					wg.Go(func() {
						for range (b.N + i) / goroutines {
							if err := pair(); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
			})
		}
	}
}
