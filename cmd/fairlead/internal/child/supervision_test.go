//go:build unix

package child

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// patience bounds every wait that is expected to end much sooner.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		os.Exit(helper())
	}
	// What nohup has us ignore, commands would, too.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP)
	goleak.VerifyTestMain(m)
}

// helperVariable makes the test binary a supervisor of the command in its
// arguments, for tests in which the supervisor itself is stopped or killed.
const helperVariable = "CHILD_TEST_SUPERVISOR"

func helper() int {
	g := newGrant(time.Hour)
	c := Command{Path: os.Args[1], Args: os.Args[1:], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGCONT, unix.SIGTERM)
	c.Signals = signals
	outcome, err := c.Run(g)
	if err != nil {
		return 125
	}
	return outcome.Status
}

// A grant whose end the test decides.
type grant struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	deadline func() time.Time
}

func newGrant(d time.Duration) *grant {
	g := &grant{}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	end := time.Now().Add(d)
	g.deadline = func() time.Time { return end }
	return g
}

func (g *grant) Context() context.Context { return g.ctx }

func (g *grant) Deadline() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.deadline()
}

// A run is a shell script under supervision.
type run struct {
	t       *testing.T
	c       Command
	g       *grant
	signals chan os.Signal
	output  *bufio.Reader // ends when no process has the write end any more
	write   *os.File
}

func newRun(t *testing.T, script string) *run {
	t.Helper()
	sh, err := Find("sh")
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = read.Close(); _ = write.Close() })
	if err := read.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	r := &run{t: t, g: newGrant(time.Hour), signals: make(chan os.Signal), output: bufio.NewReader(read), write: write}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	r.c = Command{
		Path: sh, Args: []string{"sh", "-c", script}, Env: os.Environ(),
		Stdin: null, Stdout: write, Stderr: null, KillAfter: time.Minute, Signals: r.signals,
	}
	t.Cleanup(r.g.cancel)
	return r
}

// begin runs the script in the background; the function returned waits for it.
func (r *run) begin() func() Outcome {
	r.t.Helper()
	type result struct {
		outcome Outcome
		err     error
	}
	done := make(chan result, 1)
	go func() {
		outcome, err := r.c.Run(r.g)
		_ = r.write.Close()
		done <- result{outcome, err}
	}()
	return func() Outcome {
		r.t.Helper()
		select {
		case res := <-done:
			if res.err != nil {
				r.t.Fatal(res.err)
			}
			return res.outcome
		case <-time.After(patience):
			r.t.Fatal("the command is still running")
			return Outcome{}
		}
	}
}

func (r *run) expect(line string) {
	r.t.Helper()
	got, err := r.output.ReadString('\n')
	if strings.TrimSpace(got) != line {
		r.t.Fatalf("the command printed %q (%v), want %q", got, err, line)
	}
}

// expectEnd waits until no process of the script is left.
func (r *run) expectEnd() {
	r.t.Helper()
	if rest, err := io.ReadAll(r.output); err != nil {
		r.t.Fatalf("a process of the command outlived it: %v, after %q", err, rest)
	}
}

func TestStatusIsThatOfTheCommand(t *testing.T) {
	for script, want := range map[string]int{
		"exit 0":        0,
		"exit 3":        3,
		"kill -TERM $$": 128 + 15,
		"kill -KILL $$": 128 + 9,
	} {
		if got := newRun(t, script).begin()(); got != (Outcome{Status: want}) {
			t.Errorf("%s: %+v, want status %d", script, got, want)
		}
	}
}

