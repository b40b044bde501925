package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/child"
	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/export"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// A task is the command to run under a grant, as lock, semaphore and elect have it.
type task struct {
	name      string   // of the lock, semaphore or election
	args      []string // the command
	path      string   // where it is
	note      string
	quiet     bool
	killAfter time.Duration
	telemetry telemetryFlags
}

// register adds the flags that all of them share.
func (t *task) register(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&t.killAfter, "kill-after", 0,
		"when the lease cannot be renewed, send CMD SIGTERM this long before\n"+
			"the deadline, at which it gets SIGKILL (default a fifth of the TTL)")
	cmd.Flags().StringVar(&t.note, "note", "", "what this is for, shown to operators (default the name of CMD)")
	cmd.Flags().BoolVarP(&t.quiet, "quiet", "q", false, "do not say on standard error how the wait stands when it takes longer than a second")
	t.telemetry.register(cmd.Flags())
}

// parse takes NAME -- CMD [ARG...] and finds the command, before anything is
// asked of the store.
func (t *task) parse(cmd *cobra.Command, args []string) error {
	if cmd.ArgsLenAtDash() != 1 || len(args) < 2 {
		return fmt.Errorf("expected a name, --, and a command: fairlead %s", cmd.Use)
	}
	if t.killAfter < 0 {
		return fmt.Errorf("--kill-after %v is negative", t.killAfter)
	}
	t.name, t.args = args[0], args[1:]
	if err := driver.CheckName(t.name); err != nil {
		return err
	}
	if t.note == "" {
		t.note = filepath.Base(t.args[0])
	}
	var err error
	t.path, err = child.Find(t.args[0])
	return startFailure(err)
}

// open opens the session that the command runs under. The context returned is that of the desk,
// under the span that fairlead itself was started under.
func (t *task) open(d *desk, store *storeFlags) (context.Context, *session.Session, error) {
	o := t.telemetry.options()
	o.Logger = warnings()
	s, err := store.openWith(d.ctx, o)
	return export.Parent(d.ctx), s, err
}

// settle fixes what depends on the lease. A renewal that is late, or fails once,
// must not end the command, so kill-after has to leave room for the next one.
func (t *task) settle(cmd *cobra.Command, ttl time.Duration) error {
	if !cmd.Flags().Changed("kill-after") {
		t.killAfter = ttl / 5
	}
	if t.killAfter > ttl/3 {
		return fmt.Errorf("--kill-after %v is more than a third of the TTL %v, so that one late renewal would end the command: "+
			"choose a smaller one or a larger --ttl", t.killAfter, ttl)
	}
	return nil
}

// options are those of the wait, whose progress is told until end is called.
func (t *task) options(s *session.Session) (opts *watch.Options, end func()) {
	opts = &watch.Options{Note: t.note}
	if t.quiet {
		return opts, func() {}
	}
	p := newProgress(s, t.name)
	opts.Queued = p.queued
	return opts, p.end
}

// run runs the command under the grant.
func (t *task) run(g *session.Grant, d *desk) (child.Outcome, error) {
	signals, detach := d.attach()
	if status, yes := d.interrupted(); yes {
		detach(false)
		return child.Outcome{}, exit(status)
	}
	c := &child.Command{
		Path: t.path, Args: t.args,
		// Where fairlead runs under fairlead, the inner grant is the one to tell.
		Env: child.Environment(os.Environ(), append(export.Environment(g.Context()),
			"FAIRLEAD_NAME="+g.Name(),
			"FAIRLEAD_TOKEN="+strconv.FormatUint(g.Token(), 10),
			"FAIRLEAD_KEY="+g.Key())...),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		KillAfter: t.killAfter, Signals: signals, Warn: warn,
	}
	outcome, err := c.Run(g)
	detach(outcome.Lost)
	if err == nil && outcome.Lost {
		t.awaitVerdict(d.ctx, g)
	}
	return outcome, startFailure(err)
}

// warn tells a user what has to be known while a command runs.
func warn(text string) { fmt.Fprintf(os.Stderr, "fairlead: %s\n", text) }

// fate says what became of a command whose grant was lost.
func fate(o child.Outcome) string {
	if o.Unreached {
		return "the command could not be ended, as it runs as another user"
	}
	return "the command was ended"
}

// awaitVerdict waits until it is known whether the grant that the command was ended for is
// lost: that is so at its deadline, unless the lease is renewed after all, which moves that.
// A signal ends the wait. Were the grant of a command that ends when it is asked to be
// released at once, while the store does not answer, no metric and no trace would ever tell
// of a loss.
func (t *task) awaitVerdict(ctx context.Context, g *session.Grant) {
	for time.Until(g.Deadline()) <= t.killAfter {
		select {
		case <-ctx.Done():
			return
		case <-g.Context().Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// startFailure gives the error of a command that does not start its exit status.
func startFailure(err error) error {
	if e, ok := errors.AsType[*child.StartError](err); ok {
		return &exitError{status: e.Status, err: e.Err}
	}
	return err
}

// advise adds what to do to the error of one who finds the name in use otherwise.
func advise(err error) error {
	switch {
	case errors.Is(err, session.ErrKind):
		return fmt.Errorf("%w; no name is a semaphore's and also that of a lock or an election: choose another one", err)
	case errors.Is(err, session.ErrLimit):
		return fmt.Errorf("%w; all who use a semaphore give the same --limit: give its present one, or wait until nobody uses it", err)
	}
	return err
}
