package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// A releaseCommand breaks one grant, or takes one waiter out of the queue.
type releaseCommand struct {
	store   *storeFlags
	name    string
	token   uint64
	force   bool
	yes     bool
	reason  string
	timeout time.Duration
}

func newRelease(store *storeFlags) *cobra.Command {
	r := &releaseCommand{store: store}
	cmd := &cobra.Command{
		Use:   "release NAME --token N",
		Short: "Break a lock, permit or term of leadership that somebody else holds",
		Long: `Break what is held under the name NAME with the token N, or take who waits with
that token out of the queue: that one and no other, even if it changes hands just
now. It shows whom that concerns, and asks.

The owner is told, and by whom and why. What it does under the lock is ended:
"fairlead lock" ends its command, and exits with status 123. The next in the queue has
its turn when the owner has stopped, and release waits for that.

With --force the entry is removed at once, and the next one starts while the owner
may still be at work: it may be stopped, or cut off from the store, and then does not
know. So look first whether it is. Only a resource that refuses old tokens is safe
from both writing to it. An owner that is dead needs no force: its lease runs out
within the TTL. What other libraries hold, such as "etcdctl lock", can be broken with
--force alone, as they obey nobody.

Exit status: 0 when it is broken, 1 when nothing was: N is not, or no longer, in the
queue, or the answer was no; 124 when the owner has not let go after --timeout, which
it may still do; 125 when fairlead itself failed, also where there is no terminal to
ask on and no --yes; 128+n when signal n came`,
		Example: `  fairlead release billing/nightly --token 4711 --reason "hangs since 3 a.m."
  fairlead release billing/nightly --token 4711 --force --yes`,
		ValidArgsFunction: store.completeNames(anyKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.parse(cmd, args); err != nil {
				return err
			}
			return r.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.Uint64Var(&r.token, "token", 0, "the token of what is to be broken")
	flags.BoolVar(&r.force, "force", false, "do not wait until the owner has stopped")
	flags.BoolVar(&r.yes, "yes", false, "do not ask")
	flags.StringVar(&r.reason, "reason", "", "told to the owner, and to whoever reads its log; at most 256 bytes")
	flags.DurationVar(&r.timeout, "timeout", 10*time.Second, "wait at most this long for the owner to let go; 0: as long as it takes")
	return cmd
}

// parse takes the arguments and looks at the flags, before anything is asked of
// the store.
func (r *releaseCommand) parse(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) != 1:
		return fmt.Errorf("expected one name: fairlead %s", cmd.Use)
	case !cmd.Flags().Changed("token"):
		return errors.New("--token is missing: it says which of those in the queue is meant")
	case r.timeout < 0:
		return fmt.Errorf("--timeout %v is negative", r.timeout)
	case !r.yes && !term.IsTerminal(int(os.Stdin.Fd())):
		return errors.New("standard input is no terminal to ask on: say --yes to break it without being asked")
	}
	r.name = args[0]
	return driver.CheckName(r.name)
}

func (r *releaseCommand) run(cmd *cobra.Command) error {
	d := newDesk(otherSignals...)
	defer d.close()
	err := r.work(cmd, d)
	if status, yes := d.interrupted(); yes && err != nil {
		return exit(status)
	}
	return err
}

func (r *releaseCommand) work(cmd *cobra.Command, d *desk) error {
	s, err := r.store.open(d.ctx, "")
	if err != nil {
		return err
	}
	defer closeSession(s)
	q, err := r.look(d.ctx, s)
	if err != nil {
		return err
	}
	err = r.describe(cmd.OutOrStdout(), q, time.Now())
	if errors.Is(err, syscall.EPIPE) {
		return exit(statusPipe)
	}
	if err != nil {
		return err
	}
	if !r.yes {
		if err := r.ask(d.ctx); err != nil {
			return err
		}
	}
	if err := r.breakIt(d.ctx, s); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(cmd.OutOrStdout(), "broken") // it is, whether or not somebody reads that
	return nil
}

// look reads the queue once.
func (r *releaseCommand) look(ctx context.Context, s *session.Session) (q watch.Snapshot, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.store.connectTimeout)
	defer cancel()
	for q, err = range watch.Queue(ctx, s, r.name) {
		break
	}
	return q, err
}

// describe says whom it concerns.
func (r *releaseCommand) describe(w io.Writer, q watch.Snapshot, now time.Time) error {
	concerns := func(e watch.Entry) bool { return e.Token == r.token }
	state, entries := "holds", q.Holders
	i := slices.IndexFunc(entries, concerns)
	if i < 0 {
		state, entries = "waits", q.Waiters
		i = slices.IndexFunc(entries, concerns)
	}
	if i < 0 {
		return &exitError{status: statusConflict, err: fmt.Errorf("token %d: %w; %s", r.token, session.ErrNotHeld, view.Text(q.String()))}
	}
	e := entries[i]
	var b strings.Builder
	line := func(what, text string) { fmt.Fprintf(&b, "%-8s %s\n", what, text) }
	line("name", view.Text(r.name))
	line("token", fmt.Sprintf("%d, which %s as %s (%s)", e.Token, state, cmp.Or(view.Text(e.Kind), "another library's lock"), view.Text(e.Mode)))
	line("owner", cmp.Or(view.Text(e.Identity), view.Text(e.Key)))
	if !e.Since.IsZero() { // by the owner's clock
		line("since", fmt.Sprintf("%s, %v ago", e.Since.Local().Format(time.DateTime), now.Sub(e.Since).Round(time.Second)))
	}
	if e.Note != "" {
		line("note", view.Text(e.Note))
	}
	line("waiting", fmt.Sprint(len(q.Waiters)))
	_, err := io.WriteString(w, b.String())
	return err
}

// ask returns nil if the answer is yes.
func (r *releaseCommand) ask(ctx context.Context) error {
	question := "Tell its owner to let go? [y/N] "
	if r.force {
		question = "Remove it now, though its owner may still be at work when the next one starts? [y/N] "
	}
	fmt.Fprint(os.Stderr, question)
	answers := make(chan string, 1)
	go func() { // which ends with the process, if nobody answers
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		answers <- line
	}()
	select {
	case answer := <-answers:
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return nil
		}
		return &exitError{status: statusConflict, err: errors.New("nothing was broken")}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *releaseCommand) breakIt(ctx context.Context, s *session.Session) error {
	wait, cancel := ctx, context.CancelFunc(func() {})
	if r.timeout > 0 {
		wait, cancel = context.WithTimeout(ctx, r.timeout)
	}
	defer cancel()
	err := s.Break(wait, r.name, r.token, &session.BreakOptions{By: operator(s), Reason: r.reason, Force: r.force})
	switch {
	case errors.Is(err, session.ErrNotHeld):
		return &exitError{status: statusConflict, err: err}
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		hint := "; see --force"
		if r.force { // it waits for the store alone
			hint = ""
		}
		return &exitError{status: statusTimeout, err: fmt.Errorf("%w (after %v%s)", err, r.timeout, hint)}
	}
	return err
}

// operator is who breaks it, as its owner is told.
func operator(s *session.Session) string {
	who := s.Identity()
	if u, err := user.Current(); err == nil {
		who = u.Username + "@" + who
	}
	return who
}
