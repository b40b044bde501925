package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-go/fairlead/mutex"
)

// atTerminal runs the program at a terminal of its own, on which answer is typed once it
// has asked; it returns what was shown, and the exit status.
func atTerminal(t *testing.T, answer string, args ...string) (shown string, status int) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	defer func() { _ = master.Close() }()
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), storeVariable+"="+store)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	hangUp := time.AfterFunc(patience, func() { _ = master.Close() })
	defer hangUp.Stop()
	r := bufio.NewReader(master)
	var b strings.Builder
	for {
		c, err := r.ReadByte() // an error when the program has ended
		if err != nil {
			break
		}
		if b.WriteByte(c); strings.HasSuffix(b.String(), "[y/N] ") {
			if _, err := master.WriteString(answer); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	return b.String(), cmd.ProcessState.ExitCode()
}

func TestReleaseAsksOnTheTerminal(t *testing.T) {
	t.Parallel()
	s := open(t, store)
	g, err := mutex.NewWith(s, "release/terminal", &mutex.Options{Note: "a note"}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"release", "release/terminal", "--force", "--token", fmt.Sprint(g.Token())}
	for answer, want := range map[string]int{"\n": statusConflict, "no\n": statusConflict, "x\n": statusConflict, "\x03": 128 + int(syscall.SIGINT)} {
		shown, status := atTerminal(t, answer, args...)
		if status != want {
			t.Errorf("after %q: exit status %d, want %d\n%s", answer, status, want, shown)
		}
		contains(t, shown, "the test", "a note", fmt.Sprint(g.Token()), "may still be at work")
		if err := g.Confirm(t.Context()); err != nil {
			t.Fatalf("after %q: %v", answer, err)
		}
	}
	if shown, status := atTerminal(t, "y\n", args...); status != 0 || !strings.Contains(shown, "broken") {
		t.Errorf("after yes: exit status %d\n%s", status, shown)
	}
	<-g.Context().Done()
}
