package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// newSemaphore returns `fairlead semaphore`: a holdCommand that acquires permits.
func newSemaphore(store *storeFlags) *cobra.Command {
	var limit, weight int64
	h := &holdCommand{store: store}
	h.acquirers = func(s *session.Session, name string, opts *watch.Options) (wait, try acquirer) {
		m := semaphore.NewWith(s, name, limit, opts)
		return func(ctx context.Context) (*session.Grant, error) { return m.Acquire(ctx, weight) },
			func(ctx context.Context) (*session.Grant, error) { return m.TryAcquire(ctx, weight) }
	}
	cmd := &cobra.Command{
		Use:     "semaphore NAME --limit N [flags] -- CMD [ARG...]",
		Aliases: []string{"sem"},
		Short:   "Run a command while holding permits of a semaphore",
		Long: `Wait for permits of the semaphore NAME, first come, first served, run CMD while
holding them, and release them when CMD has ended. There are --limit permits, of
which CMD holds --weight. One that waits for many is not overtaken by those
behind it that want few.

The limit is the semaphore's: while somebody holds permits or waits for them, all
have to give the same one. A name is a semaphore's or a lock's, not both.

CMD is run as by "fairlead lock", and has the same variables in its environment; a
long wait is told in the same way.
Tokens tell who asked first. A permit with a smaller token than another may still
be held, so what CMD writes to must not refuse it for that.

When the lease cannot be renewed, CMD is ended before somebody else can get its
permits: see --kill-after.

` + statusHelp + `,
124 after --timeout, and 1 (see --conflict-exit-code) with --nonblock
when the permits cannot be had at once.`,
		Example: `  fairlead semaphore reports/render --limit 4 -- ./render.sh              # four at a time
  fairlead sem reports/render --limit 4 --weight 3 -- ./render.sh --all   # beside one other`,
		ValidArgsFunction: store.completeNames("semaphore"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := h.parse(cmd, args); err != nil {
				return err
			}
			if !cmd.Flags().Changed("limit") {
				return errors.New("--limit is missing: how many permits there are, the same for all who use the semaphore")
			}
			if err := checkPermits(limit, weight); err != nil {
				return err
			}
			return h.run(cmd)
		},
	}
	h.register(cmd, "the permits")
	flags := cmd.Flags()
	flags.Int64Var(&limit, "limit", 0, "how many permits there are: `N`, at least 1; required")
	flags.Int64Var(&weight, "weight", 1, "how many of them CMD needs: `W`, at most --limit")
	return cmd
}

func checkPermits(limit, weight int64) error {
	switch {
	case limit < 1:
		return fmt.Errorf("--limit %d is less than 1", limit)
	case weight < 1:
		return fmt.Errorf("--weight %d is less than 1", weight)
	case weight > limit:
		return fmt.Errorf("--weight %d is more than --limit %d: there will never be that many permits", weight, limit)
	}
	return nil
}
