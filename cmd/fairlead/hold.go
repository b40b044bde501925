package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/child"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// A holdCommand waits for something, and runs a command while holding it. Lock
// and semaphore are such commands, and differ only in what they acquire.
type holdCommand struct {
	task
	store        *storeFlags
	acquirers    func(s *session.Session, name string, opts *watch.Options) (wait, try acquirer)
	timeout      time.Duration
	nonblock     bool
	minHold      time.Duration
	conflictCode int
}

// An acquirer is a method of a primitive, such as Lock or TryLock of a mutex.
type acquirer func(ctx context.Context) (*session.Grant, error)

// register adds the flags; what is held, such as "the lock", is named in their
// help.
func (h *holdCommand) register(cmd *cobra.Command, what string) {
	h.task.register(cmd)
	flags := cmd.Flags()
	flags.DurationVar(&h.timeout, "timeout", 0, "wait at most this long for "+what+"; 0: as long as it takes")
	flags.BoolVar(&h.nonblock, "nonblock", false, "do not wait: give up unless "+what+" can be had at once;\n"+
		"with --quiet, without a word")
	flags.DurationVar(&h.minHold, "min-hold", 0, "keep "+what+" for at least this long, also when CMD ends sooner, so that\n"+
		"machines with different clocks do not each run it in turn; a signal ends it")
	flags.IntVar(&h.conflictCode, "conflict-exit-code", statusConflict, "exit status when --nonblock gives up")
	cmd.MarkFlagsMutuallyExclusive("timeout", "nonblock")
}

// parse takes the arguments and looks at the flags, before anything is asked of
// the store.
func (h *holdCommand) parse(cmd *cobra.Command, args []string) error {
	if err := h.task.parse(cmd, args); err != nil {
		return err
	}
	if h.timeout < 0 || h.minHold < 0 {
		return fmt.Errorf("--timeout %v and --min-hold %v must not be negative", h.timeout, h.minHold)
	}
	if h.conflictCode < 0 || h.conflictCode > 255 {
		return fmt.Errorf("--conflict-exit-code %d is not between 0 and 255", h.conflictCode)
	}
	return nil
}

func (h *holdCommand) run(cmd *cobra.Command) error {
	d := newDesk(otherSignals...)
	defer d.close()
	stop, err := h.telemetry.start(d.ctx, false)
	if err != nil {
		return err
	}
	defer stop()
	ctx, s, err := h.open(d, h.store)
	if err != nil {
		return h.failure(err, d)
	}
	defer closeSession(s)
	if err := h.settle(cmd, s.TTL()); err != nil {
		return err
	}
	g, err := h.acquire(ctx, s)
	if err != nil {
		return h.failure(err, d)
	}
	return h.hold(g, d)
}

func (h *holdCommand) acquire(ctx context.Context, s *session.Session) (*session.Grant, error) {
	opts, end := h.options(s)
	defer end()
	opts.MaxWait = h.timeout
	wait, try := h.acquirers(s, h.name, opts)
	if !h.nonblock {
		return wait(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, h.store.connectTimeout)
	defer cancel()
	return try(ctx)
}

// failure gives the error of what came before the command its exit status.
func (h *holdCommand) failure(err error, d *desk) error {
	status, yes := d.interrupted()
	switch {
	case yes:
		return exit(status)
	case errors.Is(err, session.ErrHeld):
		if h.quiet { // cron sends a mail for whatever is printed
			return exit(h.conflictCode)
		}
		if h.conflictCode == 0 {
			fmt.Fprintf(os.Stderr, "fairlead: %v\n", err)
			return nil
		}
		return &exitError{status: h.conflictCode, err: err}
	case h.timeout > 0 && isWait(err) && errors.Is(err, context.DeadlineExceeded):
		return &exitError{status: statusTimeout, err: err}
	}
	return broken(advise(err))
}

// broken gives the error of one whose wait somebody broke its exit status.
func broken(err error) error {
	if _, ok := errors.AsType[*session.Broken](err); ok {
		return &exitError{status: statusLost, err: err}
	}
	return err
}

// isWait tells the error of a wait for one's turn from one of reaching the store.
func isWait(err error) bool {
	_, ok := errors.AsType[*session.Error](err)
	return ok
}

// hold runs the command and keeps the grant until it has ended, and for
// --min-hold. The session does not give the lease up under a function that runs
// in Do, so even what seems lost too early is not free before the command has
// ended.
func (h *holdCommand) hold(g *session.Grant, d *desk) error {
	since := time.Now()
	var outcome child.Outcome
	started := false
	ctx, done := context.WithCancel(context.Background())
	defer done()
	err := g.Do(ctx, func(context.Context) error {
		defer done() // closeSession bounds what is left, which is to give it back
		var err error
		if outcome, err = h.task.run(g, d); err != nil {
			return err
		}
		started = true
		if !outcome.Lost {
			h.linger(d.ctx, g, since)
		}
		return nil
	})
	switch {
	case !started && errors.Is(err, session.ErrLost):
		return &exitError{status: statusLost, err: err}
	case !started:
		return err
	case outcome.Lost:
		if err == nil {
			err = errors.New("the lease could not be renewed in time")
		}
		return &exitError{status: statusLost, err: fmt.Errorf("%w; %s", err, fate(outcome))}
	case err != nil:
		fmt.Fprintf(os.Stderr, "fairlead: the command ended before this: %v\n", err)
	}
	return exit(outcome.Status)
}

// linger waits for the rest of --min-hold. A signal ends the wait, also one that
// came while the command ran.
func (h *holdCommand) linger(ctx context.Context, g *session.Grant, since time.Time) {
	rest := time.NewTimer(time.Until(since.Add(h.minHold)))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
	case <-g.Context().Done():
	}
}
