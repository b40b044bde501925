package driver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

func TestClocksAreComparedToWithinTheRoundTrip(t *testing.T) {
	sent := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	received := sent.Add(400 * time.Millisecond)
	for told, want := range map[time.Duration]struct {
		verdict driver.Verdict
		says    string
	}{
		200 * time.Millisecond:   {driver.Fine, "agree"},
		0:                        {driver.Fine, "agree"}, // it may have been read as soon as it was asked for
		400 * time.Millisecond:   {driver.Fine, "agree"},
		900 * time.Millisecond:   {driver.Fine, "700ms ahead"},
		-700 * time.Millisecond:  {driver.Fine, "900ms behind"},
		1399 * time.Millisecond:  {driver.Fine, "ahead"},
		1401 * time.Millisecond:  {driver.Warning, "1.201s ahead"},
		-1001 * time.Millisecond: {driver.Warning, "1.201s behind"},
		time.Hour:                {driver.Warning, "ahead"},
	} {
		f := driver.Clock(sent.Add(told), sent, received)
		if f.Verdict != want.verdict || !strings.Contains(f.Detail, want.says) || (f.Advice != "") != (want.verdict == driver.Warning) {
			t.Errorf("told %v after it was asked for: %+v, want %s with %q", told, f, want.verdict, want.says)
		}
	}
}
