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

// shownAtMost bounds the holders and the waiters that show shows without --all, so
// that all fits a screen.
const shownAtMost = 8

func newShow(store *storeFlags) *cobra.Command {
	var form output
	var all bool
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show who holds a name, since when, and who waits for whom",
		Long: `Show who holds NAME, with the fencing token, for how long at most, how long the lease
would last if it were not renewed, and the note and value; and the queue, in
order, with how long each has waited and what it waits for.

WAITS FOR says whose leaving lets one look again: "holder 41" is the holder with
that token, "#2" the second of the queue. A lock waits for whoever is right ahead; with
--shared, for the nearest without it; permits, for any holder to leave if they are the
next, and otherwise for those that wait ahead of them.

The store knows since when a holder has been in the queue, but not since when it
holds: so it has held for that time at most. Entries that other libraries made say
neither who made them nor when, and are shown by their key in the store. TTL LEFT is
missing where the store does not tell it (ZooKeeper), and for all but the first
holders on etcd.

` + lookStatusHelp + `.
Nobody holding it is no failure: see "fairlead leader" for a status that tells.`,
		Example: `  fairlead show billing/nightly
  fairlead show billing/nightly --all
  fairlead show billing/nightly -o json | jq '.holders[].identity'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: store.completeNames(anyKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			most := shownAtMost
			if all {
				most = 0
			}
			return store.look(func(ctx context.Context, s *session.Session) error {
				return show(ctx, cmd.OutOrStdout(), store, s, args[0], form, most)
			})
		},
	}
	form.register(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "show all holders and waiters, however many (JSON always has all)")
	return cmd
}

func show(ctx context.Context, out io.Writer, store *storeFlags, s *session.Session, name string, form output, most int) error {
	q, err := once(ctx, store, func(ctx context.Context) (watch.Snapshot, error) { return watch.Inspect(ctx, s, name) })
	if err != nil {
		return err
	}
	if form == outputJSON {
		return view.Write(out, view.QueueOf(q, time.Now()), true)
	}
	return printLines(out, view.Show(q, time.Now(), terminalWidth(), most))
}
