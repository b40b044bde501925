package child

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = read.Close() }()
	if err := read.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "/bin/sh", "-c", `echo ready; while :; do read x </dev/zero; done`)
	cmd.Env = append(os.Environ(), helperVariable+"=1")
	cmd.Stdout, cmd.Stderr = write, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	output := bufio.NewReader(read)
	if line, err := output.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the command printed %q: %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, err := io.ReadAll(output); err != nil {
		t.Errorf("the command outlived its supervisor: %v", err)
	}
}
