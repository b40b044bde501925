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
				o := planted(t, backend, bug)
				results, err := torture(t.Context(), o, lines{t})
				if results == nil {
					t.Fatal(err)
				}
				got := violated(results)
				for _, check := range show.checks {
					if !slices.Contains(got, check) {
						t.Errorf("%s was not violated, but %q", check, got)
					}
				}
				if len(show.checks) == 0 && len(got) > 0 {
					t.Errorf("violated %q", got)
				}
			})
			if *controls {
				t.Run(fmt.Sprintf("not %s on %s", bug, backend), func(t *testing.T) {
					t.Parallel()
					o := planted(t, backend, bug)
					o.plan, o.plant = show.plan, ""
					if _, err := torture(t.Context(), o, lines{t}); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func planted(t *testing.T, backend, bug string) options {
	o := short(t, backend)
	o.plant, o.plan = bug, showings[bug].plan
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
