package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// A report is everything that a run found.
type report struct {
	Time     time.Time `json:"time"`
	Machine  machine   `json:"machine"`
	Rounds   int       `json:"rounds"`
	Duration string    `json:"duration"`
	Results  []result  `json:"results"`
}

// A result is what one workload gave on one store.
type result struct {
	Store    string          `json:"store"`
	Workload string          `json:"workload"`
	About    string          `json:"about"`
	Subjects []subjectResult `json:"subjects"` // ours first
}

// A subjectResult has, for each metric, one figure a round; times in seconds.
type subjectResult struct {
	Name    string               `json:"name"`
	Samples map[string][]float64 `json:"samples"`
}

func (r *report) write(file string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// print writes the table of one workload: rates and their ratios as median and
// range of the rounds, everything else as the median.
func (r *result) print(out io.Writer) error {
	var rate string
	var rest []string
	for _, m := range []string{pairs, handoffs, p50, p99, unlock99, unfair, longest} {
		switch _, ok := r.Subjects[0].Samples[m]; {
		case ok && strings.HasSuffix(m, "/s"):
			rate = m
		case ok:
			rest = append(rest, m)
		}
	}
	fmt.Fprintf(out, "\n%s on %s: %s\n", r.Workload, r.Store, r.About)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  subject\t%s (min..max)\t%s\tours to it (min..max)\n", rate, strings.Join(rest, "\t"))
	ours := r.Subjects[0].Samples[rate]
	for _, s := range r.Subjects {
		cells := []string{"  " + s.Name, spread(s.Samples[rate], formatRate)}
		for _, m := range rest {
			cells = append(cells, format(m, median(s.Samples[m])))
		}
		cells = append(cells, spread(ratios(ours, s.Samples[rate]), formatRatio))
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// ratios divides round by round.
func ratios(a, b []float64) []float64 {
	q := make([]float64, len(a))
	for i := range a {
		q[i] = a[i] / b[i]
	}
	return q
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

func spread(v []float64, f func(float64) string) string {
	return fmt.Sprintf("%s (%s..%s)", f(median(v)), f(slices.Min(v)), f(slices.Max(v)))
}

func format(metric string, v float64) string {
	if metric == unfair {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v*1e3, 'f', 2, 64) + " ms"
}

func formatRate(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) }

func formatRatio(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) + "x" }
