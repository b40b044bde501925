// Command worker-pool has six workers call a service that bears two requests at a time.
//
//	go run ./examples/worker-pool
//
// The workers are goroutines here, each with a session of its own, as six machines
// would have. FAIRLEAD_STORE names a store that they share with other runs, such as
// etcd://127.0.0.1:2379; without it they share one in memory.
package main

import (
	"cmp"
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	_ "github.com/fairlead-go/fairlead/session/etcd"
	_ "github.com/fairlead-go/fairlead/session/memory"
)

const (
	workers = 6
	jobs    = 2 // for each worker
	limit   = 2 // requests at a time, of all workers together
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	store := cmp.Or(os.Getenv("FAIRLEAD_STORE"), "memory://worker-pool")
	if err := run(ctx, store, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, store string, out io.Writer) error {
	printer := log.New(out, "", 0) // one line at a time, whoever prints it
	group, ctx := errgroup.WithContext(ctx)
	for n := range workers {
		group.Go(func() error { return worker(ctx, store, n+1, printer) })
	}
	return group.Wait()
}

func worker(ctx context.Context, store string, n int, printer *log.Logger) error {
	s, err := session.Open(ctx, store, nil)
	if err != nil {
		return err
	}
	defer s.Close(ctx)
	requests := semaphore.New(s, "examples/worker-pool", limit)
	for job := range jobs {
		err := requests.Do(ctx, 1, func(ctx context.Context) error {
			printer.Printf("worker %d begins request %d", n, job+1)
			if err := request(ctx); err != nil {
				return err
			}
			printer.Printf("worker %d ends request %d", n, job+1)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// request stands for a call of the service. It ends early when the permit is lost.
func request(ctx context.Context) error {
	select {
	case <-time.After(100 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
