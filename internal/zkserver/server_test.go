package zkserver

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
)

// patience is a bound for what takes a moment, on a machine that is busy.
const patience = 30 * time.Second

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// quick is a configuration for tests that only look at the server.
func quick() Config { return Config{NoSync: true} }

func start(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, s) })
	return s
}

func finish(t *testing.T, servers ...*Server) {
	if t.Failed() {
		for _, s := range servers {
			t.Logf("log of %s:\n%s", s.Addr(), s.Log())
		}
	}
	closeAll(servers)
}

func TestStandaloneAnswersAndIsGoneAfterClose(t *testing.T) {
	t.Parallel()
	began := time.Now()
	s, err := Start(quick())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v", time.Since(began))
	if mode, err := s.Mode(bounded(t)); err != nil || mode != Standalone {
		t.Errorf("Mode() = %q, %v; want %q", mode, err, Standalone)
	}
	if s.SecureAddr() != "" {
		t.Errorf("SecureAddr() = %q without TLS", s.SecureAddr())
	}
	s.Close()
	if s.child.Running() {
		t.Error("the process is there after Close")
	}
	if _, err := os.Stat(s.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is there after Close: %v", err)
	}
	// The port is free for whoever wants it.
	l, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestOwnDirectoryStays(t *testing.T) {
	t.Parallel()
	c := quick()
	c.Dir = filepath.Join(t.TempDir(), "mine")
	s := start(t, c)
	s.Close()
	if _, err := os.Stat(filepath.Join(c.Dir, "data", "version-2")); err != nil {
		t.Error(err)
	}
}

func TestRestartKeepsDataAndAddress(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, quick()), bounded(t)
	c := connect(t, s.Addr())
	c.create(t, "/kept", persistent)
	addr := s.Addr()

	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mode(ctx); err == nil {
		t.Error("a killed server answers")
	}
	if err := s.Kill(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Kill() of a dead server = %v, want %v", err, os.ErrProcessDone)
	}
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if s.Addr() != addr {
		t.Errorf("it is at %s now, and was at %s", s.Addr(), addr)
	}
	if !connect(t, s.Addr()).exists(t, "/kept") {
		t.Error("what was written before the restart is not there")
	}
	if err := s.Restart(ctx); err == nil {
		t.Error("Restart of a server that runs is no error")
	}
}

func TestStoppedServerIsSilentUntilCont(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, quick()), bounded(t)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if mode, err := s.Mode(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Mode() of a stopped server = %q, %v; want %v", mode, err, context.DeadlineExceeded)
	}
	if err := s.Cont(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mode(ctx); err != nil {
		t.Error(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	s.Close() // returns, though it is stopped
}

// A port that was free when it was chosen and is not when the server starts.
func TestStartTriesOtherPorts(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", net.JoinHostPort(process.Loopback, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := true
	c := quick()
	servers, err := launch(&c, 0, func() (process.Port, error) {
		if taken {
			taken = false
			return process.Port{Number: l.Addr().(*net.TCPAddr).Port}, nil
		}
		return process.Reserve()
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, servers...) })
	if taken || servers[0].Addr() == l.Addr().String() {
		t.Errorf("the server is at %s, which was taken", servers[0].Addr())
	}
}

func TestFailedStartShowsTheLogAndLeavesNothing(t *testing.T) {
	t.Parallel()
	c := quick()
	c.Settings = map[string]string{"tickTime": "soon"}
	_, err := Start(c)
	if err == nil || !strings.Contains(err.Error(), `"soon"`) {
		t.Fatalf("Start = %v, want the server's own words", err)
	}
	_, dir, _ := strings.Cut(err.Error(), "start zookeeper in ")
	dir, _, _ = strings.Cut(dir, ":")
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%q is there after the failure: %v", dir, err)
	}
}

func TestOptionsReachTheServer(t *testing.T) {
	t.Parallel()
	c := quick()
	c.TickTime = 250 * time.Millisecond
	c.MinSessionTimeout = 3 * time.Second
	c.MaxSessionTimeout = 7 * time.Second
	c.Commands = []string{"conf", "envi"}
	c.JVM = []string{"-Djute.maxbuffer=4096", "-Xmx64m"}
	s := start(t, c)
	answer, err := s.Command(bounded(t), "conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"tickTime=250\n", "minSessionTimeout=3000\n", "maxSessionTimeout=7000\n"} {
		if !strings.Contains(answer, line) {
			t.Errorf("there is no %q in what it says of its configuration:\n%s", line, answer)
		}
	}
	// A request that is longer than jute.maxbuffer ends the connection.
	conn := connect(t, s.Addr())
	conn.create(t, "/small", ephemeral)
	if err := conn.tryCreate("/"+strings.Repeat("x", 5000), ephemeral); err == nil {
		t.Error("the server takes a request of 5000 bytes with jute.maxbuffer=4096")
	}
}
