package traceparent

import (
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

func TestWhatWasFormattedIsParsed(t *testing.T) {
	for _, flags := range []trace.TraceFlags{0, trace.FlagsSampled, 2, 3, 0xff} {
		sc := trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1, 2, 15: 3}, SpanID: trace.SpanID{4, 7: 5}, TraceFlags: flags, Remote: true,
		})
		if got := Parse(Format(sc)); !got.Equal(sc) {
			t.Errorf("%s came back as %v, want %v", Format(sc), got, sc)
		}
	}
}

func TestAnythingElseIsNoSpan(t *testing.T) {
	if s := Format(trace.SpanContext{}); s != "" {
		t.Errorf("no span is written as %q", s)
	}
	const good = "00-01020000000000000000000000000003-0400000000000005-01"
	for _, s := range []string{
		"", good[1:], good + "0", good[:54], strings.Replace(good, "1", "g", 1),
		"00-00000000000000000000000000000000-0400000000000005-01", "00-01020000000000000000000000000003-0000000000000000-01",
		strings.Repeat("-", 55), strings.Repeat("\xff", 55),
	} {
		if sc := Parse(s); sc.IsValid() {
			t.Errorf("%q is parsed as %v", s, sc)
		}
	}
}

// What is taken for a span is what would be written for it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"00-01020000000000000000000000000003-0400000000000005-01", "00-01020000000000000000000000000003-0400000000000005-03",
		"01-01020000000000000000000000000003-0400000000000005-01", "00x01020000000000000000000000000003x0400000000000005x01",
		"00-01020000000000000000000000000003-0400000000000005-0A", "00-0102000000000000000000000000000A-0400000000000005-00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if sc := Parse(s); sc.IsValid() && (Format(sc) != s || !sc.IsRemote()) {
			t.Errorf("%q is parsed as %v, which is written as %q", s, sc, Format(sc))
		}
	})
}
