package report

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the page in testdata")

func TestFiguresAreWhatTheyAreCalled(t *testing.T) {
	if m := median([]float64{4, 1, 3, 2}); m != 2.5 {
		t.Errorf("the median of 1 to 4 is %v, want 2.5", m)
	}
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100-i) * time.Second
	}
	if q := Quantile(hundred, 0.99); q != 100 {
		t.Errorf("the 0.99-quantile of 1 to 100 is %v, want 100", q)
	}
	c := Curve(hundred)
	if at := slices.Index(Levels[:], 0.50); c[at] != 51 || !slices.IsSorted(c[:]) || !slices.IsSorted(Levels[:]) {
		t.Errorf("the curve of 1 to 100 is %v at %v", c, Levels)
	}
	other := c
	other[0] += 2
	if m := middle([][len(Levels)]float64{c, other}); m[0] != c[0]+1 || m[1] != c[1] {
		t.Errorf("the middle of two curves begins with %v, want %v", m[:2], c[0]+1)
	}
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	if q := ratios([]float64{2, 9}, []float64{1, 3}); !slices.Equal(q, []float64{2, 3}) {
		t.Errorf("the ratios are %v, want 2 and 3", q)
	}
	if q := ratios([]float64{6}, []float64{1, 3}); !slices.Equal(q, []float64{6, 2}) {
		t.Errorf("the ratios of what was measured once are %v, want 6 and 2", q)
	}
	if q := ratios(nil, []float64{1}); q != nil {
		t.Errorf("the ratios of nothing are %v", q)
	}
}

func TestFormatsKeepThreeDigits(t *testing.T) {
	for _, c := range []struct {
		metric Metric
		v      float64
		want   string
	}{
		{P50, 0.001234, "1.23 ms"}, {P50, 0.01234, "12.3 ms"}, {P99, 0.1234, "123 ms"}, {Fill, 12.34, "12.3 s"}, {Gap, -0.05, "-50.0 ms"},
		{Pairs, 1234.5, "1234"}, {Handoffs, 1.25, "1.2"}, {Unfair, 1.0456, "1.05"}, {ServerEach, 1023.6, "1024"},
	} {
		if got := c.metric.format(c.v); got != c.want {
			t.Errorf("%s of %v is shown as %s, want %s", c.metric, c.v, got, c.want)
		}
	}
	if got := grouped(1234567); got != "1,200,000" {
		t.Errorf("1234567 is shown as %s", got)
	}
}

func TestBoundsHold(t *testing.T) {
	for _, c := range []struct {
		want bound
		v    []float64
		met  bool
	}{
		{bound{"≥", 2}, []float64{1, 2, 3}, true}, {bound{"≥", 2.1}, []float64{1, 2, 3}, false},
		{bound{"≤", 2}, []float64{1, 2, 3}, true}, {bound{"≤", 1.9}, []float64{1, 2, 3}, false},
		{bound{">", 0}, []float64{1, 2}, true}, {bound{">", 0}, []float64{5, -1, 5}, false}, {bound{">", 0}, []float64{0}, false},
	} {
		if met := c.want.met(c.v); met != c.met {
			t.Errorf("%v %s %v: %v, want %v", c.v, c.want.relation, c.want.limit, met, c.met)
		}
	}
}

// Every target has a key of its own, a bound that can be judged, and metrics that are shown.
func TestTargetsAreSound(t *testing.T) {
	keys := map[string]bool{}
	for _, g := range targets() {
		if keys[g.key] || g.key == "" {
			t.Errorf("the key %q is used twice", g.key)
		}
		keys[g.key] = true
		g.want.met([]float64{1})
		for _, f := range []figure{g.of, g.to} {
			if f != (figure{}) && !slices.ContainsFunc(metrics, func(k struct {
				name Metric
				show unit
			}) bool {
				return k.name == f.metric
			}) {
				t.Errorf("%s: there is no metric %q", g.key, f.metric)
			}
		}
	}
}

