package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The benchmark runs itself as the server, and in a test that is this program.
func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(serveVariable); ok {
		if err := serve(dir, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// It measures nothing worth knowing in so short a time: this is about the
// program, which prints what it measured, writes it, and leaves nothing behind.
func TestBenchReportsEverySubject(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "report.json")
	var out bytes.Buffer
	c := config{rounds: 2, duration: 300 * time.Millisecond, dir: dir, json: file, run: regexp.MustCompile("^(uncontended|handoff-2)$")}
	if err := bench(t.Context(), c, &out); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{} // subjects, by store and workload
	for _, st := range stores() {
		for _, s := range st.subjects {
			want[st.name+" uncontended"]++
			if s.excludes {
				want[st.name+" handoff-2"]++
			}
		}
	}
	if len(r.Results) != len(want) {
		t.Fatalf("the report has %d results, want %d:\n%s", len(r.Results), len(want), b)
	}
	for _, res := range r.Results {
		if n := want[res.Store+" "+res.Workload]; len(res.Subjects) != n || res.Subjects[0].Name != "fairlead mutex" {
			t.Errorf("%s on %s has the subjects %+v, want %d, ours first", res.Workload, res.Store, res.Subjects, n)
		}
		for _, s := range res.Subjects {
			if n := len(s.Samples[p99]); n != c.rounds {
				t.Errorf("%s, %s: %d samples of %s, want one a round: %d", res.Workload, s.Name, n, p99, c.rounds)
			}
			if !strings.Contains(out.String(), s.Name) {
				t.Errorf("the table does not show %s:\n%s", s.Name, &out)
			}
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind in the data directory: %v, %v", left, err)
	}
}

func TestUnknownWorkloadIsAnError(t *testing.T) {
	c := config{rounds: 1, duration: time.Millisecond, dir: t.TempDir(), run: regexp.MustCompile("nonsense")}
	if err := bench(t.Context(), c, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("bench returned %v, want an error that repeats the expression", err)
	}
}

func TestFiguresAreWhatTheyAreCalled(t *testing.T) {
	if m := median([]float64{4, 1, 3, 2}); m != 2.5 {
		t.Errorf("the median of 1 to 4 is %v, want 2.5", m)
	}
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100-i) * time.Second
	}
	if q := quantile(hundred, 0.99); q != 100 {
		t.Errorf("the 0.99-quantile of 1 to 100 is %v, want 100", q)
	}
	if q := ratios([]float64{2, 9}, []float64{1, 3}); q[0] != 2 || q[1] != 3 {
		t.Errorf("the ratios are %v, want 2 and 3, round by round", q)
	}
}
