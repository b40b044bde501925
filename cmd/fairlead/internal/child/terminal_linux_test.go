package child

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A pty is a program in a session of its own, at a terminal that the test types
// on and reads.
type pty struct {
	t      *testing.T
	master *os.File
	lines  *bufio.Scanner
	cmd    *exec.Cmd
}

// newPty starts the program; it may name the supervising test binary as $SUPERVISE.
func newPty(t *testing.T, program string, args ...string) *pty {
	t.Helper()
	master, slave, err := openPty()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), helperVariable+"=1", "SUPERVISE="+self)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	p := &pty{t: t, master: master, lines: bufio.NewScanner(master), cmd: cmd}
	hangUp := time.AfterFunc(patience, func() { _ = master.Close() }) // ends whoever waits
	t.Cleanup(func() {
		hangUp.Stop()
		_ = master.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return p
}

func openPty() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open a terminal: %w", err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlock a terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, fmt.Errorf("name a terminal: %w", err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	return master, slave, err
}

// expect reads until a line that contains the text.
func (p *pty) expect(text string) {
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

func (p *pty) typeIn(text string) {
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
	p := newPty(t, self, "/bin/sh", "-c", `echo ready; read x; echo "got $x"`)
	p.expect("ready")
	p.typeIn("hello\n")
	p.expect("got hello")
}

func TestShellSuspendsAndResumesTheCommand(t *testing.T) {
	p := newPty(t, "sh", "-c", `
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
