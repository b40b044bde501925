package pgserver

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// offspring returns the children of a server, of which there are some.
func offspring(t *testing.T, postmaster int) []int {
	t.Helper()
	pids, err := children(postmaster)
	if err != nil {
		t.Fatal(err)
	}
	if len(pids) < 3 {
		t.Fatalf("the server has only the children %v", pids)
	}
	return pids
}

// awaitGone waits until none of the processes is there any more.
func awaitGone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		if err := await(patience, pid, gone); err != nil {
			t.Error(err)
		}
	}
}

func TestKillLeavesNoProcess(t *testing.T) {
	t.Parallel()
	s := begin(t, quick())
	conn := connect(t, s.AdminURL("postgres"))
	postmaster, session := s.Pid(), ask[int](t, conn, "select pg_backend_pid()")
	// A session at work does not look whether its postmaster lives.
	ended := make(chan error)
	go func() {
		_, err := conn.Exec(context.Background(), "do $$ begin loop end loop; end $$")
		ended <- err
	}()
	admin := connect(t, s.AdminURL("postgres"))
	until(t, "the session is at work", func() bool {
		return ask[bool](t, admin, "select state = 'active' from pg_stat_activity where pid = $1", session)
	})
	pids := append(offspring(t, postmaster), postmaster)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("an endless loop has ended")
	}
	known := false
	for _, pid := range pids {
		known = known || pid == session
		if done, err := all(pid, gone); err != nil || !done {
			t.Errorf("process %d is there after Kill, %v", pid, err)
		}
	}
	if !known {
		t.Errorf("the session's process %d is not among %v", session, pids)
	}
}

func TestStopStopsEveryProcess(t *testing.T) {
	t.Parallel()
	s := begin(t, quick())
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range append(offspring(t, s.Pid()), s.Pid()) {
		if done, err := all(pid, func(state string) bool { return state == "T" }); err != nil || !done {
			t.Errorf("process %d runs after Stop, %v", pid, err)
		}
	}
}

// segments is how many segments of System V shared memory of the id there are.
func segments(t *testing.T, id string) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); fields[1] == id {
			n++
		}
	}
	return n
}

func TestAKilledServerLeavesNoSharedMemoryAfterClose(t *testing.T) {
	t.Parallel()
	s := begin(t, quick())
	text, err := os.ReadFile(filepath.Join(s.place.data(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	id := strings.Fields(strings.Split(string(text), "\n")[6])[1]
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if n := segments(t, id); n != 1 {
		t.Fatalf("after Kill there are %d segments %s", n, id)
	}
	s.Close()
	if n := segments(t, id); n != 0 {
		t.Errorf("after Close there are %d segments %s", n, id)
	}
}

func TestServerDiesWithItsStarter(t *testing.T) {
	t.Parallel()
	testOrphan(t)
}

// The processes must be let run on to notice.
func TestStoppedServerDiesWithItsStarter(t *testing.T) {
	t.Parallel()
	testOrphan(t, orphanStopped+"=yes")
}

func testOrphan(t *testing.T, env ...string) {
	ctx, dir := bounded(t), t.TempDir()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(append(os.Environ(), orphanDir+"="+dir), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer context.AfterFunc(ctx, func() { out.Close() })() // whoever else may have it open
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Errorf("read the server's process id: %v", err)
	}
	var pids []int
	if postmaster, err := strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Error(err)
	} else {
		pids = append(offspring(t, postmaster), postmaster)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it says that it was killed
	awaitGone(t, pids)
	sweep(filepath.Join(dir, "data"))
}

func TestOnlyTemporaryDirectoriesAreOpenedToOthers(t *testing.T) {
	base := t.TempDir()
	mode := func(dir string) os.FileMode {
		info, err := os.Stat(filepath.Join(base, dir))
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	for _, dir := range []string{"temp/a/b", "closed/a"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := letPass(filepath.Join(base, "temp/a/b")); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"temp", "temp/a", "temp/a/b"} {
		if m := mode(dir); m != 0o711 {
			t.Errorf("%s has mode %o, want 711", dir, m)
		}
	}
	t.Setenv("TMPDIR", filepath.Join(base, "temp"))
	if err := letPass(filepath.Join(base, "closed/a")); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("what is not for temporary files: %v", err)
	}
	if m := mode("closed"); m != 0o700 {
		t.Errorf("closed has mode %o, want 700", m)
	}
}
