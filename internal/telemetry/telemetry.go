// Package telemetry turns what sessions and primitives do into OpenTelemetry
// spans and metrics. It is the one place that knows their names.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Scope is the instrumentation scope of all spans and metrics.
const Scope = "github.com/fairlead-go/fairlead/session"

// Attribute keys. The name of a lock is an attribute of spans, and of metrics
// only on request.
const (
	keyName     = attribute.Key("fairlead.name")
	keyKind     = attribute.Key("fairlead.kind")
	keyMode     = attribute.Key("fairlead.mode")
	keyBackend  = attribute.Key("fairlead.backend")
	keyIdentity = attribute.Key("fairlead.identity")
	keyToken    = attribute.Key("fairlead.token")
	keyOutcome  = attribute.Key("fairlead.outcome")
	keyError    = attribute.Key("error.type")
)

// seconds are the bucket boundaries of every histogram: from a hand-off on a
// fast network to somebody's nightly job.
var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600}

// Telemetry records what one session does.
type Telemetry struct {
	tracer   trace.Tracer
	backend  attribute.KeyValue
	identity attribute.KeyValue
	names    bool // put names into metrics

	acquire, hold, renew metric.Float64Histogram
	waiters, held        metric.Int64UpDownCounter
	lost                 metric.Int64Counter

	sets sync.Map // setKey -> metric.MeasurementOption
}

// A Subject is what is acquired.
type Subject struct{ Kind, Mode, Name string }

// New makes the instruments.
func New(tp trace.TracerProvider, mp metric.MeterProvider, backend, identity string, names bool) (*Telemetry, error) {
	t := &Telemetry{tracer: tp.Tracer(Scope), backend: keyBackend.String(backend), identity: keyIdentity.String(identity), names: names}
	m := mp.Meter(Scope)
	var errs [6]error
	histogram := func(name, what string) (metric.Float64Histogram, error) {
		return m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what), metric.WithExplicitBucketBoundaries(seconds...))
	}
	t.acquire, errs[0] = histogram("fairlead.acquire.duration", "Time from asking to being granted, or to giving up.")
	t.hold, errs[1] = histogram("fairlead.hold.duration", "Time from grant to release or loss.")
	t.renew, errs[2] = histogram("fairlead.session.renew.duration", "Time to renew the session's lease.")
	t.waiters, errs[3] = m.Int64UpDownCounter("fairlead.waiters", metric.WithUnit("{waiter}"), metric.WithDescription("Acquisitions that wait for their turn."))
	t.held, errs[4] = m.Int64UpDownCounter("fairlead.held", metric.WithUnit("{grant}"), metric.WithDescription("Grants that are held."))
	t.lost, errs[5] = m.Int64Counter("fairlead.lost", metric.WithUnit("{grant}"), metric.WithDescription("Grants that were lost before they were released."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}
	return t, nil
}

type setKey struct {
	Subject
	outcome, errorType string
}

// set returns the attributes for a measurement; the few that occur are cached,
// as making one costs more than recording it.
func (t *Telemetry) set(s Subject, outcome string, err error) metric.MeasurementOption {
	k := setKey{Subject: s, outcome: outcome}
	if !t.names {
		k.Name = ""
	}
	if err != nil {
		k.errorType = errorType(err)
	}
	if v, ok := t.sets.Load(k); ok {
		return v.(metric.MeasurementOption)
	}
	kvs := []attribute.KeyValue{t.backend}
	for _, kv := range []attribute.KeyValue{
		keyKind.String(k.Kind), keyMode.String(k.Mode), keyName.String(k.Name), keyOutcome.String(k.outcome), keyError.String(k.errorType),
	} {
		if kv.Value.AsString() != "" {
			kvs = append(kvs, kv)
		}
	}
	v, _ := t.sets.LoadOrStore(k, metric.MeasurementOption(metric.WithAttributeSet(attribute.NewSet(kvs...))))
	return v.(metric.MeasurementOption)
}

// errorType names the cause: by its own word if it has one, as the sentinels of
// package session do, else by the type of the innermost error.
func errorType(err error) string {
	if named, ok := errors.AsType[interface {
		error
		ErrorType() string
	}](err); ok {
		return named.ErrorType()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return fmt.Sprintf("%T", err)
		}
		err = next
	}
}

