package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/child"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

// A lockCommand is `fairlead lock`.
type lockCommand struct {
	task
	store        *storeFlags
	timeout      time.Duration
	nonblock     bool
	minHold      time.Duration
	conflictCode int
}

func newLock(store *storeFlags) *cobra.Command {
	l := &lockCommand{store: store}
	cmd := &cobra.Command{
		Use:   "lock NAME [flags] -- CMD [ARG...]",
		Short: "Run a command while holding a lock",
		Long: `Wait for the lock NAME, first come, first served, run CMD while holding it, and
release it when CMD has ended.

CMD is run directly, not by a shell, in a process group of its own. It gets
standard input and the signals that fairlead gets, and in its environment
FAIRLEAD_NAME, FAIRLEAD_TOKEN (the fencing token: larger for each holder, so that
what CMD writes to can refuse a late one) and FAIRLEAD_KEY (the entry's key in
the store). What CMD leaves running in the background goes on without the lock.

When the lease cannot be renewed, CMD is ended before somebody else can get the
lock: see --kill-after.

` + statusHelp + `,
124 after --timeout, and 1 (see --conflict-exit-code) with --nonblock
when the lock is held.`,
		Example: `  fairlead lock billing/nightly -- ./bill.sh
  fairlead lock billing/nightly --nonblock --min-hold 1m -- ./bill.sh   # from cron on many machines`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := l.parse(cmd, args); err != nil {
				return err
			}
			return l.run(cmd)
		},
	}
	l.register(cmd)
	flags := cmd.Flags()
	flags.DurationVar(&l.timeout, "timeout", 0, "wait at most this long for the lock (default: as long as it takes)")
	flags.BoolVar(&l.nonblock, "nonblock", false, "do not wait: give up when the lock is held or waited for")
	flags.DurationVar(&l.minHold, "min-hold", 0, "keep the lock for at least this long, also when CMD ends sooner, so that\n"+
		"machines with different clocks do not each run it in turn; a signal ends it")
	flags.IntVar(&l.conflictCode, "conflict-exit-code", statusConflict, "exit status with --nonblock when the lock is held")
	cmd.MarkFlagsMutuallyExclusive("timeout", "nonblock")
	return cmd
}

func (l *lockCommand) run(cmd *cobra.Command) error {
	if l.timeout < 0 || l.minHold < 0 {
		return fmt.Errorf("--timeout %v and --min-hold %v must not be negative", l.timeout, l.minHold)
	}
	if l.conflictCode < 0 || l.conflictCode > 255 {
		return fmt.Errorf("--conflict-exit-code %d is not between 0 and 255", l.conflictCode)
	}
	d := newDesk()
	defer d.close()
	s, err := l.store.open(d.ctx, "")
	if err != nil {
		return l.failure(err, d)
	}
	defer closeSession(s)
	if err := l.settle(cmd, s.TTL()); err != nil {
		return err
	}
	g, err := l.acquire(d.ctx, s)
	if err != nil {
		return l.failure(err, d)
	}
	return l.hold(g, d)
}

func (l *lockCommand) acquire(ctx context.Context, s *session.Session) (*session.Grant, error) {
	m := mutex.NewWith(s, l.name, &mutex.Options{Note: l.note, MaxWait: l.timeout})
	if !l.nonblock {
		return m.Lock(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, l.store.connectTimeout)
	defer cancel()
	return m.TryLock(ctx)
}

// failure gives the error of what came before the command its exit status.
func (l *lockCommand) failure(err error, d *desk) error {
	status, yes := d.interrupted()
	switch {
	case yes:
		return exit(status)
	case errors.Is(err, session.ErrHeld):
		if l.conflictCode == 0 {
			fmt.Fprintf(os.Stderr, "fairlead: %v\n", err)
			return nil
		}
		return &exitError{status: l.conflictCode, err: err}
	case l.timeout > 0 && isWait(err) && errors.Is(err, context.DeadlineExceeded):
		return &exitError{status: statusTimeout, err: err}
	}
	return err
}

// isWait tells the error of a wait for a lock from one of reaching the store.
func isWait(err error) bool {
	_, ok := errors.AsType[*session.Error](err)
	return ok
}

// hold runs the command and keeps the lock until it has ended, and for
// --min-hold. The session does not give the lease up under a function that runs
// in Do, so even a lock that seems lost too early is not free before the command
// has ended.
func (l *lockCommand) hold(g *session.Grant, d *desk) error {
	since := time.Now()
	var outcome child.Outcome
	started := false
	err := g.Do(context.Background(), func(context.Context) error {
		var err error
		if outcome, err = l.task.run(g, d); err != nil {
			return err
		}
		started = true
		if !outcome.Lost {
			l.linger(d.ctx, g, since)
		}
		return nil
	})
	switch {
	case !started:
		return err
	case outcome.Lost:
		if err == nil {
			err = errors.New("the lease could not be renewed in time")
		}
		return &exitError{status: statusLost, err: fmt.Errorf("%w; the command was ended", err)}
	case err != nil:
		fmt.Fprintf(os.Stderr, "fairlead: the command ended before this: %v\n", err)
	}
	return exit(outcome.Status)
}

// linger waits for the rest of --min-hold. A signal ends the wait, also one that
// came while the command ran.
func (l *lockCommand) linger(ctx context.Context, g *session.Grant, since time.Time) {
	rest := time.NewTimer(time.Until(since.Add(l.minHold)))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
	case <-g.Context().Done():
	}
}
