//go:build unix

package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/session"
)

func TestCommandIsToldWhatItHolds(t *testing.T) {
	const script = `echo "$FAIRLEAD_NAME"; echo "$FAIRLEAD_TOKEN"; echo "$FAIRLEAD_KEY"; env | grep -c ^FAIRLEAD_TOKEN=`
	var last uint64
	for _, args := range []string{"lock tell/it", "lock tell/it", "lock tell/it --shared", "semaphore tell/it --limit 1"} {
		args := append([]string{"FAIRLEAD_NAME=x", "FAIRLEAD_TOKEN=1", "FAIRLEAD_KEY=y"}, strings.Fields(args)...)
		p := start(t, append(args, "--", "sh", "-c", script)...)
		p.expect("tell/it")
		token, err := strconv.ParseUint(p.line(), 10, 64)
		if err != nil || token <= last {
			t.Errorf("token %d (%v) after %d", token, err, last)
		}
		last = token
		if key := p.line(); !strings.HasPrefix(key, "tell/it/") {
			t.Errorf("key %q", key)
		}
		p.expect("1")
		p.end(0)
	}
}

func TestLockPassesStandardInputOn(t *testing.T) {
	p := start(t, "lock", "stdin", "--", "cat")
	if _, err := p.stdin.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	_ = p.stdin.Close()
	if got := p.end(0); got != "hello\n" {
		t.Errorf("cat printed %q", got)
	}
}

func TestLockExitsWithTheStatusOfTheCommand(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for command, status := range map[string]int{
		"sh -c exit":           0,
		"false":                1,
		"sh -c 'exit 77'":      77,
		"sh -c 'kill -9 $$'":   128 + 9,
		"no-such-program-here": 127,
		plain:                  126,
	} {
		// The shell is only the test's: it takes the line apart.
		p := start(t, "lock", "status", "--", "sh", "-c", "exec "+binary+" lock nested -- "+command)
		p.end(status)
	}
}

func TestUsageIsExplained(t *testing.T) {
	for args, want := range map[string]string{
		"lock":                                       "expected a name, --, and a command",
		"lock a":                                     "expected a name, --, and a command",
		"lock a true":                                "expected a name, --, and a command",
		"lock a --":                                  "expected a name, --, and a command",
		"lock a b -- true":                           "expected a name, --, and a command",
		"lock a//b -- true":                          `part 2 of the name "a//b" is empty`,
		"lock a --kill-after 8s -- true":             "--kill-after 8s is more than a third of the TTL 15s",
		"lock a --kill-after -8s -- true":            "--kill-after -8s is negative",
		"lock a --timeout -8s -- true":               "must not be negative",
		"lock a --timeout 8s --nonblock -- true":     "nonblock timeout",
		"lock a --conflict-exit-code 256 -- true":    "--conflict-exit-code 256",
		"lock a --ttl -8s -- true":                   "--ttl -8s",
		"lock a --store= -- true":                    "--store is empty",
		"ls --store=":                                "--store is empty",
		"doctor --store=":                            "--store is empty",
		"migrate --store=":                           "--store is empty",
		"demo --store=":                              "--store is empty",
		"migrate --store zk://h":                     `no schema to make for a store of the kind "zk"`,
		"migrate --store app:secret@db?x=http://y":   "has no scheme",
		"lock a --store nowhere -- true":             "no scheme",
		"lock a --store gopher://h -- true":          `no backend for the scheme "gopher"`,
		"lock a --shared":                            "expected a name, --, and a command",
		"semaphore --limit 1":                        "fairlead semaphore NAME --limit N [flags] -- CMD",
		"semaphore a -- true":                        "--limit is missing",
		"sem a --limit x -- true":                    `"x" for "--limit"`,
		"sem a --limit 1 --timeout -8s -- true":      "must not be negative",
		"elect a -- ":                                "expected a name, --, and a command",
		"elect . -- true":                            `part 1 of the name "." is "."`,
		"bogus":                                      `unknown command "bogus"`,
		"dev --listen nowhere":                       "missing port",
		"demo --plant elephant":                      `unknown bug "elephant"`,
		"lock a --store etcd://u:secr%zet@h -- true": "malformed",
		"lock a --store etcd://h:1?bogus=1 -- true":  "bogus",
	} {
		contains(t, complains(t, statusFailure, strings.Fields(args)...), want)
	}
}

func TestBadPermitsAreRefusedWithoutTheStore(t *testing.T) {
	for args, want := range map[string]string{
		"--limit 0":             "--limit 0 is less than 1",
		"--limit -1":            "--limit -1 is less than 1",
		"--limit 2 --weight 0":  "--weight 0 is less than 1",
		"--limit 2 --weight -1": "--weight -1 is less than 1",
		"--limit 2 --weight 3":  "--weight 3 is more than --limit 2",
	} {
		args := append([]string{"sem", "a", "--store", "etcd://127.0.0.1:1"}, strings.Fields(args)...)
		contains(t, complains(t, statusFailure, append(args, "--", "true")...), want)
	}
}