func TestStatusOfACommandThatCannotStart(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("not a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	garbage := filepath.Join(dir, "garbage")
	if err := os.WriteFile(garbage, []byte("not a program"), 0o700); err != nil { //nolint:gosec // it has to be executable
		t.Fatal(err)
	}
	for program, want := range map[string]int{
		"no-such-program-anywhere":       StatusNotFound,
		filepath.Join(dir, "missing"):    StatusNotFound,
		plain:                            StatusNotExecutable,
		garbage:                          StatusNotExecutable,
		dir + string(filepath.Separator): StatusNotExecutable,
	} {
		path, err := Find(program)
		if err == nil {
			_, err = (&Command{Path: path, Args: []string{program}}).Run(newGrant(time.Hour))
		}
		var e *StartError
		if !errors.As(err, &e) || e.Status != want {
			t.Errorf("%s: %v, want status %d", program, err, want)
		}
	}
}

func TestSignalsReachTheWholeGroup(t *testing.T) {
	r := newRun(t, `
		trap "wait; echo outer; exit 5" USR1
		sh -c 'trap "echo inner; exit" USR1; echo ready; while :; do sleep 0.05; done' &
		wait`)
	wait := r.begin()
	r.expect("ready")
	r.signals <- syscall.SIGUSR1
	r.expect("inner")
	r.expect("outer")
	if got := wait(); got != (Outcome{Status: 5}) {
		t.Errorf("%+v, want status 5", got)
	}
}

func TestCommandIsAskedToEndBeforeTheDeadline(t *testing.T) {
	r := newRun(t, `trap 'echo asked; exit 0' TERM; while :; do sleep 0.05; done`)
	r.c.KillAfter = time.Hour
	r.g = newGrant(time.Hour + 200*time.Millisecond)
	wait := r.begin()
	r.expect("asked")
	if got := wait(); got != (Outcome{Status: 0, Lost: true}) {
		t.Errorf("%+v, want it lost", got)
	}
}

func TestCommandIsKilledAtTheDeadline(t *testing.T) {
	r := newRun(t, `
		trap 'echo asked' TERM
		sh -c 'trap "" TERM; while :; do sleep 0.05; done' &
		while :; do sleep 0.05; done`)
	r.c.KillAfter = 500 * time.Millisecond
	r.g = newGrant(time.Second)
	wait := r.begin()
	r.expect("asked")
	if got := wait(); got != (Outcome{Status: 128 + 9, Lost: true}) {
		t.Errorf("%+v, want it lost and killed", got)
	}
	if time.Now().Before(r.g.Deadline()) {
		t.Error("it was killed before the deadline")
	}
	r.expectEnd()
}

func TestWithoutKillAfterThereIsOnlyKill(t *testing.T) {
	r := newRun(t, `trap 'echo asked' TERM; while :; do sleep 0.05; done`)
	r.c.KillAfter = 0
	r.g = newGrant(300 * time.Millisecond)
	if got := r.begin()(); got != (Outcome{Status: 128 + 9, Lost: true}) {
		t.Errorf("%+v, want it lost and killed", got)
	}
	r.expectEnd()
}

func TestRenewalsMoveTheDeadline(t *testing.T) {
	r := newRun(t, `for i in 1 2 3 4 5 6 7 8; do sleep 0.05; done; exit 7`)
	r.c.KillAfter = 20 * time.Millisecond
	r.g.deadline = func() time.Time { return time.Now().Add(50 * time.Millisecond) }
	if got := r.begin()(); got != (Outcome{Status: 7}) {
		t.Errorf("%+v, want status 7", got)
	}
}

func TestGrantThatIsTakenAwayEndsTheCommand(t *testing.T) {
	r := newRun(t, `trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done`)
	r.c.KillAfter = time.Second
	wait := r.begin()
	r.expect("ready")
	r.g.cancel() // an hour before the deadline
	r.expect("asked")
	if got := wait(); got != (Outcome{Status: 128 + 9, Lost: true}) {
		t.Errorf("%+v, want it lost and killed", got)
	}
}

func TestWhatALostCommandLeavesBehindIsKilled(t *testing.T) {
	r := newRun(t, `
		trap 'exit 0' TERM
		sh -c 'trap "" TERM; echo ready; while :; do sleep 0.05; done' &
		wait`)
	r.c.KillAfter = 300 * time.Millisecond
	wait := r.begin()
	r.expect("ready")
	r.g.cancel()
	if got := wait(); got != (Outcome{Status: 0, Lost: true}) {
		t.Errorf("%+v, want it lost", got)
	}
	r.expectEnd()
}

func TestStoppedCommandHearsThatItMustEnd(t *testing.T) {
	r := newRun(t, `trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.05; done`)
	wait := r.begin()
	r.expect("ready")
	r.signals <- syscall.SIGSTOP
	r.g.cancel()
	r.expect("asked")
	if got := wait(); !got.Lost {
		t.Errorf("%+v, want it lost", got)
	}
}

func TestCommandThatIsStoppedAfterTheLossIsNotResumed(t *testing.T) {
	r := newRun(t, `trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done`)
	r.c.KillAfter = 0
	wait := r.begin()
	r.expect("ready")
	r.signals <- syscall.SIGSTOP
	r.g.mu.Lock()
	r.g.deadline = func() time.Time { return time.Time{} }
	r.g.mu.Unlock()
	r.signals <- syscall.SIGCONT
	if got := wait(); got != (Outcome{Status: 128 + 9, Lost: true}) {
		t.Errorf("%+v, want it killed", got)
	}
}

// A shell that is asked to end does so at once, also where it waits for a program: what that
// still does, it does under the lock.
func TestCommandThatWasAskedToEndHasEndedWithItsWholeGroup(t *testing.T) {
	for what, sig := range map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP} {
		done := filepath.Join(t.TempDir(), "done")
		r := newRun(t, `
			sh -c 'trap "sleep 0.3; touch `+done+`; exit" `+what+`; echo ready; while :; do sleep 0.05; done'
			true`)
		wait := r.begin()
		r.expect("ready")
		r.signals <- sig
		if got := wait(); got != (Outcome{Status: 128 + int(sig)}) {
			t.Errorf("%s: %+v, want status %d", what, got, 128+int(sig))
		}
		if _, err := os.Stat(done); err != nil {
			t.Errorf("after %s a process of the command outlived it: %v", what, err)
		}
	}
}

