package fairlead_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documents returns the text of each document, by its path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	for _, path := range append(paths, more...) {
		docs[path] = read(t, path)
	}
	if docs["README.md"] == "" || docs["docs/guarantees.md"] == "" {
		t.Fatalf("README.md or docs/guarantees.md is missing among %v", append(paths, more...))
	}
	return docs
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A block is a fenced block of a document.
type block struct {
	where    string // "README.md:12"
	language string
	source   string // the file that a comment right above says it is quoted from
	text     string
}

var fence = regexp.MustCompile("(?ms)(?:^<!-- quoted from (\\S+) -->\n)?^```(\\w*)\n(.*?)^```$")

// blocks returns the fenced blocks in one of the languages.
func blocks(t *testing.T, languages string) []block {
	t.Helper()
	var all []block
	for path, text := range documents(t) {
		for _, m := range fence.FindAllStringSubmatchIndex(text, -1) {
			b := block{language: text[m[4]:m[5]], text: text[m[6]:m[7]]}
			if m[2] >= 0 {
				b.source = text[m[2]:m[3]]
			}
			b.where = fmt.Sprintf("%s:%d", path, 1+strings.Count(text[:m[6]], "\n"))
			if strings.Contains(" "+languages+" ", " "+b.language+" ") {
				all = append(all, b)
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("no block of %s in any document: has their form changed?", languages)
	}
	return all
}

// What the documents show compiles.
func TestGoInDocumentsCompiles(t *testing.T) {
	overlay := map[string]string{}
	var packages []string
	dir := t.TempDir()
	for i, b := range blocks(t, "go") {
		// The file exists in the overlay alone, and so in no other build.
		name := fmt.Sprintf("block%d", i)
		file := filepath.Join(dir, name+".go")
		if err := os.WriteFile(file, []byte(program(b)), 0o600); err != nil {
			t.Fatal(err)
		}
		place, err := filepath.Abs(filepath.Join("docs", name, name+".go"))
		if err != nil {
			t.Fatal(err)
		}
		overlay[place] = file
		packages = append(packages, "./docs/"+name)
	}
	list, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"build", "-overlay", file, "-o", os.DevNull}, packages...)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Errorf("go build: %v\n%s", err, out)
	}
}

var qualifier = regexp.MustCompile(`\b([a-z]\w*)\.[A-Z]`)

// importable is what fragments may use without showing the import.
var importable = map[string]string{
	"context": "context", "errors": "errors", "fmt": "fmt", "log": "log", "slog": "log/slog", "time": "time",
	"session":   module + "/session",
	"memory":    module + "/session/memory",
	"mutex":     module + "/mutex",
	"rwmutex":   module + "/rwmutex",
	"semaphore": module + "/semaphore",
	"election":  module + "/election",
	"watch":     module + "/watch",
}

// program makes a file of a block that is only a fragment of a function; there
// ctx, s, store, address and work are what they are everywhere. Errors are
// reported at the document's lines.
func program(b block) string {
	line := "//line " + b.where + "\n"
	if strings.HasPrefix(b.text, "package ") {
		return line + b.text
	}
	var f strings.Builder
	f.WriteString("package fragment\n")
	imported := map[string]bool{"context": true, "session": true}
	for _, m := range qualifier.FindAllStringSubmatch(b.text, -1) {
		imported[m[1]] = importable[m[1]] != ""
	}
	for name, ok := range imported {
		if ok {
			fmt.Fprintf(&f, "import %q\n", importable[name])
		}
	}
	f.WriteString("func work(ctx context.Context, token uint64) error { return nil }\n" +
		"func _(ctx context.Context, s *session.Session, store, address string) error {\n{\n" +
		line + b.text + "\n}\n_ = work\nreturn nil\n}\n")
	return f.String()
}

// A block that says what it is quoted from is found there, so that what the
// README shows is what somebody can run.
func TestQuotesAreVerbatim(t *testing.T) {
	quotes := 0
	for _, b := range blocks(t, "go") {
		if b.source == "" {
			continue
		}
		quotes++
		if !strings.Contains(unindented(read(t, b.source)), unindented(b.text)) {
			t.Errorf("%s is not in %s as quoted", b.where, b.source)
		}
	}
	if quotes == 0 {
		t.Error("nothing is quoted from a program: the README should show one that runs")
	}
}

func unindented(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}

var (
	link = regexp.MustCompile(`\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)`)
	code = regexp.MustCompile("^`([A-Z]\\w*)`$")
)

