package report

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

//go:embed page.md.tmpl
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// A page is what the template shows.
type page struct {
	Machines []string
	Targets  string // a table
	Stores   []storeSection
	Scaling  *scaling // nil: etcd was not measured
}

// A storeSection is what was measured on one store.
type storeSection struct {
	Name    string
	Plots   []plotted
	Results []resultSection
}

type resultSection struct {
	Workload, About, Table string
	Absent                 []Absence
}

// WritePage writes the document about the reports to file, and the plots into the
// directory beside it that has its name without the extension. unexplained are the keys
// of targets that were missed without a reason in reasons.md.
func WritePage(reports []*Report, file string) (unexplained []string, err error) {
	why, err := parseReasons(reasonsText)
	if err != nil {
		return nil, err
	}
	return writePage(reports, why, file)
}

func writePage(reports []*Report, why reasons, file string) (unexplained []string, err error) {
	if err := distinct(reports); err != nil {
		return nil, err
	}
	dir := strings.TrimSuffix(file, filepath.Ext(file))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a directory for the plots: %w", err)
	}
	p := page{Machines: machines(reports), Scaling: scalingOf(reports)}
	p.Targets, unexplained = targetTable(reports, why)
	for _, r := range reports {
		for _, res := range r.Results {
			if n := len(p.Stores); n == 0 || p.Stores[n-1].Name != title(res.Store) {
				plots, err := drawAll(reports, res.Store, dir)
				if err != nil {
					return nil, err
				}
				p.Stores = append(p.Stores, storeSection{Name: title(res.Store), Plots: plots})
			}
			last := &p.Stores[len(p.Stores)-1]
			shown := slices.DeleteFunc(res.present(), Metric.isCost)
			if len(shown) > 0 {
				last.Results = append(last.Results, resultSection{res.Workload, res.About, markdown(res.table(shown)), res.Absent})
			}
		}
	}
	var text strings.Builder
	if err := pageTemplate.Execute(&text, p); err != nil {
		return nil, fmt.Errorf("write the page: %w", err)
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		return nil, fmt.Errorf("write the page: %w", err)
	}
	return unexplained, nil
}

// distinct refuses reports that measured the same: one of them would not be shown.
func distinct(reports []*Report) error {
	seen := map[string]bool{}
	for _, r := range reports {
		for _, res := range r.Results {
			key := res.Workload + " on " + res.Store
			if seen[key] {
				return fmt.Errorf("two reports measured %s: which one counts?", key)
			}
			seen[key] = true
		}
	}
	return nil
}

// machines says where the reports are from, one line a report.
func machines(reports []*Report) (lines []string) {
	for _, r := range reports {
		lines = append(lines, fmt.Sprintf("%s: %v; %s, %d rounds of %s",
			strings.Join(r.Servers, ", "), r.Machine, r.Time.Format("2006-01-02"), r.Rounds, r.Duration))
	}
	return lines
}