// start starts a span. Its attributes are made only where somebody records it.
func (t *Telemetry) start(ctx context.Context, name string, s Subject) (context.Context, trace.Span) {
	ctx, span := t.tracer.Start(ctx, name)
	if span.IsRecording() {
		span.SetAttributes(keyName.String(s.Name), keyKind.String(s.Kind), keyMode.String(s.Mode), t.backend, t.identity)
	}
	return ctx, span
}

// An Acquisition is a span from asking to the grant.
type Acquisition struct {
	t       *Telemetry
	s       Subject
	span    trace.Span
	start   time.Time
	waiting bool
}

// Acquire starts a span "acquire KIND"; the context carries it.
func (t *Telemetry) Acquire(ctx context.Context, s Subject) (context.Context, *Acquisition) {
	ctx, span := t.start(ctx, "acquire "+s.Kind, s)
	return ctx, &Acquisition{t: t, s: s, span: span, start: time.Now()}
}

// Waits says that the acquisition waits for an entry whose owner's span was
// link, and links to that.
func (a *Acquisition) Waits(link trace.SpanContext) {
	if !a.waiting {
		a.waiting = true
		a.t.waiters.Add(context.Background(), 1, a.t.set(a.s, "", nil))
	}
	if link.IsValid() {
		a.span.AddLink(trace.Link{SpanContext: link})
	}
}

// End ends the span. err is nil when the turn came; outcome is one word.
func (a *Acquisition) End(ctx context.Context, outcome string, err error) {
	if a.waiting {
		a.t.waiters.Add(ctx, -1, a.t.set(a.s, "", nil))
	}
	if a.t.acquire.Enabled(ctx) {
		a.t.acquire.Record(ctx, time.Since(a.start).Seconds(), a.t.set(a.s, outcome, err))
	}
	if a.span.IsRecording() {
		a.span.SetAttributes(keyOutcome.String(outcome))
		switch outcome {
		case "held", "canceled": // as the caller wanted it: nothing has failed
			a.span.SetAttributes(keyError.String(errorType(err)))
		default:
			fail(a.span, err)
		}
	}
	a.span.End()
}

// A Holding is a span from the grant to its end.
type Holding struct {
	t     *Telemetry
	s     Subject
	span  trace.Span
	start time.Time

	counted bool // in the number of grants that are held
}

// Hold starts a span "hold KIND"; the context carries it.
func (t *Telemetry) Hold(ctx context.Context, s Subject, token uint64) (context.Context, *Holding) {
	ctx, span := t.start(ctx, "hold "+s.Kind, s)
	if span.IsRecording() {
		span.SetAttributes(keyToken.Int64(int64(token)))
	}
	counted := t.held.Enabled(ctx)
	if counted {
		t.held.Add(ctx, 1, t.set(s, "", nil))
	}
	return ctx, &Holding{t: t, s: s, span: span, start: time.Now(), counted: counted}
}

// End ends the span; lost is nil when the grant was released.
func (h *Holding) End(lost error) {
	ctx := trace.ContextWithSpan(context.Background(), h.span)
	outcome := "released"
	if lost != nil {
		outcome = "lost"
		h.t.lost.Add(ctx, 1, h.t.set(h.s, "", lost))
	}
	if h.counted {
		h.t.held.Add(ctx, -1, h.t.set(h.s, "", nil))
		h.t.hold.Record(ctx, time.Since(h.start).Seconds(), h.t.set(h.s, outcome, lost))
	}
	if h.span.IsRecording() {
		h.span.SetAttributes(keyOutcome.String(outcome))
		fail(h.span, lost)
	}
	h.span.End()
}

// Renewed records an attempt to renew the lease that was sent at start.
func (t *Telemetry) Renewed(ctx context.Context, start time.Time, err error) {
	outcome := "renewed"
	if err != nil {
		outcome = "failed"
	}
	t.renew.Record(ctx, time.Since(start).Seconds(), t.set(Subject{}, outcome, err))
}

func fail(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
		span.SetAttributes(keyError.String(errorType(err)))
	}
}