// Links inside the repository lead to something; where the text is the name of a
// test or of a case, it is in the file that the link leads to.
func TestLinksLeadSomewhere(t *testing.T) {
	for path, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[2], "://") || strings.HasPrefix(m[2], "mailto:") {
				continue
			}
			target := filepath.Join(filepath.Dir(path), m[2])
			info, err := os.Stat(target)
			if err != nil {
				t.Errorf("%s: a link leads nowhere: %v", path, err)
				continue
			}
			name := code.FindStringSubmatch(m[1])
			if name == nil || info.IsDir() {
				continue
			}
			if !regexp.MustCompile(`\b` + name[1] + `\b`).MatchString(read(t, target)) {
				t.Errorf("%s: there is no %s in %s", path, name[1], target)
			}
		}
	}
}

// Each scenario has a test that is declared where the link leads, or the reason why there
// is none.
func TestScenariosHaveTests(t *testing.T) {
	const path = "docs/reliability.md"
	_, table, _ := strings.Cut(read(t, path), "\n| From | Scenario | Test |\n| --- | --- | --- |\n")
	rows := 0
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(row, "|\n"), " | ")
		if len(cells) != 3 {
			t.Errorf("%s: the row %q has %d cells, want 3", path, row, len(cells))
			continue
		}
		rows++
		tests := link.FindAllStringSubmatch(cells[2], -1)
		if said := link.ReplaceAllString(cells[2], ""); len(tests) == 0 && len(strings.Fields(said)) < 5 {
			t.Errorf("%s: the scenario %q has no test, and no reason", path, cells[1])
		}
		for _, m := range tests {
			name := code.FindStringSubmatch(m[1])
			if name == nil {
				t.Errorf("%s: %s is the name of no test", path, m[1])
				continue
			}
			declared := regexp.MustCompile(`(?m)^func ` + name[1] + `\(t \*testing\.T\)|(?:\{|each\()"` + name[1] + `",`)
			if file := filepath.Join(filepath.Dir(path), m[2]); !declared.MatchString(read(t, file)) {
				t.Errorf("%s: the scenario %q is tested by %s, which %s does not declare", path, cells[1], name[1], file)
			}
		}
	}
	if rows < 40 {
		t.Errorf("%s has %d scenarios: has the form of the table changed?", path, rows)
	}
}

var (
	makeCommand = regexp.MustCompile(`(?m)^make ([a-z-]+)`)
	inlineMake  = regexp.MustCompile("`make ([a-z-]+)")
)

// The make targets that the documents name exist.
func TestMakeTargetsExist(t *testing.T) {
	makefile := read(t, "Makefile")
	check := func(where string, commands [][]string) {
		for _, m := range commands {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: there is no target %q in the Makefile", where, m[1])
			}
		}
	}
	for path, text := range documents(t) {
		check(path, inlineMake.FindAllStringSubmatch(text, -1))
	}
	for _, b := range blocks(t, "sh") {
		check(b.where, makeCommand.FindAllStringSubmatch(b.text, -1))
	}
}

var testCommand = regexp.MustCompile(`(?m)^\(?(?:cd (\S+) && )?go test .*-run '?([^' ]+)'? \./(\S+?)\)?(?: +#.*)?$`)

// The tests that the documents name exist.
func TestNamedTestsExist(t *testing.T) {
	named := 0
	for _, b := range blocks(t, "sh") {
		for _, m := range testCommand.FindAllStringSubmatch(b.text, -1) {
			named++
			name, _, _ := strings.Cut(m[2], "/")
			cmd := exec.Command("go", "test", "-list", "^"+name+"$", "./"+m[3])
			cmd.Dir = m[1]
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), name+"\n") {
				t.Errorf("%s: there is no test %s in %s: %v\n%s", b.where, name, filepath.Join(m[1], m[3]), err, out)
			}
		}
	}
	if named == 0 {
		t.Error("no document shows how to run one test")
	}
}

var budget = regexp.MustCompile(`(?m)^\t\[(\w+)\]=(\d+)$`)

// CONTRIBUTING.md states the budgets that scripts/parts holds the parts to.
func TestBudgetsAgree(t *testing.T) {
	contributing := read(t, "CONTRIBUTING.md")
	budgets := budget.FindAllStringSubmatch(read(t, "scripts/parts"), -1)
	if len(budgets) == 0 {
		t.Fatal("no budgets in scripts/parts: has its form changed?")
	}
	for _, m := range budgets {
		row := regexp.MustCompile("(?m)^\\| `" + m[1] + "` \\|.*\\| " + m[2] + " s \\|$")
		if !row.MatchString(contributing) {
			t.Errorf("CONTRIBUTING.md does not state the budget of %s, which is %s s in scripts/parts", m[1], m[2])
		}
	}
}
