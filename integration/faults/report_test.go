package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/check"
)

func TestTableAddsUpTheRunsOfEachStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := report{Backend: "etcd", Faulty: 90 * time.Second,
		Summary: check.Summary{Operations: 1200, Gap: 2 * time.Second, Faults: map[string]int{"kill the leader": 2, "maintain": 1},
			LeaderKilled: check.Recovery{Times: []time.Duration{30 * time.Millisecond, 4 * time.Second}, Alone: []time.Duration{30 * time.Millisecond}}},
		Checks: []checked{{"history", 1000, 0}, {"loss", 3, 1}}}
	second := report{Backend: "etcd", Faulty: 60 * time.Second,
		Summary: check.Summary{Operations: 34, Gap: time.Second, Faults: map[string]int{"maintain": 1},
			LeaderKilled: check.Recovery{Times: []time.Duration{time.Second}, Alone: []time.Duration{time.Second}}},
		Checks: []checked{{"history", 234, 1}}}
	third := report{Backend: "zk", Faulty: 30 * time.Second, Summary: check.Summary{Operations: 7}}
	var paths []string
	for i, r := range []report{first, second, third} {
		path := filepath.Join(dir, string('a'+rune(i))+".json")
		if err := r.write(path); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	var out strings.Builder
	if err := tabulate(paths, &out); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"| etcd | 2 | 2.5 | 1,234 | 4 | 2 | 2s | ≤ 1s (2); ≤ 4s with other faults in the way (3) | not seen | not seen |",
		"| zk | 1 | 0.5 | 7 | 0 | 0 | 0s | not seen | not seen | not seen |",
		"| Fault | etcd | zk |",
		"| maintain | 2 | 0 |",
		"| history | 1,234 | 0 |",
	} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("the tables do not have the line\n%s\nbut are\n%s", line, out.String())
		}
	}
}

func TestTableIsMadeOfReportsOnSoundClientsAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "report.json")
	for _, r := range []report{{}, {Backend: "etcd", Plant: "orphan"}} {
		if err := r.write(path); err != nil {
			t.Fatal(err)
		}
		if err := tabulate([]string{path}, &strings.Builder{}); err == nil {
			t.Errorf("%+v was taken for the report of a run", r)
		}
	}
	if err := tabulate([]string{path + ".none"}, &strings.Builder{}); err == nil {
		t.Error("a file that is not there was taken for a report")
	}
}
