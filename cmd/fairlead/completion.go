package main

import (
	"context"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/watch"
)

// completeTimeout bounds how long a shell waits for names.
const completeTimeout = time.Second

// anyKind are all names.
const anyKind = ""

// completeNames completes the first argument with names that are in use, as a kind
// if it is given, and others with files. Trouble is not told: a shell has no place
// for it.
func (f *storeFlags) completeNames(kind string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			if cmd.ArgsLenAtDash() < 0 && !strings.Contains(cmd.Use, "CMD") {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		}
		ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
		defer cancel()
		return f.names(ctx, begun, kind), cobra.ShellCompDirectiveNoFileComp
	}
}

func (f *storeFlags) names(ctx context.Context, begun, kind string) []cobra.Completion {
	s, err := f.openLogging(ctx, "", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil
	}
	defer func() { _ = s.Close(ctx) }()
	queues, err := watch.List(ctx, s, begun)
	if err != nil {
		return nil
	}
	return completions(queues, kind)
}

// completions leaves out what means something to a shell: the names of others are
// put on the user's command line as they are.
func completions(queues []watch.Snapshot, kind string) (names []cobra.Completion) {
	for _, q := range queues {
		plain := strings.IndexFunc(q.Name, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-+@%,", r)
		}) < 0 && !strings.HasPrefix(q.Name, "-")
		if plain && (kind == anyKind || q.Kind == kind || q.Kind == "") {
			names = append(names, cobra.CompletionWithDesc(q.Name, view.Summary(q)))
		}
	}
	return names
}
