package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// The benchmark runs itself as the server and as a leader, and in a test that is this
// program.
func TestMain(m *testing.M) {
	if play, ok := role(); ok {
		if err := play(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// short is a configuration that measures nothing worth knowing in so short a time: the
// tests are about the program.
func short(t *testing.T, run string) config {
	return config{rounds: 2, duration: 100 * time.Millisecond, dir: t.TempDir(), run: regexp.MustCompile(run),
		json: filepath.Join(t.TempDir(), "report.json")}
}

// measured runs the benchmark, and returns what it printed and what it wrote.
func measured(t *testing.T, c config) (string, *report.Report) {
	t.Helper()
	var out bytes.Buffer
	if err := bench(t.Context(), c, &out); err != nil {
		t.Fatal(err)
	}
	r, err := report.Read(c.json)
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(c.dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind in the data directory: %v, %v", left, err)
	}
	return out.String(), r
}

// It prints what it measured, writes it, and leaves nothing behind.
func TestBenchReportsEverySubject(t *testing.T) {
	t.Parallel()
	c := short(t, "^(uncontended|many-512|handoff-2)$")
	out, r := measured(t, c)
	want := map[string]int{} // subjects, by store and workload
	for _, st := range stores() {
		for _, s := range st.subjects {
			for _, w := range workloads() {
				if c.wants(w) && w.takes(s) {
					want[st.name+" "+w.name]++
				}
			}
		}
	}
	if len(want) != 3*len(stores()) || len(r.Results) != len(want) {
		t.Fatalf("the report has %d results, want %d:\n%s", len(r.Results), len(want), out)
	}
	for _, res := range r.Results {
		if n := want[res.Store+" "+res.Workload]; len(res.Subjects) != n || n < 2 || res.Subjects[0].Name != "fairlead mutex" {
			t.Errorf("%s on %s has the subjects %+v, want %d, ours first", res.Workload, res.Store, res.Subjects, n)
		}
		for _, s := range res.Subjects {
			if n := len(s.Samples[report.P99]); n != c.rounds {
				t.Errorf("%s, %s: %d samples of p99, want one a round: %d", res.Workload, s.Name, n, c.rounds)
			}
			if !strings.Contains(out, s.Name) {
				t.Errorf("the table does not show %s:\n%s", s.Name, out)
			}
		}
	}
}

// What is not a pair or a hand-off works on etcd, with the peers: readers, permits, and
// those who are killed or cut off.
func TestBenchMeasuresEveryKind(t *testing.T) {
	t.Parallel()
	c := short(t, "^(crowded-64|fairness-16|semaphore-64|rwmutex-64|resigned|killed|frozen|idle)$")
	c.rounds, c.store = 1, "etcd"
	out, r := measured(t, c)
	headlines := map[string]report.Metric{
		"crowded-64": report.Handoffs, "fairness-16": report.Unfair, "semaphore-64": report.Grants, "rwmutex-64": report.Grants, "resigned": report.Handoffs,
		"killed": report.P50, "frozen": report.GapMin, "idle": report.Streamed,
	}
	if len(r.Results) != len(headlines) {
		t.Fatalf("%d workloads were measured, want %d:\n%s", len(r.Results), len(headlines), out)
	}
	for _, res := range r.Results {
		for _, s := range res.Subjects {
			if v := s.Samples[headlines[res.Workload]]; len(v) != 1 {
				t.Errorf("%s, %s: %v of %s, want one", res.Workload, s.Name, v, headlines[res.Workload])
			}
		}
		if peers := len(res.Subjects) - 1; peers == 0 && res.Workload != "semaphore-64" {
			t.Errorf("%s has no peer", res.Workload)
		}
		if res.Workload == "frozen" && res.Subjects[0].Samples[report.GapMin][0] <= 0 {
			t.Errorf("a successor was granted before we told of the loss:\n%s", out)
		}
	}
}

// A release is told to one waiter, of however many.
func TestOneEventARelease(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, st := range stores() {
		if st.name != "etcd" {
			continue
		}
		srv, err := st.start(ctx, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := srv.stop(); err != nil {
				t.Error(err)
			}
		}()
		const waiters = 50
		w := workload{name: "queue-50", takes: queuing, clients: 5, setUp: fill(waiters), setUpLimit: time.Minute, run: queue}
		// Long enough for many releases: among few, an event of what went before would count.
		res, err := measure(ctx, config{rounds: 2, duration: time.Second}, st, srv, w)
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Subjects) != 2 {
			t.Fatalf("the subjects are %+v, want ours and a peer", res.Subjects)
		}
		s := res.Subjects[0].Samples
		for _, m := range []report.Metric{report.Events, report.WatchersEach} {
			for _, v := range s[m] {
				if v < 0.5 || v > 1.5 {
					t.Errorf("%s is %v, want about 1", m, v)
				}
			}
		}
		for _, m := range []report.Metric{report.Commits, report.Joins, report.Fill} {
			if len(s[m]) == 0 || s[m][0] <= 0 {
				t.Errorf("%s is %v, want more than 0", m, s[m])
			}
		}
		for _, m := range []report.Metric{report.ServerEach, report.ClientEach} {
			if len(s[m]) != 1 {
				t.Errorf("%s is %v, want one figure", m, s[m])
			}
		}
	}
}

func TestUnknownWorkloadIsAnError(t *testing.T) {
	c := config{rounds: 1, duration: time.Millisecond, dir: t.TempDir(), store: "redis", run: regexp.MustCompile("nonsense")}
	if err := bench(t.Context(), c, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "-run") {
		t.Errorf("bench returned %v, want an error that says that -run matches nothing", err)
	}
}

func TestFlagsThatMakeNoSenseAreErrors(t *testing.T) {
	for _, args := range []string{"-store nowhere", "-rounds 0", "-duration 0s", "etcd", "-doc page.md", "-from a.json", "-run ("} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("bench %s is no error", args)
		}
	}
	c, err := parse(strings.Fields("-doc page.md -from a.json,b.json -skip ^queue"))
	if err != nil || len(c.from) != 2 || c.wants(workload{name: "queue-1000"}) || !c.wants(workload{name: "frozen"}) {
		t.Errorf("parse returned %+v, %v", c, err)
	}
}

var shown = regexp.MustCompile("go run \\./bench ((?:[^`\n\\\\]|\\\\\n)*)")

// Documents show runs that there can be.
func TestRunsOfDocumentsAreAccepted(t *testing.T) {
	t.Parallel()
	runs := 0
	for _, path := range []string{"../../docs/scaling.md", "../../docs/benchmarks.md", "../../CONTRIBUTING.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range shown.FindAllStringSubmatch(string(text), -1) {
			runs++
			args := strings.Fields(strings.NewReplacer("\\\n", " ", "'", "", "`", "").Replace(m[1]))
			c, err := parse(args)
			if err != nil {
				t.Errorf("%s: go run ./bench %q: %v", path, args, err)
			} else if !slices.ContainsFunc(workloads(), func(w workload) bool { return c.run == nil || c.run.MatchString(w.name) }) {
				t.Errorf("%s: go run ./bench %q measures nothing", path, args)
			}
		}
	}
	if runs == 0 {
		t.Error("no document shows a run")
	}
}
