package sim

import (
	"fmt"
	"strings"
	"testing"
)

// TestPlantedBugsAreCaught shows that the simulation can fail: each bug has to be
// caught by what is said to catch it, as soon as is said.
func TestPlantedBugsAreCaught(t *testing.T) {
	for _, b := range bugs {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			if b.seeds > 0 {
				b.seek(t)
			}
			if b.scene != "" {
				b.explore(t)
			}
		})
	}
}

// seek runs seeds until one fails.
func (b *bug) seek(t *testing.T) {
	dir := t.TempDir()
	for seed := uint64(1); seed <= uint64(b.seeds); seed++ {
		if r := bubble(t, seed, &b.product, b.kind, dir); r.err != nil {
			t.Logf("caught by seed %d of %d: %v", seed, b.seeds, brief(r.err))
			return
		}
	}
	t.Errorf("not caught by %d seeds", b.seeds)
}

func (b *bug) explore(t *testing.T) {
	for _, sc := range scenes {
		if sc.name != b.scene || sc.kind != b.kind {
			continue
		}
		e := explored(t, &b.product, sc, b.trouble, b.schedules)
		if e.err == nil {
			t.Errorf("not caught by %d schedules of %q with %v (complete: %v)", e.schedules, sc.name, b.trouble, e.complete)
			return
		}
		t.Logf("caught by schedule %d of %q with %v: %v", e.schedules, sc.name, b.trouble, brief(e.err))
		return
	}
	t.Errorf("there is no scene %q", b.scene)
}

// brief is the first line of an error.
func brief(err error) string {
	line, _, _ := strings.Cut(fmt.Sprint(err), "\n")
	return line
}
