//go:build unix

package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

// unmoved is the shell script of a command that is asked to end, says so, and goes on
// until it can read a line.
const unmoved = `trap 'echo asked' TERM; echo in; while ! read -r x; do :; done; echo out; exit 0`

func TestReleaseEndsTheCommandOfWhoHolds(t *testing.T) {
	t.Parallel()
	s := open(t, store)
	holder := start(t, "lock", "release/held", "--note", "the nightly run", "--", "sh", "-c", stay)
	holder.expect("in")
	next := start(t, "lock", "release/held", "--", "echo", "next")
	q := awaitQueue(t, s, "release/held", 1, 1)
	p := start(t, "release", "release/held", "--token", fmt.Sprint(q.Holders[0].Token), "--yes", "--reason", "it hangs")
	contains(t, p.end(0), "which holds as mutex", q.Holders[0].Identity, "the nightly run", "broken")
	holder.end(statusLost)
	contains(t, holder.stderr.String(), "broken by", "it hangs", "the command was ended")
	next.expect("next")
	next.end(0)
}

func TestReleaseEndsAWaitForGood(t *testing.T) {
	t.Parallel()
	s := open(t, store)
	g, err := mutex.New(s, "release/wait").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waiter := start(t, "lock", "release/wait", "--", "echo", "in")
	q := awaitQueue(t, s, "release/wait", 1, 1)
	p := start(t, "release", "release/wait", "--token", fmt.Sprint(q.Waiters[0].Token), "--yes")
	contains(t, p.end(0), "which waits as mutex")
	if out := waiter.end(statusLost); out != "" {
		t.Errorf("the command ran: %q", out)
	}
	contains(t, waiter.stderr.String(), "broken by")
	awaitQueue(t, s, "release/wait", 1, 0)
	if err := g.Confirm(t.Context()); err != nil {
		t.Errorf("the holder: %v", err)
	}
}

func TestReleaseEndsATermAndPermits(t *testing.T) {
	t.Parallel()
	s := open(t, store)
	leader := start(t, "elect", "release/leader", "--", "sh", "-c", `trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done`)
	leader.expect("up")
	term := awaitQueue(t, s, "release/leader", 1, 0).Holders[0].Token
	start(t, "release", "release/leader", "--token", fmt.Sprint(term), "--yes", "--reason", "another one's turn").end(0)
	leader.expect("asked")
	leader.expect("up") // in another term
	if now := awaitQueue(t, s, "release/leader", 1, 0).Holders[0].Token; now <= term {
		t.Errorf("the term has token %d, after %d was broken", now, term)
	}

	permits := start(t, "semaphore", "release/permits", "--limit", "2", "--weight", "2", "--", "sh", "-c", stay)
	permits.expect("in")
	q := awaitQueue(t, s, "release/permits", 1, 0)
	start(t, "release", "release/permits", "--token", fmt.Sprint(q.Holders[0].Token), "--yes").end(0)
	permits.end(statusLost)
	contains(t, permits.stderr.String(), "broken by")
}

func TestReleaseWaitsUntilTheCommandHasEnded(t *testing.T) {
	t.Parallel()
	s := open(t, store)
	holder := start(t, "lock", "release/slow", "--ttl", "60s", "--kill-after", "20s", "--", "sh", "-c", unmoved)
	holder.expect("in")
	q := awaitQueue(t, s, "release/slow", 1, 0)
	token := fmt.Sprint(q.Holders[0].Token)
	said := complains(t, statusTimeout, "release", "release/slow", "--token", token, "--yes", "--timeout", "300ms")
	contains(t, said, "has not let go", q.Holders[0].Identity, "--force")
	holder.expect("asked")
	awaitQueue(t, s, "release/slow", 1, 0)

	// With force the next one does not wait for it.
	start(t, "release", "release/slow", "--token", token, "--yes", "--force").end(0)
	start(t, "lock", "release/slow", "--", "true").end(0)
	if _, err := holder.stdin.Write([]byte("go on\n")); err != nil {
		t.Fatal(err)
	}
	holder.expect("out")
	holder.end(statusLost)
}

func TestReleaseOfWhatIsNotHeldBreaksNothing(t *testing.T) {
	t.Parallel()
	s := open(t, store)
	g, err := mutex.New(s, "release/other").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--yes"}, {"--yes", "--force"}} {
		said := complains(t, statusConflict, append([]string{"release", "release/other", "--token", fmt.Sprint(g.Token() + 1)}, args...)...)
		contains(t, said, session.ErrNotHeld.Error(), "the test", fmt.Sprint(g.Token()))
	}
	if err := g.Confirm(t.Context()); err != nil {
		t.Error(err)
	}
	contains(t, complains(t, statusConflict, "release", "release/nobody", "--token", "1", "--yes"), "free")
}

func TestReleaseIsNotWithoutAsking(t *testing.T) {
	t.Parallel()
	s := open(t, store)
	g, err := mutex.New(s, "release/ask").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	contains(t, complains(t, statusFailure, "release", "release/ask", "--token", fmt.Sprint(g.Token())), "no terminal", "--yes")
	if err := g.Confirm(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestReleaseUsageIsExplained(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"release --token 1 --yes":                 "expected one name",
		"release a b --token 1 --yes":             "expected one name",
		"release a --yes":                         "--token is missing",
		"release a --token x --yes":               `"x" for "--token"`,
		"release a//b --token 1 --yes":            `part 2 of the name`,
		"release a --token 1 --yes --timeout=-1s": "is negative",
	} {
		contains(t, complains(t, statusFailure, strings.Fields(args)...), want)
	}
	s := open(t, store)
	if _, err := mutex.New(s, "release/reason").Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	q := awaitQueue(t, s, "release/reason", 1, 0)
	said := complains(t, statusFailure, "release", "release/reason", "--token", fmt.Sprint(q.Holders[0].Token), "--yes",
		"--reason", strings.Repeat("x", 257))
	contains(t, said, "the reason has 257 bytes")
}

// What a stranger wrote does nothing to the terminal of whoever looks at it.
func TestReleaseShowsNoControlCharacters(t *testing.T) {
	t.Parallel()
	s := open(t, store)
	g, err := mutex.NewWith(s, "release/note", &mutex.Options{Note: "a\x1b[2Jb"}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := start(t, "release", "release/note", "--token", fmt.Sprint(g.Token()), "--yes", "--force").end(0)
	if strings.Contains(out, "\x1b") {
		t.Errorf("%q", out)
	}
	<-g.Context().Done()
	if err := g.Check(); !errors.Is(err, session.ErrLost) {
		t.Errorf("Check returned %v", err)
	}
}
