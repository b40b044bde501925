package sim

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEveryPlantedBugIsListed keeps docs/planted-bugs.md complete.
func TestEveryPlantedBugIsListed(t *testing.T) {
	list := read(t, "../../docs/planted-bugs.md")
	for _, b := range bugs {
		row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(b.name) + ` \|([^|]*)\|([^|]*)\|`).FindStringSubmatch(list)
		if row == nil {
			t.Errorf("%q is not in the list", b.name)
			continue
		}
		if seeds := strings.TrimSpace(row[1]) == "yes"; seeds != (b.seeds > 0) {
			t.Errorf("%q is caught by seeds, says the list: %v; says the code: %v", b.name, seeds, b.seeds > 0)
		}
		if orders := strings.TrimSpace(row[2]) == "yes"; orders != (b.scene != "") {
			t.Errorf("%q is caught in a scene, says the list: %v; says the code: %v", b.name, orders, b.scene != "")
		}
	}
	for _, name := range regexp.MustCompile(`BUG_\w+`).FindAllString(read(t, "../../scripts/check-models"), -1) {
		if !strings.Contains(list, "`"+name+"`") {
			t.Errorf("%s is not in the list", name)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
