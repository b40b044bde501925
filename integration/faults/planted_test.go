package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/integration/faults/check"
	"github.com/fairlead-go/fairlead/integration/faults/plant"
)

var (
	everywhere = flag.Bool("everywhere", false, "plant the bugs on all stores that can show them")
	controls   = flag.Bool("controls", false, "have the same faults happen to clients without the bugs, too")
)

// attempts is how often a bug may escape: where the machine has no time for a client just
// then, the client holds nothing any more that it could hold wrongly. Most are caught the
// first time.
const attempts = 3

// TestPlantedBugsAreCaught shows that the torture can fail: clients with a bug violate
// what the checks look at that are meant to find it.
func TestPlantedBugsAreCaught(t *testing.T) {
	for _, bug := range slices.Sorted(maps.Keys(showings)) {
		show := showings[bug]
		backends := show.backends
		if !*everywhere {
			backends = backends[:1]
		}
		for _, backend := range backends {
			t.Run(fmt.Sprintf("%s on %s", bug, backend), func(t *testing.T) {
				t.Parallel()
				if len(show.checks) == 0 {
					bear(t, planted(t, backend, bug))
				} else {
					catch(t, backend, bug)
				}
			})
			if *controls && len(show.checks) > 0 {
				t.Run(fmt.Sprintf("not %s on %s", bug, backend), func(t *testing.T) {
					t.Parallel()
					o := planted(t, backend, bug)
					o.plant = ""
					bear(t, o)
				})
			}
		}
	}
}

// catch runs clients with a bug until all checks have found it that should.
func catch(t *testing.T, backend, bug string) {
	for attempt := range attempts {
		results, err := torture(t.Context(), planted(t, backend, bug), lines{t})
		if results == nil {
			t.Fatal(err)
		}
		got := violated(results)
		if !slices.ContainsFunc(showings[bug].checks, func(check string) bool { return !slices.Contains(got, check) }) {
			return
		}
		t.Logf("attempt %d: violated are %q, and all of %q should be: %v", attempt+1, got, showings[bug].checks, err)
	}
	t.Errorf("not caught by %d attempts", attempts)
}

// bear runs clients that keep their promises.
func bear(t *testing.T, o options) {
	if _, err := torture(t.Context(), o, lines{t}); err != nil {
		t.Error(err)
	}
}

// planted is a run of which nothing is kept if the test passes.
func planted(t *testing.T, backend, bug string) options {
	o := short(t, backend)
	o.show(bug)
	if o.dir == "" {
		o.dir = os.TempDir()
	} else if err := os.MkdirAll(o.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if o.dir, err = os.MkdirTemp(o.dir, "fairlead-planted-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("journals and logs are in %s", o.dir)
		} else {
			_ = os.RemoveAll(o.dir)
		}
	})
	return o
}

func violated(results []check.Result) (names []string) {
	for _, r := range results {
		if len(r.Violations) > 0 {
			names = append(names, r.Check)
		}
	}
	return names
}

func TestEveryPlantedBugIsShownAndListed(t *testing.T) {
	t.Parallel()
	if got, want := slices.Sorted(maps.Keys(showings)), plant.Names(); !slices.Equal(got, want) {
		t.Errorf("shown are %q, and there are %q", got, want)
	}
	page, err := os.ReadFile("../../docs/planted-bugs.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, bug := range plant.Names() {
		if !strings.Contains(string(page), "`"+bug+"`") {
			t.Errorf("docs/planted-bugs.md does not mention `%s`", bug)
		}
	}
}
