package redis_test

import (
	"os"
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
	for status := ""; status != "err"; {
		info, err := s.Info(bounded(t), "persistence")
		if err != nil {
			t.Fatal(err)
		}
		status = info["rdb_last_bgsave_status"]
	}
	found := drivertest.ExamineAt(t, serverURL(s, ""))
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"persistence": driver.Warning})
	if f := found["persistence"]; !strings.Contains(f.Detail, "snapshot err") || !strings.Contains(f.Advice, "log") {
		t.Errorf("it says %+v", f)
	}
	if f := redis.Persistence("aof_enabled:1\r\naof_last_write_status:err\r\nrdb_last_bgsave_status:ok\r\n"); f.Verdict != driver.Failure || !strings.Contains(f.Advice, "full disk") {
		t.Errorf("of one that cannot append it says %+v", f)
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
