//go:build unix

package main

import (
	"os"
	"testing"
)

func TestDemoHolds(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	said := start(t, "TMPDIR="+tmp, "demo").end(0)
	contains(t, said, "an etcd server of its own", "KILL", "FREEZE", "RESUME", "LATE: refused", "ok    never two holders", "ok    never more than 2 permits", "ok    first come",
		"ok    fencing tokens", "ok    the late write", "All of it held")
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestDemoUsesTheStoreGiven(t *testing.T) {
	t.Parallel()
	contains(t, start(t, "TMPDIR="+t.TempDir(), "demo", "--store", store).end(0), "All of it held")
}

func TestDemoFindsThePlantedBugs(t *testing.T) {
	for plant, found := range map[string][]string{
		"double-grant": {"FAIL  never two holders at once", "both held the lock", "ok    never more than 2 permits"},
		"over-grant":   {"FAIL  never more than 2 permits at once", "all had permits", "ok    never two holders"},
	} {
		t.Run(plant, func(t *testing.T) {
			t.Parallel()
			p := start(t, "TMPDIR="+t.TempDir(), "demo", "--plant", plant)
			contains(t, p.end(1), append(found, "eva (token ")...)
			contains(t, p.stderr.String(), "a guarantee was violated", "journals are kept")
		})
	}
}
