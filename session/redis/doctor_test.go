package redis_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/redis"
)

// durable is a server that keeps what it is given.
var durable = redisserver.Config{Settings: map[string]string{"appendonly": "yes"}}

// The user has no more rights than a session needs.
func TestExaminationOfAHealthyServerFindsNothingWrong(t *testing.T) {
	t.Parallel()
	s := start(t, durable)
	found := drivertest.ExamineAt(t, serverURL(s, ""))
	drivertest.ExpectVerdicts(t, found, nil)
	for check, says := range map[string]string{
		"version": "Redis ", "clock": "agree", "eviction": "noeviction, no maxmemory", "persistence": "appendonly on", "replicas": "none",
	} {
		if !strings.Contains(found[check].Detail, says) {
			t.Errorf("%+v does not say %q", found[check], says)
		}
	}
	if log := denials(t, s, user); log != "" {
		t.Errorf("the server has refused: %s", log)
	}
	if keys := do(t, s, "KEYS", "*").([]any); len(keys) != 0 {
		t.Errorf("it has left the keys %v", keys)
	}
}

func TestExaminationFindsWhatTheServerForgets(t *testing.T) {
	t.Parallel()
	s := start(t, redisserver.Config{})
	do(t, s, "CONFIG", "SET", "appendonly", "no")
	found := drivertest.ExamineAt(t, serverURL(s, ""))
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"persistence": driver.Warning})
	if f := found["persistence"]; !strings.Contains(f.Advice, "appendonly yes") {
		t.Errorf("it says %+v", f)
	}
}

func TestExaminationFindsThatTheServerCannotSave(t *testing.T) {
	t.Parallel()
	s := start(t, durable)
	if err := os.RemoveAll(s.Dir()); err != nil { // what it has open it goes on with
		t.Fatal(err)
	}
	do(t, s, "BGSAVE")
	awaitInfo(t, s, "rdb_last_bgsave_status", "err")
	found := drivertest.ExamineAt(t, serverURL(s, ""))
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"persistence": driver.Warning})
	if f := found["persistence"]; !strings.Contains(f.Detail, "snapshot err") || !strings.Contains(f.Advice, "log") {
		t.Errorf("it says %+v", f)
	}
}

func TestExaminationFindsThatTheServerCannotAppend(t *testing.T) {
	t.Parallel()
	s := start(t, redisserver.Config{})
	st := connect(t, serverURL(s, ""), nil, nil)
	defer st.Close()
	fillDisk(t, s)
	found := drivertest.Examine(t, st)
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"persistence": driver.Failure})
	if f := found["persistence"]; !strings.Contains(f.Advice, "full disk") {
		t.Errorf("it says %+v", f)
	}
}

// fillDisk has the server append to a disk that is full, so that it takes no writes.
func fillDisk(t *testing.T, s *redisserver.Server) {
	t.Helper()
	do(t, s, "CONFIG", "SET", "appendonly", "no", "appendfsync", "everysec") // with always it would end
	dir := filepath.Join(s.Dir(), "appendonlydir")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Symlink("/dev/full", filepath.Join(dir, "temp-appendonly.aof.incr"))); err != nil {
		t.Fatal(err)
	}
	do(t, s, "CONFIG", "SET", "appendonly", "yes")
	do(t, s, "SET", "x", "y")
	awaitInfo(t, s, "aof_last_write_status", "err")
}

// awaitInfo waits until the server says so of its persistence.
func awaitInfo(t *testing.T, s *redisserver.Server, field, want string) {
	t.Helper()
	for got := ""; got != want; {
		info, err := s.Info(bounded(t), "persistence")
		if err != nil {
			t.Fatal(err)
		}
		got = info[field]
	}
}

func TestExaminationFindsEvictionAndWantOfMemory(t *testing.T) {
	t.Parallel()
	s := start(t, durable)
	st := connect(t, serverURL(s, ""), nil, nil)
	defer st.Close()
	do(t, s, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru") // since the store began
	found := drivertest.Examine(t, st)
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"eviction": driver.Failure})
	if f := found["eviction"]; !strings.Contains(f.Detail, "allkeys-lru") || !strings.Contains(f.Advice, "noeviction") {
		t.Errorf("it says %+v", f)
	}
	do(t, s, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	info, err := s.Info(bounded(t), "memory")
	if err != nil {
		t.Fatal(err)
	}
	used, err := strconv.Atoi(info["used_memory"])
	if err != nil {
		t.Fatal(err)
	}
	do(t, s, "CONFIG", "SET", "maxmemory", strconv.Itoa(10*used))
	drivertest.ExpectVerdicts(t, drivertest.Examine(t, st), nil)
	do(t, s, "CONFIG", "SET", "maxmemory", strconv.Itoa(used))
	drivertest.ExpectVerdicts(t, drivertest.Examine(t, st), map[string]driver.Verdict{"eviction": driver.Warning})
}

func TestExaminationFindsWhatAFailoverLoses(t *testing.T) {
	t.Parallel()
	r, err := redisserver.StartReplicated(redisserver.Config{Users: []string{rules(redis.DefaultNamespace)}, Settings: durable.Settings}, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	primary, err := r.Primary(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for parameters, want := range map[string]driver.Verdict{"": driver.Warning, "?wait=1": driver.Fine, "?wait=2": driver.Failure} {
		found := drivertest.ExamineAt(t, serverURL(primary, parameters))
		drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"replicas": want})
		if f := found["replicas"]; !strings.Contains(f.Detail, "1 connected") {
			t.Errorf("it says %+v", f)
		}
	}
}
