package drivertest

import (
	"context"
	"log/slog"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// Examine returns the findings about a store by their checks. It fails where there are
// none, or one is not what [driver.Finding] says.
func Examine(tb TB, st driver.Store) map[string]driver.Finding {
	tb.Helper()
	d, ok := st.(driver.Doctor)
	if !ok {
		tb.Fatalf("a store of the kind %s cannot be examined", st.Backend())
	}
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	found := map[string]driver.Finding{}
	for f := range d.Examine(ctx) {
		if _, twice := found[f.Check]; twice || f.Check == "" || f.Detail == "" {
			tb.Errorf("a finding has no name, nothing to say, or the name of another: %+v", f)
		}
		switch f.Verdict {
		case driver.Fine, driver.Unknown:
			if f.Advice != "" {
				tb.Errorf("nothing is wrong, and still there is advice: %+v", f)
			}
		case driver.Warning, driver.Failure:
			if f.Advice == "" {
				tb.Errorf("something is wrong, and there is no advice: %+v", f)
			}
		default:
			tb.Errorf("there is no such verdict: %+v", f)
		}
		found[f.Check] = f
	}
	if ctx.Err() != nil || len(found) == 0 {
		tb.Fatalf("the examination has not ended in time, or found nothing: %v", found)
	}
	return found
}

// ExamineAt is Examine for the store of a URL.
func ExamineAt(tb TB, rawURL string) map[string]driver.Finding {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	st, _, err := session.Connect(ctx, rawURL, &session.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatalf("%v", err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			tb.Errorf("%v", err)
		}
	}()
	return Examine(tb, st)
}

// ExpectVerdicts compares findings with the verdicts expected of some checks; all others
// have to be fine.
func ExpectVerdicts(tb TB, found map[string]driver.Finding, want map[string]driver.Verdict) {
	tb.Helper()
	for check, f := range found {
		expected, ok := want[check]
		if !ok {
			expected = driver.Fine
		}
		if f.Verdict != expected {
			tb.Errorf("the verdict is not %s: %+v", expected, f)
		}
	}
	for check := range want {
		if _, ok := found[check]; !ok {
			tb.Errorf("there is no finding %q among %v", check, found)
		}
	}
}
