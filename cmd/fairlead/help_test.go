//go:build unix

package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// documented returns the commands that users see.
func documented(root *cobra.Command) (all []*cobra.Command) {
	for _, cmd := range root.Commands() {
		if !cmd.Hidden && cmd.Name() != "help" && cmd.Name() != "completion" {
			all = append(all, cmd)
		}
	}
	return all
}

func TestEveryCommandIsDescribedWithExamples(t *testing.T) {
	commands := documented(newRoot())
	if len(commands) < 10 {
		t.Fatalf("only %d commands were found", len(commands))
	}
	for _, cmd := range commands {
		if cmd.Long == "" || cmd.Example == "" || cmd.Short == "" {
			t.Errorf("%s: it lacks a description (%t) or an example (%t)", cmd.Name(), cmd.Long == "", cmd.Example == "")
		}
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Short) {
			if len(strings.TrimRight(line, "\n")) > 90 {
				t.Errorf("%s: a line of its description is too long for a terminal: %q", cmd.Name(), line)
			}
		}
	}
}

// The examples of a command are of that command, with flags that it has.
func TestExamplesFitTheirCommands(t *testing.T) {
	for _, described := range documented(newRoot()) {
		for line := range strings.Lines(described.Example) {
			line, _, _ = strings.Cut(line, "|")
			line, _, _ = strings.Cut(line, "#")
			args := strings.Fields(line)
			if len(args) < 2 || args[0] != "fairlead" {
				continue
			}
			root := newRoot()
			cmd, rest, err := root.Find(args[1:])
			if err != nil || cmd.Name() != described.Name() {
				t.Errorf("%q among the examples of %s: %v", line, described.Name(), err)
				continue
			}
			if err := cmd.ParseFlags(rest); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
}
