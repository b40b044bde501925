// Command lost-lease is a service that loses its lease while it leads, stops, and leads
// again, without a restart.
//
//	go run ./examples/lost-lease
//
// It uses a store in memory, whose leases can be ended at will, in place of an outage.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	store := memory.NewStore()
	quiet := slog.New(slog.DiscardHandler) // the loss is meant
	s, err := store.Session(ctx, &session.Options{Logger: quiet})
	if err != nil {
		return err
	}
	defer s.Close(ctx)

	var past uint64
	return election.New(s, "examples/lost-lease").Run(ctx, "here", func(ctx context.Context) error {
		term, _ := election.TermFrom(ctx)
		if past != 0 {
			fmt.Fprintln(out, "leading again, with a larger token:", term.Token() > past)
			return nil // Run resigns
		}
		past = term.Token()
		fmt.Fprintln(out, "leading")
		store.Expire(s)
		return serve(ctx, out)
	})
}

// serve works until its context is done, and says why that was. After a loss Run logs
// the error, and stands for election again.
func serve(ctx context.Context, out io.Writer) error {
	<-ctx.Done()
	err := context.Cause(ctx)
	if errors.Is(err, session.ErrLost) {
		fmt.Fprintln(out, "the lease is lost: stopped")
	}
	return err
}