func TestGrantThatIsLostWhileTheGroupEndsEndsIt(t *testing.T) {
	r := newRun(t, `
		sh -c 'trap "" TERM; echo ready; while :; do sleep 0.05; done'
		true`)
	r.c.KillAfter = 300 * time.Millisecond
	told := make(chan string, 1)
	r.c.Warn = func(text string) { told <- text }
	wait := r.begin()
	r.expect("ready")
	r.signals <- syscall.SIGTERM
	if text := <-told; !strings.Contains(text, "still runs") {
		t.Errorf("it says %q", text)
	}
	r.g.cancel()
	if got := wait(); got != (Outcome{Status: 128 + 15, Lost: true}) {
		t.Errorf("%+v, want it lost", got)
	}
	r.expectEnd()
}

func TestSecondRequestToEndWaitsForNobody(t *testing.T) {
	end := filepath.Join(t.TempDir(), "end")
	r := newRun(t, `
		sh -c 'trap "" TERM; echo ready; until [ -e `+end+` ]; do sleep 0.05; done'
		true`)
	told := make(chan string, 1)
	r.c.Warn = func(text string) { told <- text }
	wait := r.begin()
	r.expect("ready")
	r.signals <- syscall.SIGTERM
	<-told
	r.signals <- syscall.SIGWINCH // is no request
	r.signals <- syscall.SIGTERM
	if got := wait(); got != (Outcome{Status: 128 + 15}) {
		t.Errorf("%+v, want status %d", got, 128+15)
	}
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.expectEnd()
}

// What is left in the background of a command that ends by itself is none of our business.
func TestCommandThatEndsByItselfLeavesItsBackgroundAlone(t *testing.T) {
	end := filepath.Join(t.TempDir(), "end")
	r := newRun(t, `
		trap '' HUP
		sh -c 'until [ -e `+end+` ]; do sleep 0.05; done' &
		echo ready
		read x || true
		exit 3`)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	r.c.Stdin = read
	wait := r.begin()
	r.expect("ready")
	r.signals <- syscall.SIGHUP // to which it does not end
	_ = write.Close()
	if got := wait(); got != (Outcome{Status: 3}) {
		t.Errorf("%+v, want status 3", got)
	}
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.expectEnd()
}

func TestStoppedCommandHearsThatItIsAskedToEnd(t *testing.T) {
	r := newRun(t, `trap 'echo asked; exit 4' TERM; echo ready; while :; do sleep 0.05; done`)
	wait := r.begin()
	r.expect("ready")
	r.signals <- syscall.SIGSTOP
	r.signals <- syscall.SIGTERM
	r.expect("asked")
	if got := wait(); got != (Outcome{Status: 4}) {
		t.Errorf("%+v, want status 4", got)
	}
}

func TestCommandThatCannotBeSignalledIsTold(t *testing.T) {
	told := make(chan string, 10)
	s := &supervision{warn: func(text string) { told <- text }}
	s.sent(unix.ESRCH)
	s.sent(unix.EPERM)
	s.sent(unix.EPERM)
	if !s.unreached || len(told) != 1 || !strings.Contains(<-told, "another user") {
		t.Errorf("unreached: %v, told %d times", s.unreached, len(told))
	}
}

// Whose grant somebody takes away is killed then, whatever becomes of the lease.
func TestWithoutKillAfterAGrantThatIsTakenAwayKillsAtOnce(t *testing.T) {
	r := newRun(t, `trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done`)
	r.c.KillAfter = 0
	wait := r.begin()
	r.expect("ready")
	r.g.cancel() // an hour before the deadline
	if got := wait(); got != (Outcome{Status: 128 + 9, Lost: true}) {
		t.Errorf("%+v, want it lost and killed", got)
	}
	r.expectEnd()
}
