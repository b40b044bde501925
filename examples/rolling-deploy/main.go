// Command rolling-deploy updates four servers, one at a time.
//
//	go run ./examples/rolling-deploy
//
// Each server updates itself, under a mutex that all of them share; nobody coordinates
// them. They are goroutines here, each with a session of its own. FAIRLEAD_STORE names
// a store, such as etcd://127.0.0.1:2379; without it they share one in memory.
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

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	_ "github.com/fairlead-go/fairlead/session/etcd"
	_ "github.com/fairlead-go/fairlead/session/memory"
)

const servers = 4

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	store := cmp.Or(os.Getenv("FAIRLEAD_STORE"), "memory://rolling-deploy")
	if err := run(ctx, store, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, store string, out io.Writer) error {
	printer := log.New(out, "", 0)
	group, ctx := errgroup.WithContext(ctx)
	for n := range servers {
		group.Go(func() error { return deploy(ctx, store, n+1, printer) })
	}
	return group.Wait()
}

// deploy updates one server when its turn has come. When it fails, the error ends the
// context of the others, and those that still wait stay on the old version.
func deploy(ctx context.Context, store string, n int, printer *log.Logger) error {
	s, err := session.Open(ctx, store, nil)
	if err != nil {
		return err
	}
	defer s.Close(ctx)
	return mutex.New(s, "examples/rolling-deploy").Do(ctx, func(ctx context.Context) error {
		printer.Printf("server %d is out of service", n)
		if err := update(ctx); err != nil {
			return err
		}
		printer.Printf("server %d is back with the new version", n)
		return nil
	})
}

// update stands for the restart, and for the wait until the server is healthy.
func update(ctx context.Context) error {
	select {
	case <-time.After(100 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
