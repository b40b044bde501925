package redisserver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
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

// do is Do for a command that is to work.
func do(t *testing.T, s *Server, args ...string) any {
	t.Helper()
	answer, err := s.Do(bounded(t), args...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func runID(t *testing.T, s *Server) string {
	t.Helper()
	id, err := s.RunID(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A client does not log in, as Do does, and has one connection.
type client struct {
	conn net.Conn
	r    *bufio.Reader
}

func connect(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return connectOver(t, conn)
}

func connectOver(t *testing.T, conn net.Conn) *client {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{conn: conn, r: bufio.NewReader(conn)}
}

// call returns the answer, which may be an Error.
func (c *client) call(args ...string) (any, error) {
	if _, err := io.WriteString(c.conn, encode(args)); err != nil {
		return nil, err
	}
	return decode(c.r)
}

// want calls, and fails unless the answer is, or for an Error begins with, want.
func (c *client) want(t *testing.T, want any, args ...string) {
	t.Helper()
	got, err := c.call(args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	refusal, refused := got.(Error)
	if code, ok := want.(Error); ok && refused && strings.HasPrefix(string(refusal), string(code)) {
		return
	}
	if got != want {
		t.Errorf("%v = %v, want %v", args, got, want)
	}
}

func TestStandaloneAnswersAndIsGoneAfterClose(t *testing.T) {
	t.Parallel()
	began := time.Now()
	s, err := Start(Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v", time.Since(began))
	connect(t, s.Addr()).want(t, "PONG", "PING")
	if s.TLSAddr() != "" {
		t.Errorf("TLSAddr() = %q without TLS", s.TLSAddr())
	}
	if info, err := s.Info(bounded(t), "server"); err != nil || info["process_id"] != strconv.Itoa(s.Pid()) {
		t.Errorf("Pid() = %d, but the server says %s, %v", s.Pid(), info["process_id"], err)
	}
	s.Close()
	if s.child.Running() || s.Pid() != 0 {
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
	s.Close() // a second one does nothing
}

func TestARestartedServerHasAnotherRunIDAndNoData(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, Config{}), bounded(t)
	addr, first := s.Addr(), runID(t, s)
	do(t, s, "SET", "lost", "1")

	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Do(ctx, "PING"); err == nil {
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
	if second := runID(t, s); second == first {
		t.Errorf("the run id is %s before and after", second)
	}
	if got := do(t, s, "GET", "lost"); got != nil {
		t.Errorf("what was written before the restart is there: %v", got)
	}
	if err := s.Restart(ctx); err == nil {
		t.Error("Restart of a server that runs is no error")
	}
}

func TestSettingsWin(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "mine")
	s, ctx := start(t, Config{Dir: dir, Settings: map[string]string{
		"appendonly":       "yes",
		"appendfsync":      "always",
		"maxmemory-policy": "allkeys-lru",
	}}), bounded(t)
	got, want := do(t, s, "CONFIG", "GET", "maxmemory-policy").([]any), "allkeys-lru"
	if len(got) != 2 || got[1] != want {
		t.Errorf("CONFIG GET maxmemory-policy = %v, want %v", got, want)
	}
	do(t, s, "SET", "kept", "1")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if got := do(t, s, "GET", "kept"); got != "1" {
		t.Errorf("GET kept = %v after a restart with appendonly", got)
	}
	s.Close()
	if _, err := os.Stat(filepath.Join(dir, "appendonlydir")); err != nil {
		t.Errorf("the directory that was asked for: %v", err)
	}
}

func TestStoppedServerIsSilentUntilCont(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, Config{}), bounded(t)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if answer, err := s.Do(short, "PING"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stopped server answers %v, %v; want %v", answer, err, context.DeadlineExceeded)
	}
	if err := s.Cont(); err != nil {
		t.Fatal(err)
	}
	do(t, s, "PING")
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
	servers, err := launch(&Config{}, []role{{}}, func() (process.Port, error) {
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
	_, err := Start(Config{Settings: map[string]string{"hz": "often"}})
	if err == nil || !strings.Contains(err.Error(), `'hz often'`) {
		t.Fatalf("Start = %v, want the server's own words", err)
	}
	_, dir, _ := strings.Cut(err.Error(), "start redis in ")
	dir, _, _ = strings.Cut(dir, ":")
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%q is there after the failure: %v", dir, err)
	}
}
