package redis

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// tightMemory is the part of maxmemory, in percent, from which one should do something.
const tightMemory = 80

// Examine implements driver.Doctor. All comes from one script, which a cluster runs where
// the namespace is, and which needs no other right than sessions do.
func (s *store) Examine(ctx context.Context) iter.Seq[driver.Finding] {
	return func(yield func(driver.Finding) bool) {
		sent := time.Now()
		r, err := s.run(ctx, examineScript)
		received := time.Now()
		if err == nil && (r.status != "ok" || len(r.rest) != 3) {
			err = unexpected("examine the server", r)
		}
		if err != nil {
			yield(driver.Unseen("server", s.failed(ctx, "examine the server", err)))
			return
		}
		i := parseInfo(r.rest[2])
		_ = yield(i.version()) &&
			yield(driver.Clock(instant(r.rest[0], r.rest[1]), sent, received)) &&
			yield(i.eviction()) &&
			yield(i.persistence()) &&
			yield(i.replicas(s.replicas))
	}
}

// instant is what TIME tells.
func instant(seconds, micros string) time.Time {
	sec, _ := strconv.ParseInt(seconds, 10, 64)
	usec, _ := strconv.ParseInt(micros, 10, 64)
	return time.Unix(sec, usec*1000)
}

// An info is what INFO says.
type info map[string]string

func parseInfo(text string) info {
	i := info{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			i[name] = value
		}
	}
	return i
}

func (i info) number(name string) int64 {
	n, _ := strconv.ParseInt(i[name], 10, 64)
	return n
}

// version is of a server that was not refused when the store began.
func (i info) version() driver.Finding {
	return driver.Finding{Check: "version", Verdict: driver.Fine,
		Detail: fmt.Sprintf("Redis %s, %s, up for %v", i["redis_version"], i["redis_mode"], time.Duration(i.number("uptime_in_seconds"))*time.Second)}
}

// eviction is about memory; a policy that evicts was refused when the store began, but
// may have been set since.
func (i info) eviction() driver.Finding {
	f := driver.Finding{Check: "eviction", Verdict: driver.Fine}
	used, most, policy := i.number("used_memory"), i.number("maxmemory"), i["maxmemory_policy"]
	f.Detail = policy + ", no maxmemory"
	if most > 0 {
		f.Detail = fmt.Sprintf("%s, %d of %d MiB used", policy, used>>20, most>>20)
	}
	switch {
	case policy != "noeviction":
		f.Verdict, f.Advice = driver.Failure, "set maxmemory-policy to noeviction, or use a server of its own for locks: with another it may throw away a lock that is held"
	case most > 0 && used*100 >= most*tightMemory:
		f.Verdict, f.Advice = driver.Warning, "raise maxmemory, or remove what is not needed: without memory nobody can join"
	}
	return f
}

func (i info) persistence() driver.Finding {
	f := driver.Finding{Check: "persistence", Verdict: driver.Fine,
		Detail: fmt.Sprintf("appendonly %s, last snapshot %s", onOff(i["aof_enabled"]), i["rdb_last_bgsave_status"])}
	switch {
	case i["aof_enabled"] != "1":
		f.Verdict, f.Advice = driver.Warning, "set appendonly yes: a server that restarts without what was written last ends all sessions, waits for holders that it cannot know, "+
			"and keeps tokens rising by its clock alone"
	case i["aof_last_write_status"] != "ok":
		f.Verdict, f.Detail = driver.Failure, "appendonly on, and the last write to it failed"
		f.Advice = "look for a full disk: the server takes no writes until it can append again"
	case i["rdb_last_bgsave_status"] != "ok":
		f.Verdict, f.Advice = driver.Warning, "look into the server's log: unless stop-writes-on-bgsave-error is no, it takes no writes now"
	}
	return f
}

func onOff(flag string) string {
	if flag == "1" {
		return "on"
	}
	return "off"
}

// replicas is about what a failover loses. wait is how many have to acknowledge.
func (i info) replicas(wait int) driver.Finding {
	there := int(i.number("connected_slaves"))
	f := driver.Finding{Check: "replicas", Verdict: driver.Fine, Detail: fmt.Sprintf("%d connected, wait=%d", there, wait)}
	switch {
	case there == 0 && wait == 0:
		f.Detail = "none: no failover"
	case there < wait:
		f.Verdict, f.Advice = driver.Failure, "bring replicas back, or ask for fewer with ?wait=: nobody can join until as many acknowledge"
	case wait == 0:
		f.Verdict, f.Advice = driver.Warning, "with ?wait=1 what was granted is on a replica: without, a failover may lose it. "+
			"min-replicas-to-write narrows the time in which a primary that was replaced goes on"
	}
	return f
}
