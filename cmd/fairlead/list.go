package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

func newList(store *storeFlags) *cobra.Command {
	var form output
	cmd := &cobra.Command{
		Use:     "ls [PREFIX]",
		Aliases: []string{"list"},
		Short:   "List the names that are in use",
		Long: `List the names that somebody holds or waits for and that start with PREFIX, or all
of them: what each is used as, how many hold it and wait for it, and for how long it
has been held at most.

The store knows since when a holder has been in the queue, but not since when it
holds: so it has held for that time at most. Of entries that other libraries made
not even that is known, and shown as "-".

` + lookStatusHelp + `.`,
		Example: `  fairlead ls
  fairlead ls billing/
  fairlead ls -o json | jq -r '.[] | select(.waiters != []) | .name'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: store.completeNames(anyKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := ""
			if len(args) > 0 {
				prefix = args[0]
			}
			return store.look(func(ctx context.Context, s *session.Session) error {
				return list(ctx, cmd.OutOrStdout(), store, s, prefix, form)
			})
		},
	}
	form.register(cmd)
	return cmd
}

func list(ctx context.Context, out io.Writer, store *storeFlags, s *session.Session, prefix string, form output) error {
	queues, err := once(ctx, store, func(ctx context.Context) ([]watch.Snapshot, error) { return watch.List(ctx, s, prefix) })
	if err != nil {
		return err
	}
	if form == outputJSON {
		all := make([]view.Queue, 0, len(queues)) // [] and not null
		for _, q := range queues {
			all = append(all, view.QueueOf(q, time.Now()))
		}
		return view.Write(out, all, true)
	}
	return printLines(out, view.List(queues, time.Now()).Lines(terminalWidth()))
}

func printLines(out io.Writer, lines []string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}
