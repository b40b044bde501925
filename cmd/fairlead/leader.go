package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/session"
)

func newLeader(store *storeFlags) *cobra.Command {
	var form output
	var following bool
	cmd := &cobra.Command{
		Use:   "leader NAME",
		Short: "Print who leads",
		Long: `Print who leads in election NAME: its value, such as its address, its identity and
the fencing token of its term. With --follow, print a line now and for each change,
"nobody leads" included, until a signal ends it.

` + lookStatusHelp + `, and 1 when nobody leads (not with --follow).`,
		Example: `  fairlead leader billing/leader
  fairlead leader billing/leader -o json | jq -r .leader.value
  fairlead leader billing/leader --follow`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: store.completeNames("election"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return store.look(func(ctx context.Context, s *session.Session) error {
				e := election.New(s, args[0])
				if following {
					return followLeader(ctx, cmd.OutOrStdout(), e, args[0], form)
				}
				l, err := once(ctx, store, e.Leader)
				if errors.Is(err, session.ErrNoLeader) {
					return &exitError{status: statusNoLeader, err: err}
				}
				if err != nil {
					return err
				}
				return printLeader(cmd.OutOrStdout(), args[0], l, form)
			})
		},
	}
	form.register(cmd)
	cmd.Flags().BoolVar(&following, "follow", false, "go on, and print a line for each change")
	return cmd
}

func printLeader(out io.Writer, name string, l election.Leader, form output) error {
	if form == outputJSON {
		return view.Write(out, view.LeadershipOf(name, l, time.Now()), true)
	}
	return printLines(out, view.LeaderTable(l).Lines(terminalWidth()))
}

func followLeader(ctx context.Context, out io.Writer, e *election.Election, name string, form output) error {
	for l, err := range e.Observe(ctx) {
		if err != nil {
			return err
		}
		if form == outputJSON {
			err = view.Write(out, view.LeadershipOf(name, l, time.Now()), false)
		} else {
			err = printLines(out, []string{view.LeaderLine(l, time.Now())})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
