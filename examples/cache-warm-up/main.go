// Command cache-warm-up starts five replicas that read a shared cache, which is cold.
// One of them warms it up; the others wait for that, and then read together.
//
//	go run ./examples/cache-warm-up
//
// The replicas are goroutines here, each with a session of its own. FAIRLEAD_STORE
// names a store, such as etcd://127.0.0.1:2379; without it they share one in memory.
package main

import (
	"cmp"
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/session"
	_ "github.com/fairlead-go/fairlead/session/etcd"
	_ "github.com/fairlead-go/fairlead/session/memory"
)

const replicas = 5

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	store := cmp.Or(os.Getenv("FAIRLEAD_STORE"), "memory://cache-warm-up")
	if err := run(ctx, store, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, store string, out io.Writer) error {
	printer := log.New(out, "", 0)
	var cache atomic.Pointer[string] // stands for a cache that all machines reach
	group, ctx := errgroup.WithContext(ctx)
	for n := range replicas {
		group.Go(func() error { return replica(ctx, store, n+1, &cache, printer) })
	}
	return group.Wait()
}

func replica(ctx context.Context, store string, n int, cache *atomic.Pointer[string], printer *log.Logger) error {
	s, err := session.Open(ctx, store, nil)
	if err != nil {
		return err
	}
	defer s.Close(ctx)
	lock := rwmutex.New(s, "examples/cache-warm-up")
	grant, err := lock.RLock(ctx)
	if err != nil {
		return err
	}
	if cache.Load() == nil {
		// A reader cannot become a writer, but a writer can become a reader.
		if err := grant.Release(ctx); err != nil {
			return err
		}
		if grant, err = warmUp(ctx, lock, n, cache, printer); err != nil {
			return err
		}
	}
	return grant.Do(ctx, func(context.Context) error {
		printer.Printf("replica %d reads %q", n, *cache.Load())
		return nil
	})
}

// warmUp fills the cache unless somebody was quicker, and returns a grant for reading.
func warmUp(ctx context.Context, lock *rwmutex.RWMutex, n int, cache *atomic.Pointer[string], printer *log.Logger) (*session.Grant, error) {
	grant, err := lock.Lock(ctx)
	if err != nil {
		return nil, err
	}
	if cache.Load() == nil {
		printer.Printf("replica %d warms up the cache", n)
		select {
		case <-time.After(100 * time.Millisecond): // stands for the long computation
		case <-grant.Context().Done():
			return nil, context.Cause(grant.Context())
		case <-ctx.Done(): // which does not end the grant
			_ = grant.Release(ctx) // goes on in the background
			return nil, context.Cause(ctx)
		}
		value := "the catalog"
		cache.Store(&value)
	}
	return lock.Downgrade(ctx, grant) // nobody writes in between
}
