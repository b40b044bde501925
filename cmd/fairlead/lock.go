package main

import (
	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// newLock returns `fairlead lock`: a holdCommand that acquires a mutex, or an
// rwmutex for reading. A mutex excludes readers of its name as a writer does.
func newLock(store *storeFlags) *cobra.Command {
	var shared bool
	h := &holdCommand{store: store}
	h.acquirers = func(s *session.Session, name string, opts *watch.Options) (wait, try acquirer) {
		if shared {
			m := rwmutex.NewWith(s, name, opts)
			return m.RLock, m.TryRLock
		}
		m := mutex.NewWith(s, name, opts)
		return m.Lock, m.TryLock
	}
	cmd := &cobra.Command{
		Use:   "lock NAME [flags] -- CMD [ARG...]",
		Short: "Run a command while holding a lock",
		Long: `Wait for the lock NAME, first come, first served, run CMD while holding it, and
release it when CMD has ended.

It is held by one at a time, or with --shared by any number that also say
--shared. Who comes first has its turn first, shared or not: one that says
--shared waits for those ahead that do not, whether they hold or wait.

When the wait takes longer than a second, a line on standard error says at which
place in the queue it is and who holds the lock; --quiet leaves that out.

CMD is run directly, not by a shell, in a process group of its own. It gets
standard input and the signals that fairlead gets, and in its environment
FAIRLEAD_NAME, FAIRLEAD_TOKEN (the fencing token: larger for each holder, so that
what CMD writes to can refuse a late one) and FAIRLEAD_KEY (the entry's key in
the store). With --shared, a smaller token than another's is no sign of a late
holder. What CMD leaves running in the background goes on without the lock; but after
SIGTERM, or where SIGINT, SIGHUP or SIGQUIT has ended CMD, the lock is kept until all that
CMD has started in its group has ended, or another of these signals comes.

Signals do not reach a CMD that runs as another user, which could not be ended either
when the lock is lost: so "sudo fairlead lock NAME -- CMD", not "fairlead lock NAME --
sudo CMD".

When the lease cannot be renewed, CMD is ended before somebody else can get the
lock: see --kill-after.

` + statusHelp + `,
124 after --timeout, and 1 (see --conflict-exit-code) with --nonblock
when the lock cannot be had at once.`,
		Example: `  fairlead lock billing/nightly -- ./bill.sh
  fairlead lock billing/nightly --nonblock --quiet --min-hold 1m -- ./bill.sh   # from cron on many machines
  fairlead lock catalog --shared -- ./report.sh    # any number at a time, but never
  fairlead lock catalog -- ./rebuild.sh            # while this runs`,
		ValidArgsFunction: store.completeNames(anyKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := h.parse(cmd, args); err != nil {
				return err
			}
			return h.run(cmd)
		},
	}
	h.register(cmd, "the lock")
	cmd.Flags().BoolVar(&shared, "shared", false, "hold the lock together with others that say --shared (as a reader;\n"+
		"without it, as the only one)")
	return cmd
}