func TestReasonsAreForTargets(t *testing.T) {
	if _, err := parseReasons(reasonsText); err != nil {
		t.Error(err)
	}
	why, err := parseReasons("# Head\n\nText.\n\n## etcd-frozen\n\nThe disk\nis slow.\n\n## zk-frozen\nSo is this.\n")
	if err != nil || len(why) != 2 || why["etcd-frozen"] != "The disk is slow." {
		t.Errorf("the reasons are %v, %v", why, err)
	}
	for _, text := range []string{"## nothing-known\nText.\n", "## etcd-frozen\n\n## zk-frozen\nText.\n"} {
		if _, err := parseReasons(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// sample is a report of etcd with figures that nobody measured, chosen so that one target
// is met, one is missed, and most are not measured.
func sample() *Report {
	ms := func(v float64) (c [len(Levels)]float64) {
		for i := range c {
			c[i] = v * (1 + float64(i)) / 1e3
		}
		return c
	}
	handoff := func(workload string, rate, ms50 float64) Result {
		return Result{Store: "etcd", Workload: workload, About: "contenders", Subjects: []Subject{
			{Name: "fairlead mutex", Samples: map[Metric][]float64{Handoffs: {rate, rate * 1.1}, P50: {ms50 / 1e3}, P99: {0.004}, Commits: {2}, Events: {1}}, Curves: [][len(Levels)]float64{ms(1), ms(2)}},
			{Name: etcdMutex, Samples: map[Metric][]float64{Handoffs: {20, 10}, P50: {0.050}, Commits: {2}, Events: {1}}, Curves: [][len(Levels)]float64{ms(50)}},
		}}
	}
	return &Report{
		Time:    time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Machine: Machine{CPU: "A processor", Cores: 2, System: "linux/amd64", Go: "go1.26", SyncP50: 0.001, SyncP99: 0.002, DataRoot: "/data"},
		Servers: []string{"etcd v3.7.3"},
		Rounds:  2, Duration: "1s",
		Results: []Result{
			handoff("handoff-2", 1000, 1),
			handoff("handoff-16", 100, 1.5),
			{Store: "etcd", Workload: "uncontended", About: "one goroutine", Subjects: []Subject{
				{Name: "fairlead mutex", Samples: map[Metric][]float64{Pairs: {950, 990}, Commits: {2}}},
				{Name: etcdRaw, Samples: map[Metric][]float64{Pairs: {1000, 1000}, Unlock99: {0.001}}},
			}},
			{Store: "etcd", Workload: "queue-1000", About: "waiters", Absent: []Absence{{"slow", "after 1s, it had not begun"}}, Subjects: []Subject{{Name: "fairlead mutex", Samples: map[Metric][]float64{
				Handoffs: {500}, P50: {0.002}, Events: {1}, Commits: {2}, WatchersEach: {1}, ClientEach: {2000}, ServerEach: {1000}}}}},
			{Store: "etcd", Workload: "frozen", About: "frozen", Subjects: []Subject{{Name: "fairlead mutex", Samples: map[Metric][]float64{Gap: {0.8, 0.9}, GapMin: {0.5, 0.6}}}}},
			{Store: "etcd", Workload: "idle", About: "idle", Subjects: []Subject{{Name: "fairlead mutex", Samples: map[Metric][]float64{Commits: {0}, Requests: {1}, Streamed: {2}}}}},
		},
	}
}

// The page is as in testdata: go test ./bench/report -update rewrites that.
func TestPageIsWrittenFromReports(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "report.json")
	if err := sample().Write(file); err != nil {
		t.Fatal(err)
	}
	r, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(dir, "page.md")
	why := reasons{"etcd-handoff-16": "A reason."}
	unexplained, err := writePage([]*Report{r}, why, page)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(unexplained, []string{"etcd-handoff-p99"}) {
		t.Errorf("missed without a reason: %v, want etcd-handoff-p99", unexplained)
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/page.md"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the page is not that of %s:\n%s", golden, got)
	}
	for _, plot := range []string{"latency-etcd.svg", "throughput-etcd.svg", "queue-etcd.svg"} {
		if !strings.Contains(string(got), "(page/"+plot+")") {
			t.Errorf("the page does not show %s", plot)
		}
		wellFormed(t, filepath.Join(dir, "page", plot))
	}
}

// wellFormed checks that the file is XML, and names our subject.
func wellFormed(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	if !strings.Contains(string(text), "fairlead mutex") {
		t.Errorf("%s does not name its lines", file)
	}
	for d := xml.NewDecoder(strings.NewReader(string(text))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%s: %v", file, err)
			return
		}
	}
}

func TestTwoReportsOfTheSameAreAnError(t *testing.T) {
	_, err := WritePage([]*Report{sample(), sample()}, filepath.Join(t.TempDir(), "page.md"))
	if err == nil || !strings.Contains(err.Error(), "handoff-2 on etcd") {
		t.Errorf("the error is %v, want one that says what was measured twice", err)
	}
}

// A store of which little was measured has a page without plots, and without scaling.
func TestPageOfLittle(t *testing.T) {
	r := sample()
	r.Results = []Result{{Store: "redis", Workload: "uncontended", About: "one", Subjects: []Subject{{Name: "fairlead mutex", Samples: map[Metric][]float64{Pairs: {1}}}}}}
	file := filepath.Join(t.TempDir(), "page.md")
	if _, err := WritePage([]*Report{r}, file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "svg") || strings.Contains(string(text), "Scaling") || !strings.Contains(string(text), "## On Redis") {
		t.Errorf("the page is\n%s", text)
	}
}

func TestTableHasRatios(t *testing.T) {
	var out strings.Builder
	if err := sample().Results[0].Print(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "80.00x (50.00x..110.00x)") {
		t.Errorf("the table has not the ratio 80, from 50 to 110:\n%s", out.String())
	}
}
