//go:build unix

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/watch"
)

// weights returns those of the entries.
func weights(entries []watch.Entry) []int64 {
	var all []int64
	for _, e := range entries {
		all = append(all, e.Weight)
	}
	return all
}

func TestSemaphoreLimitsHowManyRun(t *testing.T) {
	s := open(t, store)
	log := filepath.Join(t.TempDir(), "log")
	sem := func(name string) *program {
		return start(t, "semaphore", "limited", "--limit", "2", "--", "sh", "-c",
			`echo "$0-began" >>"$1"; echo in; read x; echo "$0-ended" >>"$1"; exit 1`, name, log)
	}
	first, second := sem("first"), sem("second")
	first.expect("in")
	second.expect("in")
	third := sem("third")
	if q := awaitQueue(t, s, "limited", 2, 1); q.Kind != "semaphore" || q.Limit != 2 {
		t.Errorf("the queue is a %s's with limit %d", q.Kind, q.Limit)
	}
	second.leave() // not the one that has held for longest: either will do
	third.expect("in")
	third.leave()
	first.leave()
	awaitQueue(t, s, "limited", 0, 0)
	said, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	happened := strings.Fields(string(said))
	slices.Sort(happened[:min(2, len(happened))])
	if want := []string{"first-began", "second-began", "second-ended", "third-began", "third-ended", "first-ended"}; !slices.Equal(happened, want) {
		t.Errorf("what happened is %q, want %q", happened, want)
	}
}

func TestHeavyCommandIsNotOvertaken(t *testing.T) {
	s := open(t, store)
	sem := func(weight string) *program {
		return start(t, "sem", "heavy", "--limit", "3", "--weight", weight, "--", "sh", "-c", stay)
	}
	first := sem("2")
	first.expect("in")
	heavy := sem("2")
	awaitQueue(t, s, "heavy", 1, 1)
	light := sem("1") // there would be room for it
	if q := awaitQueue(t, s, "heavy", 1, 2); !slices.Equal(weights(q.Holders), []int64{2}) || !slices.Equal(weights(q.Waiters), []int64{2, 1}) {
		t.Errorf("weights %d and %d", weights(q.Holders), weights(q.Waiters))
	}
	first.leave()
	heavy.expect("in")
	light.expect("in")
	heavy.leave()
	light.leave()
	awaitQueue(t, s, "heavy", 0, 0)
}

func TestKilledHolderFreesItsPermit(t *testing.T) {
	s := open(t, store)
	const ttl = 2 * time.Second
	sem := func() *program {
		return start(t, "sem", "killed", "--store", store+"?ttl="+ttl.String(), "--limit", "2", "--", "sh", "-c", stay)
	}
	first, second := sem(), sem()
	first.expect("in")
	second.expect("in")
	third := sem()
	awaitQueue(t, s, "killed", 2, 1)
	begin := time.Now()
	second.signal(syscall.SIGKILL)
	if runtime.GOOS != "linux" { // elsewhere the command would go on
		_ = second.stdin.Close()
	}
	second.end(-1) // once nobody has its standard output any more: the command is dead too
	third.expect("in")
	// As a rule it is a TTL and half a second; what is shown here is that it is no
	// other TTL that runs out.
	if d := time.Since(begin); d > 5*ttl {
		t.Errorf("it took %v until the permit of a killed holder was free", d)
	} else {
		t.Logf("the permit of a killed holder was free after %v", d)
	}
	first.leave()
	third.leave()
}

func TestSemaphoreNonblockAndTimeout(t *testing.T) {
	s := open(t, store)
	g, err := semaphore.New(s, "full", 2).Acquire(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	start(t, "sem", "full", "--limit", "2", "--nonblock", "--", "true").end(0)
	for _, c := range []struct {
		status int
		flags  []string
	}{
		{statusConflict, []string{"--nonblock"}},
		{42, []string{"--nonblock", "--conflict-exit-code", "42"}},
		{statusTimeout, []string{"--timeout", "300ms"}},
	} {
		args := append([]string{"sem", "full", "--limit", "2", "--weight", "2"}, append(c.flags, "--", "echo", "ran")...)
		p := start(t, args...)
		if out := p.end(c.status); out != "" {
			t.Errorf("the command ran: %q", out)
		}
		contains(t, p.stderr.String(), "the test")
		awaitQueue(t, s, "full", 1, 0)
	}
	if err := g.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The way out is said with each error.
func TestNameInUseOtherwiseIsExplained(t *testing.T) {
	s := open(t, store)
	permit, err := semaphore.New(s, "use/semaphore", 2).Acquire(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := mutex.New(s, "use/lock").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string][]string{
		"sem use/semaphore --limit 3":            {"limit 2, and not 3", "give its present one"},
		"sem use/semaphore --limit 3 --nonblock": {"limit 2, and not 3", "give its present one"},
		"lock use/semaphore":                     {"a semaphore", "choose another one"},
		"lock use/semaphore --shared":            {"a semaphore", "choose another one"},
		"lock use/semaphore --nonblock":          {"a semaphore", "choose another one"},
		"elect use/semaphore":                    {"a semaphore", "choose another one"},
		"sem use/lock --limit 3":                 {"another kind", "choose another one"},
		"sem use/lock --limit 3 --nonblock":      {"another kind", "choose another one"},
	} {
		contains(t, complains(t, statusFailure, append(strings.Fields(args), "--", "true")...), want...)
	}
	awaitQueue(t, s, "use/semaphore", 1, 0)
	awaitQueue(t, s, "use/lock", 1, 0)
	if err := permit.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}
