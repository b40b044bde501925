package etcd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// An exported span, as far as the test reads it.
type exportedSpan struct {
	Name        string
	SpanContext spanID
	Links       []link
	Attributes  []attribute
}

type link struct{ SpanContext spanID }

type attribute struct {
	Key   string
	Value struct{ Value any }
}

type spanID struct{ TraceID, SpanID string }

// A part is a process that plays a role, driven over its stdin and stdout.
type part struct {
	*process
	stdin io.WriteCloser
}

func play(t *testing.T, role, name, dir string) *part {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, addrVariable+"="+shared.Addr(), nameVariable+"="+name, dirVariable+"="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return &part{start(t, cmd), stdin}
}

// ends waits for the process, which has to succeed.
func (p *part) ends(t *testing.T) {
	t.Helper()
	for range p.lines {
	}
	if p.err != nil {
		t.Fatal(p.err)
	}
}

// Two processes with exporters of their own: one holds, the other waits for it,
// and what they export shows who waited for whom.
func TestTelemetryOfTwoProcesses(t *testing.T) {
	t.Parallel()
	name, dir := nameFor(t), t.TempDir()
	holder := play(t, "holder", name, dir)
	holder.says(t, "that it holds", isLine("held"))
	waiter := play(t, "waiter", name, dir)
	queued(t, name, 2)
	waiter.silent(t)
	if _, err := fmt.Fprintln(holder.stdin, "release"); err != nil {
		t.Fatal(err)
	}
	waiter.says(t, "that it holds", isLine("held"))
	waiter.ends(t)
	holder.says(t, "that it holds again", isLine("held again"))
	if err := revokeLeader(bounded(t), name); err != nil {
		t.Fatal(err)
	}
	holder.says(t, "that it lost", isLine("lost"))
	holder.ends(t)

	t.Run("WaitersSpanLinksToHolders", func(t *testing.T) {
		waiterLinksToHolder(t, name, spansOf(t, dir, "waiter"), spansOf(t, dir, "holder"))
	})
	t.Run("MetricNames", func(t *testing.T) {
		common := []string{
			"fairlead.acquire.duration", "fairlead.held", "fairlead.hold.duration",
			"fairlead.session.renew.duration", "fairlead.waiters",
		}
		lost := "fairlead.lost"
		held, waited := metricsOf(t, dir, "holder"), metricsOf(t, dir, "waiter")
		if slices.Contains(waited, lost) {
			t.Errorf("%s was recorded by a process that lost nothing", lost)
		}
		all := slices.Compact(slices.Sorted(slices.Values(append(held, waited...))))
		if want := slices.Sorted(slices.Values(append(common, lost))); !slices.Equal(all, want) {
			t.Errorf("metrics are %v, want %v", all, want)
		}
	})
}

func waiterLinksToHolder(t *testing.T, name string, waiters, holders []exportedSpan) {
	of := map[spanID]string{}
	for _, s := range holders {
		of[s.SpanContext] = s.Name
	}
	acquisitions := 0
	for _, s := range waiters {
		if s.Name != "acquire mutex" {
			continue
		}
		acquisitions++
		named := slices.ContainsFunc(s.Attributes, func(a attribute) bool { return a.Value.Value == name })
		if !named {
			t.Errorf("no attribute of the span is the lock's name: %+v", s.Attributes)
		}
		linked := slices.ContainsFunc(s.Links, func(l link) bool { return of[l.SpanContext] != "" })
		if !linked {
			t.Errorf("the waiter's span links to %+v, and none of them is a span of the holder: %v", s.Links, of)
		}
	}
	if acquisitions != 1 {
		t.Errorf("the waiter exported %d spans called %q, want 1: %+v", acquisitions, "acquire mutex", waiters)
	}
}

func spansOf(t *testing.T, dir, role string) []exportedSpan {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, role+".spans"))
	if err != nil {
		t.Fatal(err)
	}
	var all []exportedSpan
	for dec := json.NewDecoder(bytes.NewReader(b)); ; {
		var s exportedSpan
		switch err := dec.Decode(&s); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, s)
	}
}

func metricsOf(t *testing.T, dir, role string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, role+".metrics"))
	if err != nil {
		t.Fatal(err)
	}
	var exported struct {
		ScopeMetrics []struct{ Metrics []struct{ Name string } }
	}
	if err := json.Unmarshal(b, &exported); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, scope := range exported.ScopeMetrics {
		for _, m := range scope.Metrics {
			names = append(names, m.Name)
		}
	}
	return names
}
