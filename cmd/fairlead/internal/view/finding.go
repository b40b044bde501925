package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A Finding is what a check of the store has found, as JSON has it.
type Finding struct {
	Check   string         `json:"check"`
	Verdict driver.Verdict `json:"verdict"`
	Seconds float64        `json:"seconds"`
	Detail  string         `json:"detail"`
	Advice  string         `json:"advice,omitempty"`
}

// FindingOf returns a finding and how long the check took.
func FindingOf(f driver.Finding, took time.Duration) Finding {
	return Finding{Check: f.Check, Verdict: f.Verdict, Seconds: took.Seconds(), Detail: f.Detail, Advice: f.Advice}
}

// Lines are for people: the finding and, below, what to do. Nothing is cut, as what an
// error says last is often what matters.
func (f Finding) Lines() []string {
	took := fmt.Sprintf("%.1f ms", f.Seconds*1000)
	lines := []string{fmt.Sprintf("%-7s  %-14s  %8s  %s", f.Verdict, Escape(f.Check), took, isolate(Escape(f.Detail)))}
	if f.Advice != "" {
		lines = append(lines, strings.Repeat(" ", len("unknown  "))+"→ "+isolate(Escape(f.Advice)))
	}
	return lines
}
