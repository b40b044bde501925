// Command trace shows what the spans of a queue look like: who waits is linked to whom it
// waits for, also where they are in different processes and traces.
//
//	go run ./examples/trace
//
// It prints the spans as a timeline. A real program has them exported: docs/telemetry.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// step is how long each holds, and half of it how long after one another they come.
const step = 200 * time.Millisecond

func run(ctx context.Context, out io.Writer) error {
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	store := memory.NewStore()

	done := make(chan error)
	services := []string{"billing", "invoices", "reports"}
	for i, service := range services {
		go func() {
			time.Sleep(time.Duration(i) * step / 2)
			done <- work(ctx, store, service, provider)
		}()
	}
	var errs []error
	for range services {
		errs = append(errs, <-done)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return show(spans.GetSpans(), out)
}

// work is one service, with a session and a trace of its own.
func work(ctx context.Context, store *memory.Store, service string, provider trace.TracerProvider) error {
	s, err := store.Session(ctx, &session.Options{Identity: service, TracerProvider: provider})
	if err != nil {
		return err
	}
	defer s.Close(ctx)

	ctx, request := provider.Tracer("examples/trace").Start(ctx, "close the month")
	defer request.End()
	g, err := mutex.New(s, "ledger").Lock(ctx)
	if err != nil {
		return err
	}
	defer g.Release(ctx)
	time.Sleep(step)
	return nil
}

// show prints when each span began and how long it took, and what its links lead to.
func show(spans tracetest.SpanStubs, out io.Writer) error {
	slices.SortFunc(spans, func(a, b tracetest.SpanStub) int {
		return strings.Compare(service(a)+order(a), service(b)+order(b))
	})
	owner := map[trace.SpanID]string{}
	began := spans[0].StartTime
	for _, s := range spans {
		owner[s.SpanContext.SpanID()] = s.Name + " of " + service(s)
		if s.StartTime.Before(began) {
			began = s.StartTime
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tFROM\tTOOK\tSPAN")
	for _, s := range spans {
		if service(s) == "" {
			continue // the service's own
		}
		line := s.Name
		for _, l := range s.Links {
			line += ", linked to: " + owner[l.SpanContext.SpanID()]
		}
		fmt.Fprintf(w, "%s\t%d ms\t%d ms\t%s\n", service(s),
			s.StartTime.Sub(began).Milliseconds(), s.EndTime.Sub(s.StartTime).Milliseconds(), line)
	}
	return w.Flush()
}

// service is whose span it is, as Fairlead's attributes say.
func service(s tracetest.SpanStub) string {
	for _, a := range s.Attributes {
		if a.Key == "fairlead.identity" {
			return a.Value.AsString()
		}
	}
	return ""
}

func order(s tracetest.SpanStub) string { return s.StartTime.Format(time.RFC3339Nano) + s.Name }
