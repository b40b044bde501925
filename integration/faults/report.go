package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/check"
)

// A report is what a run came to, for a file.
type report struct {
	Backend string        `json:"backend"`
	Seed    uint64        `json:"seed"`
	Clients int           `json:"clients"`
	TTL     time.Duration `json:"ttl"`    // in nanoseconds
	Faulty  time.Duration `json:"faulty"` // how long faults happened, in nanoseconds
	Plant   string        `json:"plant,omitempty"`
	Replay  string        `json:"replay"`
	check.Summary
	Checks []checked `json:"checks"`
}

type checked struct {
	Name       string `json:"name"`
	Looked     int    `json:"looked"`
	Violations int    `json:"violations"`
}

func (o options) report(s check.Summary, results []check.Result) report {
	r := report{Backend: o.backend, Seed: o.seed, Clients: o.clients, TTL: o.ttl, Faulty: o.length, Plant: o.plant, Replay: o.replay(), Summary: s}
	for _, c := range results {
		r.Checks = append(r.Checks, checked{c.Check, c.Looked, len(c.Violations)})
	}
	return r
}

// write writes the report to a file.
func (r report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// tabulate reads reports and writes what they say together, in Markdown.
func tabulate(paths []string, out io.Writer) error {
	rows := map[string]*row{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil || r.Backend == "" {
			return fmt.Errorf("%s is not a report: %w", path, errors.Join(err, errors.New("written by -json it would name a backend")))
		}
		if r.Plant != "" {
			return fmt.Errorf("%s is about clients with a planted bug: make the table of others", path)
		}
		if rows[r.Backend] == nil {
			rows[r.Backend] = newRow()
		}
		rows[r.Backend].add(r)
	}
	t := table{out: out, stores: slices.Sorted(maps.Keys(rows)), rows: rows}
	t.runs()
	t.counts("Fault", (*row).faultsByKind)
	t.counts("Check", (*row).looked)
	return t.err
}

// A row is what the runs on one store came to together.
type row struct {
	runs, operations, violations int
	faulty, gap                  time.Duration
	faults, checks               map[string]int
	killed, frozen, died         check.Recovery
}

func newRow() *row { return &row{faults: map[string]int{}, checks: map[string]int{}} }

func (w *row) add(r report) {
	w.runs++
	w.operations += r.Operations
	w.faulty += r.Faulty
	w.gap = max(w.gap, r.Gap)
	for kind, n := range r.Faults {
		w.faults[kind] += n
	}
	for _, c := range r.Checks {
		w.checks[c.Name] += c.Looked
		w.violations += c.Violations
	}
	w.killed.Merge(r.LeaderKilled)
	w.frozen.Merge(r.LeaderFrozen)
	w.died.Merge(r.HolderDied)
}

func (w *row) faultsByKind() map[string]int { return w.faults }
func (w *row) looked() map[string]int       { return w.checks }

// A table has a column, or a line, for each store.
type table struct {
	out    io.Writer
	stores []string
	rows   map[string]*row
	err    error // the first
}

func (t *table) line(cells ...string) {
	if _, err := fmt.Fprintf(t.out, "| %s |\n", strings.Join(cells, " | ")); t.err == nil {
		t.err = err
	}
}

func (t *table) head(cells ...string) {
	t.line(cells...)
	t.line(slices.Repeat([]string{"---"}, len(cells))...)
}

// runs has a line for each store.
func (t *table) runs() {
	t.head("Store", "Runs", "Minutes", "Operations", "Faults", "Violations", "Longest gap",
		"Grant after the leader was killed", "was frozen", "Grant after a holder was killed")
	for _, store := range t.stores {
		w := t.rows[store]
		faults := 0
		for _, n := range w.faults {
			faults += n
		}
		t.line(store, strconv.Itoa(w.runs), fmt.Sprintf("%.1f", w.faulty.Minutes()), thousands(w.operations), thousands(faults),
			strconv.Itoa(w.violations), check.Span(w.gap), recovered(w.killed), recovered(w.frozen), recovered(w.died))
	}
}

// counts has a column for each store.
func (t *table) counts(what string, of func(*row) map[string]int) {
	if _, err := fmt.Fprintln(t.out); t.err == nil {
		t.err = err
	}
	t.head(append([]string{what}, t.stores...)...)
	all := map[string]bool{}
	for _, store := range t.stores {
		for name := range of(t.rows[store]) {
			all[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		cells := []string{name}
		for _, store := range t.stores {
			cells = append(cells, thousands(of(t.rows[store])[name]))
		}
		t.line(cells...)
	}
}

// recovered is the longest time where no other fault was in the way, of how many, and
// the longest of all.
func recovered(r check.Recovery) string {
	if len(r.Times) == 0 {
		return "not seen"
	}
	with := fmt.Sprintf("%s with other faults in the way (%d)", check.Span(slices.Max(r.Times)), len(r.Times))
	if len(r.Alone) == 0 {
		return "≤ " + with
	}
	return fmt.Sprintf("≤ %s (%d); ≤ %s", check.Span(slices.Max(r.Alone)), len(r.Alone), with)
}

// thousands is a number for people.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
