package mutex_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
)

// Who tries, or stops waiting, has an answer and no failure. An alert on spans that failed
// would ring for nothing.
func TestRefusedTryAndCancelledWaitAreNoFailedSpans(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	s, err := memory.NewStore().Session(t.Context(), &session.Options{TracerProvider: tracer, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(context.Background()) }()
	m := mutex.New(s, "a")
	g, err := m.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	for _, c := range []struct {
		outcome, errorType string
		acquire            func() (*session.Grant, error)
		failed             bool
	}{
		{"held", "held", func() (*session.Grant, error) { return m.TryLock(t.Context()) }, false},
		{"canceled", "canceled", func() (*session.Grant, error) { return m.Lock(cancelled) }, false},
		{"timeout", "timeout", func() (*session.Grant, error) { return m.Lock(late) }, true},
	} {
		spans.Reset()
		if _, err := c.acquire(); err == nil {
			t.Fatalf("%s: what is held was granted", c.outcome)
		}
		got := spans.GetSpans()
		if len(got) != 1 {
			t.Fatalf("%s: %d spans", c.outcome, len(got))
		}
		attributes := attribute.NewSet(got[0].Attributes...)
		for key, want := range map[attribute.Key]string{"fairlead.outcome": c.outcome, "error.type": c.errorType} {
			if v, _ := attributes.Value(key); v.AsString() != want {
				t.Errorf("%s: %s is %q, want %q", c.outcome, key, v.AsString(), want)
			}
		}
		if failed := got[0].Status.Code == codes.Error; failed != c.failed || (len(got[0].Events) > 0) != c.failed {
			t.Errorf("%s: the span's status is %v, its events %v", c.outcome, got[0].Status, got[0].Events)
		}
	}
	if err := g.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}
