package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/session"
)

// An electCommand is `fairlead elect`.
type electCommand struct {
	task
	store *storeFlags
	value string
}

func newElect(store *storeFlags) *cobra.Command {
	e := &electCommand{store: store}
	cmd := &cobra.Command{
		Use:   "elect NAME [flags] -- CMD [ARG...]",
		Short: "Run a command while leading",
		Long: `Stand for election NAME, and run CMD while leading. When the leadership is lost,
CMD is ended, fairlead stands again, and runs CMD again once it leads again.
When CMD ends by itself, fairlead resigns and exits with its status.

CMD is run as by "fairlead lock". SIGTERM, SIGINT, SIGHUP and SIGQUIT go to CMD;
fairlead resigns when CMD has ended, and exits. A long wait is told as by "fairlead
lock"; "fairlead leader" says who leads.

` + statusHelp + `.`,
		Example:           `  fairlead elect billing/leader --value "$(hostname):8080" -- ./serve --port 8080`,
		ValidArgsFunction: store.completeNames("election"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := e.parse(cmd, args); err != nil {
				return err
			}
			return e.run(cmd)
		},
	}
	e.register(cmd)
	cmd.Flags().StringVar(&e.value, "value", "", "what others see of the leader, such as its address (default host/pid)")
	return cmd
}

func (e *electCommand) run(cmd *cobra.Command) error {
	d := newDesk()
	defer d.close()
	s, err := e.store.open(d.ctx, "")
	if err != nil {
		if status, yes := d.interrupted(); yes {
			return exit(status)
		}
		return err
	}
	defer closeSession(s)
	if err := e.settle(cmd, s.TTL()); err != nil {
		return err
	}
	if e.value == "" {
		e.value = s.Identity()
	}
	return e.campaign(s, d)
}

// errEnded says that the command was ended for a lease that seemed lost.
var errEnded = errors.New("the lease could not be renewed in time and the command was ended")

// campaign runs the command in each term until it ends by itself or a signal
// asks for the end.
func (e *electCommand) campaign(s *session.Session, d *desk) error {
	ctx, stop := context.WithCancel(d.ctx)
	defer stop()
	opts, end := e.options(s)
	defer end()
	finished := false
	var result error // when finished
	lead := func(ctx context.Context) error {
		end()
		term, _ := election.TermFrom(ctx)
		outcome, err := e.task.run(term.Grant, d)
		switch {
		case err == nil && outcome.Lost && term.Context().Err() != nil: // the cause says why
			return errors.New("the command was ended")
		case err == nil && outcome.Lost:
			return errEnded
		}
		if finished, result = true, err; err == nil {
			result = exit(outcome.Status)
		}
		stop() // even if the term is lost in this very moment
		return nil
	}
	el := election.NewWith(s, e.name, opts)
	for {
		err := el.Run(ctx, e.value, lead)
		if finished {
			return result
		}
		if status, yes := d.interrupted(); yes {
			return exit(status)
		}
		if !errors.Is(err, errEnded) {
			return broken(advise(err))
		}
		// The lease was renewed after all, but too late for the command.
		fmt.Fprintf(os.Stderr, "fairlead: %v: campaigning again in %q\n", err, e.name)
	}
}
