package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/pty"
	"github.com/fairlead-go/fairlead/mutex"
)

// A terminal has the program before it, and a test at its keyboard.
type terminal struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	done   chan struct{} // closed when all has been read

	mu   sync.Mutex
	text strings.Builder // all that was written, since the last expectation was met
}

func atTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), storeVariable+"="+store)
	t.Cleanup(cancel)
	return launchAtTerminal(t, cmd)
}

// launchAtTerminal runs a command, which is killed at the end of the test if it still runs.
func launchAtTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	cmd.Env = append(cmd.Env, "TERM=xterm-256color", "NO_COLOR=1")
	master, err := pty.Start(cmd, 80, 24)
	if err != nil {
		t.Fatal(err)
	}
	p := &terminal{t: t, master: master, cmd: cmd, done: make(chan struct{})}
	go p.read()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // an error if it has ended, as
		_ = cmd.Wait()         // if it was waited for
		_ = master.Close()
		<-p.done
	})
	return p
}

func (p *terminal) read() {
	defer close(p.done)
	buf := make([]byte, 4096)
	for {
		n, err := p.master.Read(buf)
		p.mu.Lock()
		p.text.Write(buf[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *terminal) written() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// expect waits until all parts have been written since the last expectation was met.
func (p *terminal) expect(parts ...string) string {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		text, missing := p.written(), ""
		for _, part := range parts {
			if !strings.Contains(text, part) {
				missing = part
			}
		}
		if missing == "" {
			p.mu.Lock()
			p.text.Reset()
			p.mu.Unlock()
			return text
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the terminal never showed %q, only %q", missing, text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *terminal) press(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

func (p *terminal) end(status int) {
	p.t.Helper()
	err := p.cmd.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		p.t.Fatal(err)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		p.t.Fatalf("exit status %d, want %d: %q", got, status, p.written())
	}
}

// coloured finds attributes that set a colour.
var coloured = regexp.MustCompile("\x1b\\[([0-9;]*;)?([349][0-8]|10[0-7])(;[0-9;]*)?m")

func TestTopAtATerminal(t *testing.T) {
	s := open(t, store)
	g, err := mutex.NewWith(s, "terminal/name", &mutex.Options{Note: "at-work"}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const alternate = "\x1b[?1049"
	p := atTerminal(t, "top", "terminal/")
	all := p.expect(alternate+"h", "terminal/name", "quit")
	p.press("\r")
	all += p.expect("at-work", "HELD", "back")
	waiter := start(t, "lock", "terminal/name", "--note", "is-waiting", "--", "true")
	all += p.expect("is-waiting")
	if err := g.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiter.end(0)
	all += p.expect("free")
	p.press("q")
	all += p.expect(alternate + "l")
	p.end(0)
	if coloured.MatchString(all) {
		t.Errorf("it uses colours in spite of NO_COLOR: %q", all)
	}

	p = atTerminal(t, "top")
	p.expect(alternate + "h")
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.expect(alternate + "l")
	p.end(128 + 2)
}

func TestProgressIsOneLineOnATerminal(t *testing.T) {
	s := open(t, store)
	g, err := mutex.New(s, "terminal/wait").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := atTerminal(t, "lock", "terminal/wait", "--", "echo", "done")
	p.expect("\rfairlead: waiting for \"terminal/wait\": number 1 of 1")
	if err := g.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := p.expect("done")
	if before, _, _ := strings.Cut(text, "done"); strings.Contains(before, "\n") || !strings.HasSuffix(before, " \r") {
		t.Errorf("the line is not cleared: %q", text)
	}
	p.end(0)
}
