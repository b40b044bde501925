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

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/pty"
	"github.com/fairlead-go/fairlead/mutex"
)

// answered runs the program at a terminal of its own, on which answer is typed once it
// has asked; it returns what was shown, and the exit status.
func answered(t *testing.T, answer string, args ...string) (shown string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), storeVariable+"="+store)
	master, err := pty.Start(cmd, 80, 24)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = master.Close() }()
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
		shown, status := answered(t, answer, args...)
		if status != want {
			t.Errorf("after %q: exit status %d, want %d\n%s", answer, status, want, shown)
		}
		contains(t, shown, "the test", "a note", fmt.Sprint(g.Token()), "may still be at work")
		if err := g.Confirm(t.Context()); err != nil {
			t.Fatalf("after %q: %v", answer, err)
		}
	}
	if shown, status := answered(t, "y\n", args...); status != 0 || !strings.Contains(shown, "broken") {
		t.Errorf("after yes: exit status %d\n%s", status, shown)
	}
	<-g.Context().Done()
}
