// Package traceparent writes span contexts into stores and reads them back, in the form of
// the header traceparent of W3C's Trace Context.
package traceparent

import (
	"fmt"
	"strconv"

	"go.opentelemetry.io/otel/trace"
)

// length is that of version 00: "00-", 32 digits, "-", 16 digits, "-", 2 digits.
const length = 55

// Format returns the text for sc, and "" where that is not valid.
func Format(sc trace.SpanContext) string {
	if !sc.IsValid() {
		return ""
	}
	return fmt.Sprintf("00-%s-%s-%s", sc.TraceID(), sc.SpanID(), sc.TraceFlags())
}

// Parse reads what Format wrote, as that of somebody else; anything else is no span context.
func Parse(s string) trace.SpanContext {
	if len(s) != length {
		return trace.SpanContext{}
	}
	traceID, err1 := trace.TraceIDFromHex(s[3:35])
	spanID, err2 := trace.SpanIDFromHex(s[36:52])
	flags, err3 := strconv.ParseUint(s[53:], 16, 8)
	if err1 != nil || err2 != nil || err3 != nil {
		return trace.SpanContext{}
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.TraceFlags(flags), Remote: true,
	})
	if Format(sc) != s {
		return trace.SpanContext{}
	}
	return sc
}
