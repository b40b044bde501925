package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/internal/process"
)

func TestServerAnswersAndIsGoneAfterClose(t *testing.T) {
	t.Parallel()
	s := begin(t, quick())
	if err := s.Exec(bounded(t), "postgres", "select 1"); err != nil {
		t.Error(err)
	}
	s.Close()
	if s.Pid() != 0 {
		t.Error("the process is there after Close")
	}
	if _, err := os.Stat(s.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is there after Close: %v", err)
	}
	s.Close()
}

func TestOwnDirectoryStaysAndIsTakenUp(t *testing.T) {
	t.Parallel()
	c := quick()
	c.Dir = filepath.Join(t.TempDir(), "mine")
	s := begin(t, c)
	if err := s.CreateDatabase(bounded(t), "kept"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := begin(t, c).Exec(bounded(t), "kept", "select 1"); err != nil {
		t.Error(err)
	}
}

func TestAKilledServerComesBackWithItsData(t *testing.T) {
	t.Parallel()
	s := begin(t, Config{}) // with fsync
	conn := connect(t, s.AdminURL("postgres"))
	execute(t, conn, "create table kept as select 42 as n")
	addr := s.Addr()

	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(bounded(t)); err == nil {
		t.Error("a session outlives a killed server")
	}
	if err := s.Kill(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Kill() of a dead server = %v, want %v", err, os.ErrProcessDone)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if s.Addr() != addr {
		t.Errorf("it is at %s now, and was at %s", s.Addr(), addr)
	}
	if n := ask[int](t, connect(t, s.AdminURL("postgres")), "select n from kept"); n != 42 {
		t.Errorf("it has %d, and had 42", n)
	}
	if err := s.Restart(); err == nil {
		t.Error("Restart of a server that runs is no error")
	}
}

// What a machine without memory does, for one.
func TestAServerComesBackWhenOnlyThePostmasterWasKilled(t *testing.T) {
	t.Parallel()
	s := begin(t, quick())
	p, err := os.FindProcess(s.Pid())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	until(t, "the postmaster is gone", func() bool { return s.Pid() == 0 })
	if err := s.Restart(); err != nil {
		t.Error(err)
	}
}

func TestAStoppedServerIsSilentUntilCont(t *testing.T) {
	t.Parallel()
	s, ctx := begin(t, quick()), bounded(t)
	conn := connect(t, s.AdminURL("postgres"))
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := s.Exec(short, "postgres", "select 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Exec on a stopped server = %v, want %v", err, context.DeadlineExceeded)
	}
	if err := s.Cont(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(ctx); err != nil {
		t.Errorf("a session does not outlive Stop and Cont: %v", err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("Stop of a stopped server = %v", err)
	}
	if err := s.Kill(); err != nil {
		t.Errorf("Kill of a stopped server = %v", err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	s.Close() // returns, though it is stopped
}

func TestShutdownEndsSessionsAsTheModeSays(t *testing.T) {
	t.Parallel()
	s := begin(t, quick())
	for _, c := range []struct {
		mode      Mode
		told      bool // sessions are, that they end
		recovered bool // at the next start
	}{
		{Fast, true, false},
		{Immediate, false, true},
	} {
		conn := connect(t, s.AdminURL("postgres"))
		before := len(s.Log())
		if err := s.Stop(); err != nil { // it is no obstacle
			t.Fatal(err)
		}
		if err := s.Shutdown(c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := conn.WaitForNotification(bounded(t))
		if c.told {
			refused(t, "a session", err, "57P01")
		} else if !conn.IsClosed() {
			t.Errorf("a session does not end: %v", err)
		}
		if err := s.Shutdown(c.mode); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("Shutdown of a dead server = %v, want %v", err, os.ErrProcessDone)
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		log := s.Log()[before:]
		if strings.Contains(log, "automatic recovery in progress") != c.recovered {
			t.Errorf("the start after mode %d has recovered: %v, want %v\n%s", c.mode, !c.recovered, c.recovered, log)
		}
	}
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
	s, err := start(quick(), func() (process.Port, error) {
		if taken {
			taken = false
			return process.Port{Number: l.Addr().(*net.TCPAddr).Port}, nil
		}
		return process.Reserve()
	})
	if err != nil {
		t.Fatal(err)
	}
	finish(t, s)
	if taken || s.Addr() == l.Addr().String() {
		t.Errorf("the server is at %s, which was taken", s.Addr())
	}
}

func TestFailedStartShowsTheLogAndLeavesNothing(t *testing.T) {
	t.Parallel()
	c := quick()
	c.Settings = map[string]string{"work_mem": "plenty"}
	_, err := Start(c)
	if err == nil || !strings.Contains(err.Error(), `"plenty"`) {
		t.Fatalf("Start = %v, want the server's own words", err)
	}
	_, dir, _ := strings.Cut(err.Error(), "start postgres in ")
	dir, _, _ = strings.Cut(dir, ":")
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%q is there after the failure: %v", dir, err)
	}
}

func TestSettingsReachTheServerAndWin(t *testing.T) {
	t.Parallel()
	const odd = `it's a "\n" # \`
	c := quick()
	c.Settings = map[string]string{"max_connections": "23", "fairlead.test": odd, "fsync": "on"}
	conn := connect(t, begin(t, c).AdminURL("postgres"))
	for name, want := range map[string]string{
		"max_connections": "23",
		"fairlead.test":   odd,
		"fsync":           "on",
		"server_encoding": "UTF8",
		"lc_collate":      "C",
	} {
		if got := ask[string](t, conn, "select current_setting($1)", name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestARoleNeedsItsPasswordAndHasNoRight(t *testing.T) {
	t.Parallel()
	s, ctx := share(t), bounded(t)
	name, password, database := `o"dd na'me`+rand.Text(), `p'a"s\s/@:%`, `d"b /?x`+rand.Text()
	if err := s.CreateRole(ctx, name, password); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateDatabase(ctx, database); err != nil {
		t.Fatal(err)
	}
	_, err := dial(t, s.URL(name, "wrong", database))
	refused(t, "a wrong password", err, "28P01")

	conn := connect(t, s.URL(name, password, database))
	if got := ask[string](t, conn, "select current_user::text"); got != name {
		t.Errorf("the user is %q, want %q", got, name)
	}
	if got := ask[string](t, conn, "select current_database()::text"); got != database {
		t.Errorf("the database is %q, want %q", got, database)
	}
	_, err = conn.Exec(ctx, "create table mine ()")
	refused(t, "create table", err, "42501")
	_, err = conn.Exec(ctx, "create role other")
	refused(t, "create role", err, "42501")
}

func TestExecTakesArgumentsOrSeveralStatements(t *testing.T) {
	t.Parallel()
	s, ctx := share(t), bounded(t)
	database := rand.Text()
	if err := s.CreateDatabase(ctx, database); err != nil {
		t.Fatal(err)
	}
	if err := s.Exec(ctx, database, "create table t (n int); insert into t values (1)"); err != nil {
		t.Fatal(err)
	}
	if err := s.Exec(ctx, database, "insert into t values ($1)", 41); err != nil {
		t.Fatal(err)
	}
	refused(t, "a wrong statement", s.Exec(ctx, database, "insert into t values (2); select 1/0"), "22012")
	err := s.admin(ctx, database, func(c *pgx.Conn) error {
		if n := ask[int](t, c, "select sum(n) from t"); n != 42 {
			t.Errorf("the table has %d, want 42", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
