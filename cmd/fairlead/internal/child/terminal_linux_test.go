package child

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/pty"
)

// A terminalProgram is in a session of its own, at a terminal that the test types
// on and reads.
type terminalProgram struct {
	t      *testing.T
	master *os.File
	lines  *bufio.Scanner
	cmd    *exec.Cmd
}

// atTerminal starts the program; it may name the supervising test binary as $SUPERVISE.
func atTerminal(t *testing.T, program string, args ...string) *terminalProgram {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), helperVariable+"=1", "SUPERVISE="+self)
	master, err := pty.Start(cmd, 80, 24)
	if err != nil {
		t.Fatal(err)
	}
	p := &terminalProgram{t: t, master: master, lines: bufio.NewScanner(master), cmd: cmd}
	hangUp := time.AfterFunc(patience, func() { _ = master.Close() }) // ends whoever waits
	t.Cleanup(func() {
		hangUp.Stop()
		_ = master.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return p
}

// expect reads until a line that contains the text.
func (p *terminalProgram) expect(text string) {
	p.t.Helper()
	var seen []string
	for p.lines.Scan() {
		seen = append(seen, p.lines.Text())
		if strings.Contains(p.lines.Text(), text) {
			return
		}
	}
	p.t.Fatalf("the terminal never showed %q, only %q", text, seen)
}

func (p *terminalProgram) typeIn(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.master, text); err != nil {
		p.t.Fatal(err)
	}
}

func TestCommandReadsFromTheTerminal(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := atTerminal(t, self, "/bin/sh", "-c", `echo ready; read x; echo "got $x"`)
	p.expect("ready")
	p.typeIn("hello\n")
	p.expect("got hello")
}

func TestShellSuspendsAndResumesTheCommand(t *testing.T) {
	p := atTerminal(t, "sh", "-c", `
		set -m
		"$SUPERVISE" /bin/sh -c 'echo ready; read x; echo "got $x"; read x; echo "then $x"'
		echo "suspended: $?"
		fg
		echo "finished: $?"`)
	p.expect("ready")
	p.typeIn("one\n")
	p.expect("got one")
	p.typeIn("\x1a") // Ctrl-Z
	p.expect("suspended: ")
	p.typeIn("two\n")
	p.expect("then two")
	p.expect("finished: 0")
}

// The kernel's parent-death signal hangs on a thread: this one has to last.
func TestCommandDiesWithItsSupervisor(t *testing.T) {
	cmd, output := supervised(t, `echo ready; while :; do read x </dev/zero; done`)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, err := io.ReadAll(output); err != nil {
		t.Errorf("the command outlived its supervisor: %v", err)
	}
}

// supervised has a supervisor of its own run a script, which says that it is ready. The output
// ends when no process has it any more.
func supervised(t *testing.T, script string) (supervisor *exec.Cmd, output *bufio.Reader) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = read.Close() })
	if err := read.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "/bin/sh", "-c", script)
	cmd.Env = append(os.Environ(), helperVariable+"=1")
	cmd.Stdout, cmd.Stderr = write, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	output = bufio.NewReader(read)
	if line, err := output.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the command printed %q: %v", line, err)
	}
	return cmd, output
}

// One asks for a password at the terminal, with data on standard input.
func TestCommandReadsFromTheTerminalBesideItsInput(t *testing.T) {
	p := atTerminal(t, "sh", "-c", `
		echo data | "$SUPERVISE" /bin/sh -c 'echo ready; read x </dev/tty; read y; echo "got $x and $y"'`)
	p.expect("ready")
	p.typeIn("secret\n")
	p.expect("got secret and data")
}

func TestShellSuspendsACommandWithoutInput(t *testing.T) {
	p := atTerminal(t, "sh", "-c", `
		set -m
		"$SUPERVISE" /bin/sh -c 'echo ready; until read x </dev/tty; do sleep 0.1; done; echo "got $x"' </dev/null
		echo "suspended: $?"
		fg
		echo "finished: $?"`)
	p.expect("ready")
	p.typeIn("\x1a") // Ctrl-Z
	p.expect("suspended: ")
	p.typeIn("two\n")
	p.expect("got two")
	p.expect("finished: 0")
}

// Whoever stops the command alone can resume it alone: its supervisor has to be there then.
func TestSupervisorGoesOnWhileItsCommandIsStopped(t *testing.T) {
	p := atTerminal(t, "sh", "-c", `
		set -m
		"$SUPERVISE" /bin/sh -c '
			(sleep 1; kill -CONT $$) &
			echo ready
			kill -STOP $$
			read x
			echo "got $x"'
		echo "finished: $?"`)
	p.expect("ready")
	p.typeIn("one\n")
	p.expect("got one")
	p.expect("finished: 0")
}

// As the first process of a container is: orphans are its own, and nobody else reaps them.
func TestOrphansOfTheGroupAreReaped(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	r := newRun(t, `
		for i in 1 2 3; do (sleep 0.1 &); done
		echo $$
		read x
		exit 4`)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	r.c.Stdin = read
	wait := r.begin()
	line, err := r.output.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	group, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); len(members(group)) != 1; <-time.After(10 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("beside the command there are %+v", members(group))
		}
	}
	_ = write.Close()
	if got := wait(); got != (Outcome{Status: 4}) {
		t.Errorf("%+v, want status 4", got)
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("the process %d is still there: %v", pid, err)
	}
}

// Where nobody reaps orphans, as the first process of many a container, those that have ended
// do not keep the supervisor waiting.
func TestDeadOfTheGroupAreNotWaitedFor(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	// Orphans become children of this process, which does not know them; of its own it knows one.
	cmd, _ := supervised(t, `sh -c 'echo ready; sleep 600'; true`)
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	overdue := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer overdue.Stop()
	_ = cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 128+15 {
		t.Errorf("the status is %d, want %d", status, 128+15)
	}
	for {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 && err != unix.EINTR {
			return
		}
	}
}
