package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// says is set for a copy of the test binary that plays a server: it writes the
// text to its log and ends, but with serve waits until it is killed. With starter
// it is who starts a server, whose log is in the directory it runs in.
const (
	says    = "PROCESS_TEST_SAYS"
	serve   = "serving"
	starter = "starter"
)

// lingering is how long a player takes to end after its last words.
const lingering = 200 * time.Millisecond

// patience is a bound for what takes a moment, on a machine that is busy.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if text := os.Getenv(says); text != "" {
		if text == starter {
			startAndTell()
		}
		println(text)
		if text == serve {
			time.Sleep(time.Hour)
		}
		time.Sleep(lingering)
		os.Exit(3)
	}
	goleak.VerifyTestMain(m)
}

// startAndTell starts a server, which inherits the first of the extra files, says
// so, and waits until it is killed.
func startAndTell() {
	c := New("player", "", "log")
	cmd := player(serve)
	cmd.ExtraFiles = []*os.File{os.NewFile(3, "held")}
	err := c.Start(context.Background(), cmd, func(context.Context) bool {
		return strings.Contains(c.Log(), serve)
	})
	fmt.Println(c.Pid(), err)
	time.Sleep(time.Hour)
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func player(text string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), says+"="+text)
	return cmd
}

func newChild(t *testing.T) *Child {
	t.Helper()
	dir := t.TempDir()
	c := New("player", dir, filepath.Join(dir, "log"))
	t.Cleanup(c.End)
	return c
}

// start begins a life that serves.
func start(t *testing.T, c *Child) {
	t.Helper()
	before := strings.Count(c.Log(), serve)
	err := c.Start(bounded(t), player(serve), func(context.Context) bool {
		return strings.Count(c.Log(), serve) > before
	})
	if err != nil {
		t.Fatal(err)
	}
}

func never(context.Context) bool { return false }

func TestAChildLivesAgain(t *testing.T) {
	c := newChild(t)
	if c.Running() || c.Pid() != 0 {
		t.Error("it runs before its first life")
	}
	start(t, c)
	first := c.Pid()
	if err := c.Start(bounded(t), player(serve), never); err == nil {
		t.Error("Start of a child that runs is no error")
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if c.Running() || c.Pid() != 0 {
		t.Error("it runs after Kill")
	}
	for _, act := range []func() error{c.Kill, c.Stop, c.Cont} {
		if err := act(); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("of a dead child: %v, want %v", err, os.ErrProcessDone)
		}
	}
	start(t, c)
	if c.Pid() == first {
		t.Error("it is the same process after Kill")
	}
	if got := strings.Count(c.Log(), serve); got != 2 {
		t.Errorf("the log has %d lives, want 2", got)
	}
}

func TestAStoppedChildEnds(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Stop is for Linux")
	}
	c := newChild(t)
	start(t, c)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if !c.Running() {
		t.Error("a stopped child does not run")
	}
	c.End()
	if c.Running() {
		t.Error("it runs after End")
	}
}

func TestStartTellsWhyThereIsNoServer(t *testing.T) {
	c := newChild(t)
	err := c.Start(bounded(t), player("no such setting"), never)
	if err == nil || !strings.Contains(err.Error(), "no such setting") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Start = %v, want its last words and its end", err)
	}
	err = c.Start(bounded(t), player("bind: Address already in use"), never)
	if !errors.Is(err, ErrInUse) {
		t.Errorf("Start = %v, want %v", err, ErrInUse)
	}
	// What an earlier life has said does not count.
	err = c.Start(bounded(t), player("no such setting"), never)
	if err == nil || errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "no such setting") {
		t.Errorf("Start = %v after a life that found its port taken, want its last words", err)
	}
	ctx, cancel := context.WithTimeout(bounded(t), 10*time.Millisecond)
	defer cancel()
	if err := c.Start(ctx, player(serve), never); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Start = %v, want %v", err, context.DeadlineExceeded)
	}
	if !c.Running() {
		t.Error("the process that is not ready does not run")
	}
}

func TestAReservedPortIsForItsServerOnly(t *testing.T) {
	p, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a server may be killed and come back
		l, err := net.Listen("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	q, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Free()
	if p.Number == q.Number {
		t.Errorf("port %d is reserved twice", p.Number)
	}
	p.Free()
}

// A port that is given back twice takes away whatever has got its descriptor meanwhile.
func TestAPortIsGivenBackOnce(t *testing.T) {
	freed := 0
	p := Port{Number: 1, free: func() { freed++ }}
	p.Free()
	p.Free()
	if freed != 1 {
		t.Errorf("the port was given back %d times", freed)
	}
	var none Port
	none.Free()
	if none.Addr() != "" {
		t.Errorf("no port is at %q", none.Addr())
	}
}

func TestAConnEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", net.JoinHostPort(Loopback, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancelCause(bounded(t))
	conn, err := Dial(ctx, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	gone := errors.New("gone")
	cancel(gone)
	_, err = conn.Read(make([]byte, 1)) // nobody will ever write
	if err = conn.Explain(err); !errors.Is(err, gone) {
		t.Errorf("Read = %v, want %v", err, gone)
	}
}
