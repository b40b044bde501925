package child

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// A Grant is what the supervisor has to know of a session's grant.
type Grant interface {
	Context() context.Context // done when the grant is released or lost
	Deadline() time.Time      // end of the trust window; moves with each renewal
}

// A Command is what to run, and how.
type Command struct {
	Path string   // as Find returns it
	Args []string // with the command's name as the first
	Env  []string

	Stdin, Stdout, Stderr *os.File

	// KillAfter is how long before the grant's deadline the command is asked to
	// end. 0: it is not asked, only killed.
	KillAfter time.Duration

	// Signals are handed on to the command's process group.
	Signals <-chan os.Signal

	// Warn is told what a user has to know while the command runs; nil: nobody is.
	Warn func(text string)
}

// An Outcome tells how a command ended.
type Outcome struct {
	Status int  // as a shell has it: 128+n after signal n
	Lost   bool // it was ended because the grant was, or was about to be

	// Unreached says that the command runs as another user, so that no signal could
	// be sent to it: what it has started may go on.
	Unreached bool
}

// Exit statuses for a command that did not start, as a shell has them.
const (
	StatusNotExecutable = 126
	StatusNotFound      = 127
)

// A StartError says that a command could not be started.
type StartError struct {
	Status int // 126 or 127
	Err    error
}

func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// startError classifies err as a shell does.
func startError(err error) error {
	status := StatusNotExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		status = StatusNotFound
	}
	return &StartError{Status: status, Err: err}
}

// Find returns the path of the program, looked up in $PATH where it has no
// slash. The error is a StartError.
func Find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", startError(err)
	}
	return path, nil
}

// Environment returns the inherited variables with own ones, of the form
// NAME=VALUE, in the place of those of the same name.
func Environment(inherited []string, own ...string) []string {
	env := make([]string, 0, len(inherited)+len(own))
	for _, variable := range inherited {
		if !slices.ContainsFunc(own, func(o string) bool { return sameName(variable, o) }) {
			env = append(env, variable)
		}
	}
	return append(env, own...)
}

func sameName(a, b string) bool {
	a, _, _ = strings.Cut(a, "=")
	b, _, _ = strings.Cut(b, "=")
	return a == b
}

// Run runs the command under the grant and returns when it has ended, and with it, where
// it was asked to, or the grant was lost, all of its group. The error is a StartError if
// it never started, and nil otherwise.
func (c *Command) Run(g Grant) (Outcome, error) {
	p, err := Start(c)
	if err != nil {
		return Outcome{}, err
	}
	tty := openTerminal()
	defer tty.close(p)
	s := &supervision{p: p, g: g, tty: tty, killAfter: c.KillAfter, warn: c.Warn}
	if s.warn == nil {
		s.warn = func(string) {}
	}
	return s.run(c.Signals), nil
}
