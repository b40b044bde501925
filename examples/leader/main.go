// Command leader is one of several replicas, of which one at a time works.
//
//	fairlead dev &          # or any other etcd
//	go run ./examples/leader &
//	go run ./examples/leader &
//
// Kill the one that leads, and the other takes over: at once when it could
// resign, after the TTL when it could not.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/session"
	_ "github.com/fairlead-go/fairlead/session/etcd" // for etcd:// and etcds://
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	store := cmp.Or(os.Getenv("FAIRLEAD_STORE"), "etcd://127.0.0.1:2379")
	address := fmt.Sprintf("replica %d", os.Getpid()) // where others find the leader, usually
	if err := run(ctx, store, address); err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}

func run(ctx context.Context, store, address string) error {
	s, err := session.Open(ctx, store, nil) // "etcd://127.0.0.1:2379"
	if err != nil {
		return err
	}
	defer s.Close(ctx)

	return election.New(s, "billing/leader").Run(ctx, address, func(ctx context.Context) error {
		term, _ := election.TermFrom(ctx)
		return work(ctx, term.Token()) // until ctx is done: then somebody else leads
	})
}

// work does what only one replica may do. The token goes along with each write,
// so that whoever receives it can refuse a leader of the past.
func work(ctx context.Context, token uint64) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		log.Printf("leading, token %d", token)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
