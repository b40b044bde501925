// Command testing is a small service with a lock, to show how to test such a service:
// main_test.go ends its lease, and makes the store unreachable, in virtual time.
//
//	go run ./examples/testing
//	go test -v ./examples/testing
//
// What makes it testable is that sum takes a session, so that a test can give it one of
// its own store. FAIRLEAD_STORE names a store, such as etcd://127.0.0.1:2379; without it
// the store is in memory.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	_ "github.com/fairlead-go/fairlead/session/etcd"
	_ "github.com/fairlead-go/fairlead/session/memory"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	store := cmp.Or(os.Getenv("FAIRLEAD_STORE"), "memory://testing")
	if err := run(ctx, store, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, store string, out io.Writer) error {
	s, err := session.Open(ctx, store, nil)
	if err != nil {
		return err
	}
	defer s.Close(ctx)
	total, err := sum(ctx, s, []int{1, 2, 3}, 100*time.Millisecond)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "the sum is", total)
	return nil
}

// sum adds the numbers up under a lock, each of which takes a while. When the lock is
// lost it stops, and returns what it had by then.
func sum(ctx context.Context, s *session.Session, numbers []int, each time.Duration) (total int, err error) {
	err = mutex.New(s, "examples/testing").Do(ctx, func(ctx context.Context) error {
		for _, n := range numbers {
			select {
			case <-time.After(each):
				total += n
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return total, err
}
