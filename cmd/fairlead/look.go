package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/fairlead-go/fairlead/session"
)

// look runs do with a session that only looks on.
func (f *storeFlags) look(do func(ctx context.Context, s *session.Session) error) error {
	return f.lookLogging(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), do)
}

func (f *storeFlags) lookLogging(logger *slog.Logger, do func(ctx context.Context, s *session.Session) error) error {
	d := newDesk(otherSignals...)
	defer d.close()
	s, err := f.openLogging(d.ctx, "", logger)
	if err == nil {
		defer closeSession(s)
		err = do(d.ctx, s)
	}
	if status, yes := d.interrupted(); yes {
		return exit(status)
	}
	if errors.Is(err, syscall.EPIPE) {
		return exit(statusPipe)
	}
	return err
}

// once bounds one question to the store, which is otherwise asked until it answers.
func once[T any](ctx context.Context, f *storeFlags, question func(context.Context) (T, error)) (T, error) {
	limited, cancel := context.WithTimeout(ctx, f.connectTimeout)
	defer cancel()
	answer, err := question(limited)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("%w (tried for %v)", err, f.connectTimeout)
	}
	return answer, err
}

// An output is the form in which a command prints what it found.
type output string

const (
	outputTable output = "table"
	outputJSON  output = "json"
)

var _ pflag.Value = new(output)

// Set takes the value of the flag.
func (o *output) Set(s string) error {
	switch output(s) {
	case outputTable, outputJSON:
		*o = output(s)
		return nil
	}
	return fmt.Errorf("it is %s or %s", outputTable, outputJSON)
}

func (o *output) String() string { return string(*o) }

// Type is shown in help.
func (o *output) Type() string { return "json|table" }

// register adds the flag. Fields of JSON, and what they mean, are in
// docs/command-line.md.
func (o *output) register(cmd *cobra.Command) {
	*o = outputTable
	cmd.Flags().VarP(o, "output", "o", "in which form to print it")
	// Both fail only for a flag that does not exist, or when it is done twice.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(
		[]cobra.Completion{string(outputJSON), string(outputTable)}, cobra.ShellCompDirectiveNoFileComp))
}

// terminalWidth returns the width of standard output, and 0 when it is no terminal:
// then lines are as long as they are.
func terminalWidth() int {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0
	}
	return width
}
