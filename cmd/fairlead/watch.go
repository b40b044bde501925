package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

func newWatch(store *storeFlags) *cobra.Command {
	var form output
	cmd := &cobra.Command{
		Use:   "watch NAME",
		Short: "Print a line for each change of who holds a name and who waits",
		Long: `Print how NAME stands, and then a line for each change, until a signal ends it:

  holds     has it from now on
  waits     has joined the queue
  left      has left: it released it, gave up, its lease ended, or somebody broke it
  changed   has another value, or holds on as a reader
  limit     the semaphore has another limit
  free      nobody holds it or waits

The times are those at which the changes were seen here. Several changes in quick
succession may be seen as one: who came and went in between is not told.

With -o json it prints one object a line, for each state, all of the queue in it.

` + lookStatusHelp + `.`,
		Example: `  fairlead watch billing/nightly
  fairlead watch billing/nightly -o json | jq --unbuffered -r '.holders[0].identity // "free"'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: store.completeNames(anyKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return store.look(func(ctx context.Context, s *session.Session) error {
				return follow(ctx, cmd.OutOrStdout(), s, args[0], form)
			})
		},
	}
	form.register(cmd)
	return cmd
}

func follow(ctx context.Context, out io.Writer, s *session.Session, name string, form output) error {
	var last watch.Snapshot
	for q, err := range watch.Queue(ctx, s, name) {
		if err != nil {
			return err
		}
		if form == outputJSON {
			err = view.Write(out, view.QueueOf(q, time.Now()), false)
		} else {
			err = printLines(out, view.Changes(last, q, time.Now()))
		}
		if err != nil {
			return err
		}
		last = q
	}
	return nil
}
