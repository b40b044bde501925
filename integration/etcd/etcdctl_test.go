package etcd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/mutex"
)

// etcdctl is the command, built once from its module at the version that this
// one requires.
var etcdctl struct {
	binary string // set by TestMain
	once   sync.Once
	err    error
}

func etcdctlBinary(t *testing.T) string {
	t.Helper()
	etcdctl.once.Do(func() {
		cmd := exec.Command("go", "build", "-o", etcdctl.binary, "go.etcd.io/etcd/etcdctl/v3")
		cmd.Dir = packageDir
		if out, err := cmd.CombinedOutput(); err != nil {
			etcdctl.err = fmt.Errorf("build etcdctl: %w\n%s", err, out)
		}
	})
	if etcdctl.err != nil {
		t.Fatal(etcdctl.err)
	}
	return etcdctl.binary
}

// A process runs beside the test.
type process struct {
	cmd   *exec.Cmd
	lines chan string // of its output; closed at its end
	err   error       // how it ended; to read after lines was closed
}

// run starts etcdctl against the shared server.
func run(t *testing.T, args ...string) *process {
	t.Helper()
	args = append([]string{"--endpoints", shared.Addr()}, args...)
	return start(t, exec.CommandContext(t.Context(), etcdctlBinary(t), args...))
}

// start starts a process, and kills it at the end of the test if it still runs.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, lines: make(chan string, 64)}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		if err := cmd.Wait(); err != nil {
			p.err = fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, stderr.String())
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended, as it should
		for range p.lines {
		}
	})
	return p
}

// says waits for a line of output that is as wanted.
func (p *process) says(t *testing.T, what string, want func(line string) bool) {
	t.Helper()
	limit := bounded(t)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatalf("the process ended and did not show %s: %v", what, p.err)
			}
			if want(line) {
				return
			}
		case <-limit.Done():
			t.Fatalf("the process did not show %s", what)
		}
	}
}

// silent fails the test when the process has said anything.
func (p *process) silent(t *testing.T) {
	t.Helper()
	select {
	case line, ok := <-p.lines:
		t.Fatalf("the process said %q (still running: %v), and should wait", line, ok)
	default:
	}
}

// interrupt ends etcdctl as a user does; it releases then.
func (p *process) interrupt(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for range p.lines {
	}
	if p.err != nil {
		t.Error(p.err)
	}
}

func keyOf(name string) func(string) bool {
	return func(line string) bool { return strings.HasPrefix(line, name+"/") }
}

func isLine(want string) func(string) bool {
	return func(line string) bool { return line == want }
}

func TestEtcdctlLockAndOursWaitForEachOther(t *testing.T) {
	t.Parallel()
	name := nameFor(t)
	s := open(t, shared.Addr(), quiet("ours", 0))
	g := lock(t, s, name)

	theirs := run(t, "lock", name)
	queued(t, name, 2)
	theirs.silent(t)
	release(t, g)
	theirs.says(t, "that it has the lock", keyOf(name))

	ours := locking(bounded(t), s, name)
	queued(t, name, 2)
	ours.pending(t)
	theirs.interrupt(t)
	release(t, ours.must(t))
	queued(t, name, 0)
}

func TestEtcdctlElectAndOursWaitForEachOther(t *testing.T) {
	t.Parallel()
	name, ctx := nameFor(t), bounded(t)
	e := election.New(open(t, shared.Addr(), quiet("ours", 0)), name)
	term, err := e.Campaign(ctx, "ours")
	if err != nil {
		t.Fatal(err)
	}

	theirs := run(t, "elect", name, "theirs")
	queued(t, name, 2)
	theirs.silent(t)
	if err := term.Resign(ctx); err != nil {
		t.Fatal(err)
	}
	theirs.says(t, "that it leads", keyOf(name))
	l, err := e.Leader(ctx)
	if err != nil || l.Value != "theirs" || l.Identity != "" {
		t.Errorf("Leader() = %+v, %v; want the value %q of nobody we know", l, err, "theirs")
	}

	ours := begin(func() (*election.Term, error) { return e.Campaign(ctx, "ours again") })
	queued(t, name, 2)
	ours.pending(t)
	theirs.interrupt(t)
	if err := ours.must(t).Resign(ctx); err != nil {
		t.Fatal(err)
	}
	queued(t, name, 0)
}

func TestEtcdctlElectListenShowsOurLeader(t *testing.T) {
	t.Parallel()
	name, ctx := nameFor(t), bounded(t)
	term, err := election.New(open(t, shared.Addr(), quiet("ours", 0)), name).Campaign(ctx, "first value")
	if err != nil {
		t.Fatal(err)
	}
	listener := run(t, "elect", "--listen", name)
	listener.says(t, "our key", keyOf(name))
	listener.says(t, "our value", isLine("first value"))
	if err := term.Proclaim(ctx, "second value"); err != nil {
		t.Fatal(err)
	}
	listener.says(t, "our proclamation", isLine("second value"))
	listener.interrupt(t)
}

// Processes of etcdctl and goroutines of ours take turns. Who is inside makes a
// directory, which fails for a second one, whatever either library believes.
func TestEtcdctlLockRunsCommandsOneAtATime(t *testing.T) {
	t.Parallel()
	const workers, rounds = 2, 6
	name, ctx := nameFor(t), bounded(t)
	dir := t.TempDir()
	inside := filepath.Join(dir, "inside")
	binary := etcdctlBinary(t)
	s := open(t, shared.Addr(), quiet("ours", 0))

	theirTurn := func() error {
		cmd := exec.CommandContext(ctx, binary, "--endpoints", shared.Addr(), "lock", name, "--",
			"sh", "-c", `mkdir "$0" && echo in >>"$1" && rmdir "$0"`, inside, filepath.Join(dir, "theirs"))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("etcdctl lock: %w: %s", err, out)
		}
		return nil
	}
	ourTurn := func() error {
		return mutex.New(s, name).Do(ctx, func(context.Context) error {
			if err := os.Mkdir(inside, 0o700); err != nil {
				return err
			}
			time.Sleep(time.Millisecond) // give others the time to be wrong
			return os.Remove(inside)
		})
	}
	var wg sync.WaitGroup
	for range workers {
		for _, turn := range []func() error{theirTurn, ourTurn} {
			wg.Go(func() {
				var err error
				for range rounds {
					err = errors.Join(err, turn())
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	log, err := os.ReadFile(filepath.Join(dir, "theirs"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(log), "in\n"); got != workers*rounds {
		t.Errorf("etcdctl ran its command %d times, want %d", got, workers*rounds)
	}
	queued(t, name, 0)
}
