//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/embed"
	"github.com/fairlead-go/fairlead/watch"
)

// patience bounds every wait that is expected to end much sooner.
const patience = time.Minute

// What TestMain prepares for all tests.
var (
	binary string // the program, built once
	store  string // URL of a server
)

func TestMain(m *testing.M) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // what nohup has us ignore, programs would, too
	status, err := prepare(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	if status == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

func prepare(m *testing.M) (status int, err error) {
	dir, err := os.MkdirTemp("", "fairlead-test-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "fairlead")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the program: %w\n%s", err, out)
	}
	srv, err := startServer(filepath.Join(dir, "etcd"))
	if err != nil {
		return 0, err
	}
	defer srv.Close()
	store = srv.Endpoint()
	return m.Run(), nil
}

func startServer(dir string) (*embed.Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return embed.Start(ctx, embed.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler), UnsafeNoFsync: true})
}

// A program is a run of the binary.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// start runs the binary against the test's store, with additional variables in
// its environment if arguments begin with NAME=VALUE.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	env := append(os.Environ(), storeVariable+"="+store)
	for len(args) > 0 && strings.Contains(args[0], "=") {
		env, args = append(env, args[0]), args[1:]
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = env
	return launch(t, cmd)
}

// launch runs a command, which is killed at the end of the test if it still runs.
func launch(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{t: t, cmd: cmd}
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = patience
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // an error if it has ended, as
		_ = cmd.Wait()         // if it was waited for
	})
	return p
}

// line returns the next line of standard output.
func (p *program) line() string {
	p.t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		_ = p.cmd.Wait()
		p.t.Fatalf("%v: no further line, only %q: %v\n%s", p.cmd.Args, line, err, &p.stderr)
	}
	return strings.TrimSuffix(line, "\n")
}

func (p *program) expect(line string) {
	p.t.Helper()
	if got := p.line(); got != line {
		p.t.Fatalf("%v printed %q, want %q", p.cmd.Args, got, line)
	}
}

func (p *program) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the program and returns the rest of its output.
func (p *program) end(status int) string {
	p.t.Helper()
	rest, err := io.ReadAll(p.stdout)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = p.cmd.Wait()
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		p.t.Fatalf("%v: exit status %d, want %d\n%s\n%s", p.cmd.Args, got, status, rest, &p.stderr)
	}
	return string(rest)
}

// The shell script of a command that says when it runs, and ends when leave is
// called.
const stay = "echo in; read x"

func (p *program) leave() {
	p.t.Helper()
	_ = p.stdin.Close()
	p.end(1) // read met the end of the file
}

// complains runs the binary to its end and returns what it says on stderr.
func complains(t *testing.T, status int, args ...string) string {
	t.Helper()
	p := start(t, args...)
	p.end(status)
	return p.stderr.String()
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

// open opens a session of the test's own at a store.
func open(t *testing.T, url string) *session.Session {
	t.Helper()
	s, err := session.Open(t.Context(), url, &session.Options{TTL: 20 * time.Second, Identity: "the test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// awaitQueue waits until the queue has so many holders and waiters.
func awaitQueue(t *testing.T, s *session.Session, name string, holders, waiters int) watch.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for q, err := range watch.Queue(ctx, s, name) {
		if err != nil {
			t.Fatalf("%s never had %d holders and %d waiters: %v", name, holders, waiters, err)
		}
		if len(q.Holders) == holders && len(q.Waiters) == waiters {
			return q
		}
	}
	return watch.Snapshot{}
}