func TestAbsentStoreIsExplainedWithoutThePassword(t *testing.T) {
	said := complains(t, statusFailure, "FAIRLEAD_STORE=etcd://user:secret@127.0.0.1:1", "lock", "a", "--connect-timeout", "200ms", "--", "true")
	contains(t, said, "127.0.0.1:1", "200ms", "fairlead dev")
	if strings.Contains(said, "secret") {
		t.Errorf("the password is in %q", said)
	}
}

func TestNonblockGivesUpAtOnce(t *testing.T) {
	s := open(t, store)
	g, err := mutex.New(s, "busy").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status int
		args   []string
	}{
		{statusConflict, nil},
		{42, []string{"--conflict-exit-code", "42"}},
		{0, []string{"--conflict-exit-code", "0"}},
	} {
		args := append([]string{"lock", "busy", "--nonblock"}, append(c.args, "--", "echo", "ran")...)
		p := start(t, args...)
		if out := p.end(c.status); out != "" {
			t.Errorf("the command ran: %q", out)
		}
		contains(t, p.stderr.String(), "the test")

		p = start(t, append([]string{"lock", "--quiet"}, args[1:]...)...)
		if out := p.end(c.status) + p.stderr.String(); out != "" {
			t.Errorf("with --quiet it printed %q", out)
		}
	}
	if err := g.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	start(t, "lock", "busy", "--nonblock", "--", "true").end(0)
}

