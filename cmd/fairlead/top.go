package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/top"
	"github.com/fairlead-go/fairlead/session"
)

func newTop(store *storeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "top [PREFIX]",
		Short: "Show all names live, on a full screen",
		Long: `Show the names that are in use and start with PREFIX, or all, live: those with the
most waiters first, then those held longest. A name opens with its holders and its
queue, as "fairlead show" has them, live as well.

  up, down, k, j, page up, page down, home, end   move
  enter                                           open the name; esc goes back
  /                                               show names that contain what is typed
                                                  then; enter keeps that, esc ends it
  q, Ctrl-C                                       quit

With NO_COLOR in the environment it uses no colours.

` + lookStatusHelp + `.`,
		Example: `  fairlead top
  fairlead top billing/`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: store.completeNames(anyKind),
		RunE: func(_ *cobra.Command, args []string) error {
			if !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd())) {
				return errors.New("top needs a terminal: where there is none, use \"fairlead ls\" or \"fairlead watch\"")
			}
			opts := top.Options{Colour: os.Getenv("NO_COLOR") == ""}
			if len(args) > 0 {
				opts.Prefix = args[0]
			}
			// The screen is taken: trouble shows there, by what is not up to date.
			return store.lookLogging(slog.New(slog.DiscardHandler), func(ctx context.Context, s *session.Session) error {
				return runTop(ctx, s, opts)
			})
		},
	}
}

func runTop(ctx context.Context, s *session.Session, opts top.Options) error {
	ctx, cancel := context.WithCancel(ctx)
	m := top.New(ctx, top.Of(s), opts)
	defer m.Wait()
	defer cancel()
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithoutSignalHandler()).Run()
	return err
}
