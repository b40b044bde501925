package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Print writes the table of one workload for a terminal.
func (r Result) Print(out io.Writer) error {
	fmt.Fprintf(out, "\n%s on %s: %s\n", r.Workload, r.Store, r.About)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range r.table(r.present()) {
		fmt.Fprintln(w, "  "+strings.Join(row, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, a := range r.Absent {
		fmt.Fprintf(out, "  %v\n", a)
	}
	return nil
}

// table returns a head and a row for each subject: the headline and its ratio as median
// and range of the rounds, everything else as the median.
func (r Result) table(shown []Metric) [][]string {
	if len(shown) == 0 {
		return nil
	}
	headline, rest := shown[0], shown[1:]
	// Those may be 0, or on either side of it.
	divisible := headline != Gap && !headline.isCost()
	head := []string{"subject", string(headline) + " (min..max)"}
	if divisible {
		head = append(head, "ours to it (min..max)")
	}
	for _, m := range rest {
		head = append(head, string(m))
	}
	rows := [][]string{head}
	ours := r.Subjects[0].Samples[headline]
	for i, s := range r.Subjects {
		row := []string{s.Name, spread(s.Samples[headline], headline.format)}
		switch {
		case divisible && i == 0:
			row = append(row, "")
		case divisible:
			row = append(row, spread(ratios(ours, s.Samples[headline]), times))
		}
		rows = append(rows, append(row, cells(s, rest...)...))
	}
	return rows
}

// markdown makes the rows a table, of which the first is the head.
func markdown(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("| --- ", len(row)) + "|\n")
		}
	}
	return b.String()
}