func TestTimeoutLeavesNothingInTheQueue(t *testing.T) {
	s := open(t, store)
	g, err := mutex.New(s, "slow").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	contains(t, complains(t, statusTimeout, "lock", "slow", "--timeout", "300ms", "--", "true"), "the test")
	awaitQueue(t, s, "slow", 1, 0)
	if err := g.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestLockWaitsForItsTurn(t *testing.T) {
	s := open(t, store)
	first := start(t, "lock", "turn", "--note", "the first", "--", "sh", "-c", stay)
	first.expect("in")
	second := start(t, "lock", "turn", "--", "echo", "in")
	if q := awaitQueue(t, s, "turn", 1, 1); q.Holders[0].Note != "the first" || q.Waiters[0].Note != "echo" {
		t.Errorf("notes %q and %q", q.Holders[0].Note, q.Waiters[0].Note)
	}
	first.leave()
	second.expect("in")
	second.end(0)
	awaitQueue(t, s, "turn", 0, 0)
}

func TestSharedHoldersRunTogether(t *testing.T) {
	s := open(t, store)
	lock := func(flags ...string) *program {
		args := append([]string{"lock", "shared"}, flags...)
		return start(t, append(args, "--", "sh", "-c", stay)...)
	}
	first, second := lock("--shared"), lock("--shared")
	first.expect("in")
	second.expect("in")
	if q := awaitQueue(t, s, "shared", 2, 0); q.Holders[0].Mode != "shared" || q.Holders[1].Mode != "shared" {
		t.Errorf("they hold it as %s and %s", q.Holders[0].Mode, q.Holders[1].Mode)
	}
	writer := lock()
	awaitQueue(t, s, "shared", 2, 1)
	late := lock("--shared") // and does not overtake
	awaitQueue(t, s, "shared", 2, 2)
	first.leave()
	awaitQueue(t, s, "shared", 1, 2)
	second.leave()
	writer.expect("in")
	if q := awaitQueue(t, s, "shared", 1, 1); q.Holders[0].Mode != "exclusive" || q.Waiters[0].Mode != "shared" {
		t.Errorf("it is held as %s and waited for as %s", q.Holders[0].Mode, q.Waiters[0].Mode)
	}
	writer.leave()
	late.expect("in")
	late.leave()
	awaitQueue(t, s, "shared", 0, 0)
}

func TestSharedNonblock(t *testing.T) {
	s := open(t, store)
	m := rwmutex.New(s, "try")
	for _, c := range []struct {
		held   func(context.Context) (*session.Grant, error)
		status int // of one with --shared
	}{
		{m.RLock, 0},
		{m.Lock, 42},
	} {
		g, err := c.held(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		start(t, "lock", "try", "--shared", "--nonblock", "--conflict-exit-code", "42", "--", "true").end(c.status)
		start(t, "lock", "try", "--nonblock", "--", "true").end(statusConflict)
		if err := g.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSignalWhileWaiting(t *testing.T) {
	s := open(t, store)
	g, err := mutex.New(s, "impatient").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "lock", "impatient", "--", "true")
	awaitQueue(t, s, "impatient", 1, 1)
	p.signal(syscall.SIGTERM)
	p.end(128 + 15)
	awaitQueue(t, s, "impatient", 1, 0)
	if err := g.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSignalGoesToTheCommand(t *testing.T) {
	s := open(t, store)
	p := start(t, "lock", "signal", "--", "sh", "-c",
		`trap 'echo term; read x; exit 5' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done`)
	p.expect("ready")
	p.signal(syscall.SIGUSR1)
	p.expect("usr1")
	p.signal(syscall.SIGTERM)
	p.expect("term")
	awaitQueue(t, s, "signal", 1, 0) // it is held until the command has ended
	_ = p.stdin.Close()
	p.end(5)
	awaitQueue(t, s, "signal", 0, 0)
}

func TestMinHoldOutlastsTheCommand(t *testing.T) {
	begin := time.Now()
	start(t, "lock", "hold/short", "--min-hold", "500ms", "--", "true").end(0)
	if d := time.Since(begin); d < 500*time.Millisecond {
		t.Errorf("the lock was held for %v at most", d)
	}

	s := open(t, store)
	p := start(t, "lock", "hold/long", "--min-hold", "1h", "--", "sh", "-c", "echo $$")
	pid, err := strconv.Atoi(p.line())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for syscall.Kill(pid, 0) == nil { // until it is gone and reaped
		if ctx.Err() != nil {
			t.Fatal("the command does not end")
		}
	}
	awaitQueue(t, s, "hold/long", 1, 0)
	p.signal(syscall.SIGTERM) // ends it
	p.end(0)
	awaitQueue(t, s, "hold/long", 0, 0)
}

func TestCommandIsEndedWhenTheStoreIsGone(t *testing.T) {
	srv, err := startServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	var all []*program
	for _, args := range []string{"lock lost", "lock lost/shared --shared", "sem lost/permit --limit 2"} {
		args := append(strings.Fields(args), "--store", srv.Endpoint(), "--ttl", "2s")
		all = append(all, start(t, append(args, "--", "sh", "-c",
			`trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.05; done`)...))
	}
	for _, p := range all {
		p.expect("ready")
	}
	srv.Close()
	for _, p := range all {
		p.expect("asked")
		p.end(statusLost)
	}
}

// The command was ended as the lease seemed to be lost, and it is renewed after all: there is
// nothing more to wait for, and the lock is not left to expire.
func TestLockIsReleasedWhereTheLeaseIsRenewedAfterItsCommandWasEnded(t *testing.T) {
	t.Parallel()
	dev := start(t, "dev", "--listen", "127.0.0.1:0")
	url := dev.line()
	p := start(t, "lock", "late", "--store", url, "--ttl", "9s", "--kill-after", "3s", "--", "sh", "-c",
		`trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.05; done`)
	p.expect("ready")
	dev.signal(syscall.SIGSTOP)
	p.expect("asked")
	dev.signal(syscall.SIGCONT)
	p.end(statusLost)
	start(t, "lock", "late", "--store", url, "--nonblock", "--", "true").end(0)
	dev.signal(syscall.SIGTERM)
	dev.end(0)
}

// What a command was asked to end with goes on a moment longer than the shell that runs it, and
// the next one does not begin before.
func TestLockIsHeldUntilAllOfTheCommandHasEnded(t *testing.T) {
	t.Parallel()
	flushed := filepath.Join(t.TempDir(), "flushed")
	p := start(t, "lock", "group", "--", "sh", "-c",
		`sh -c 'trap "sleep 1; touch `+flushed+`; exit" TERM; echo in; while :; do sleep 0.05; done'; true`)
	p.expect("in")
	next := start(t, "lock", "group", "--", "test", "-e", flushed)
	awaitQueue(t, open(t, store), "group", 1, 1)
	p.signal(syscall.SIGTERM)
	p.end(128 + int(syscall.SIGTERM))
	next.end(0)
}

// A store that does not answer keeps nobody whose command has ended from ending, whatever the TTL.
func TestLockEndsThoughTheStoreTakesNothingBack(t *testing.T) {
	t.Parallel()
	dev := start(t, "dev", "--listen", "127.0.0.1:0")
	p := start(t, "lock", "hang", "--store", dev.line(), "--ttl", "1h", "--", "sh", "-c", stay)
	p.expect("in")
	dev.signal(syscall.SIGSTOP)
	p.leave()
	contains(t, p.stderr.String(), "will run out within 1h")
	dev.signal(syscall.SIGCONT)
	dev.signal(syscall.SIGTERM)
	dev.end(0)
}
