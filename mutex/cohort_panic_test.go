package mutex_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead-go/fairlead/session"
)

// A fragile tracer panics once in what it is told to.
type fragile struct {
	trace.TracerProvider
	in atomic.Pointer[string]
}

func (p *fragile) panicsIn(what string) { p.in.Store(&what) }

func (p *fragile) reach(what string) {
	if in := p.in.Load(); in != nil && *in == what && p.in.CompareAndSwap(in, nil) {
		panic("the tracer, in " + what)
	}
}

func (p *fragile) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	return fragileTracer{p.TracerProvider.Tracer(name, opts...), p}
}

type fragileTracer struct {
	trace.Tracer
	p *fragile
}

func (t fragileTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	t.p.reach(name)
	ctx, span := t.Tracer.Start(ctx, name, opts...)
	return ctx, fragileSpan{span, t.p, name}
}

type fragileSpan struct {
	trace.Span
	p    *fragile
	name string
}

func (s fragileSpan) End(opts ...trace.SpanEndOption) {
	s.p.reach("end " + s.name)
	s.Span.End(opts...)
}

func (s fragileSpan) AddLink(l trace.Link) {
	s.p.reach("AddLink")
	s.Span.AddLink(l)
}

// fragile opens a session with such a tracer.
func (s *stage) fragile() (*session.Session, *fragile) {
	s.t.Helper()
	tracer := &fragile{TracerProvider: sdktrace.NewTracerProvider()}
	v, err := s.st.Session(s.ctx, &session.Options{TTL: 10 * time.Second, TracerProvider: tracer, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = v.Close(context.Background()) })
	return v, tracer
}

// panics calls f, which has to.
func panics(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("it did not panic")
		}
	}()
	f()
}

// What panics while the lock is passed on leaves no entry that nobody holds, and nobody in
// the line who waits for ever.
func TestPanicWhileTheLockIsPassedOn(t *testing.T) {
	play(t, func(s *stage) {
		v, tracer := s.fragile()
		m := handing(v, 5)
		g := s.lock(m)
		next := s.ask(m)
		tracer.panicsIn("hold mutex")
		panics(t, func() { _ = g.Release(s.ctx) })
		s.release(next.granted())
		s.release(s.lock(handing(s.session("other"), 0)))
	})
}

// One that panics before it waits is not in the line.
func TestPanicBeforeTheWait(t *testing.T) {
	play(t, func(s *stage) {
		v, tracer := s.fragile()
		m := handing(v, 5)
		g := s.lock(m)
		tracer.panicsIn("AddLink")
		panics(t, func() { _, _ = m.Lock(s.ctx) })
		next := s.ask(m)
		s.release(g)
		s.release(next.granted())
	})
}
