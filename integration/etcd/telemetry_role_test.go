package etcd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

// The tests of telemetry run this program again, as the processes that are
// observed. These variables tell a process what it is.
const (
	roleVariable = "FAIRLEAD_TEST_ROLE" // holder or waiter
	addrVariable = "FAIRLEAD_TEST_ADDR"
	nameVariable = "FAIRLEAD_TEST_NAME"
	dirVariable  = "FAIRLEAD_TEST_DIR" // where the spans and metrics go
)

// playRole is main for such a process. It says on stdout what happened, and
// waits for a line on stdin where the test has to do something first.
func playRole(role string) (exitCode int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := observed(ctx, role, os.Getenv(dirVariable)); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		return 1
	}
	return 0
}

// observed plays a role and exports what was recorded.
func observed(ctx context.Context, role, dir string) (err error) {
	spans, err := os.Create(filepath.Join(dir, role+".spans"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, spans.Close()) }()
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(spans))
	if err != nil {
		return err
	}
	traces := trace.NewTracerProvider(trace.WithSyncer(exporter))
	reader := metric.NewManualReader()
	meters := metric.NewMeterProvider(metric.WithReader(reader))

	s, err := session.Open(ctx, "etcd://"+os.Getenv(addrVariable), &session.Options{
		Identity: role, TTL: shortTTL, TracerProvider: traces, MeterProvider: meters,
	})
	if err != nil {
		return err
	}
	m := mutex.New(s, os.Getenv(nameVariable))
	script := bufio.NewReader(os.Stdin)
	switch role {
	case "holder":
		err = playHolder(ctx, m, script, reader)
	case "waiter":
		err = playWaiter(ctx, m)
	default:
		err = errors.New("no such role")
	}
	return errors.Join(err, s.Close(ctx), exportMetrics(ctx, reader, filepath.Join(dir, role+".metrics")), traces.Shutdown(ctx))
}

// playHolder holds until it is told to release, and then once more until it
// loses.
func playHolder(ctx context.Context, m *mutex.Mutex, script *bufio.Reader, reader *metric.ManualReader) error {
	g, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	fmt.Println("held")
	if _, err := script.ReadString('\n'); err != nil {
		return err
	}
	if err := renewed(ctx, reader); err != nil {
		return err
	}
	if err := g.Release(ctx); err != nil {
		return err
	}
	if g, err = m.Lock(ctx); err != nil {
		return err
	}
	fmt.Println("held again")
	select {
	case <-g.Context().Done():
	case <-ctx.Done():
		return errors.New("the grant was not lost")
	}
	fmt.Println("lost")
	return nil
}

func playWaiter(ctx context.Context, m *mutex.Mutex) error {
	g, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	fmt.Println("held")
	return g.Release(ctx)
}

// renewed waits until the session has renewed its lease.
func renewed(ctx context.Context, reader *metric.ManualReader) error {
	for {
		var rm metricdata.ResourceMetrics
		if err := reader.Collect(ctx, &rm); err != nil {
			return err
		}
		for _, scope := range rm.ScopeMetrics {
			for _, m := range scope.Metrics {
				if m.Name == "fairlead.session.renew.duration" {
					return nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("no renewal was recorded")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func exportMetrics(ctx context.Context, reader *metric.ManualReader, file string) error {
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &rm); err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	exporter, err := stdoutmetric.New(stdoutmetric.WithWriter(out))
	if err != nil {
		return errors.Join(err, out.Close())
	}
	return errors.Join(exporter.Export(ctx, &rm), exporter.Shutdown(ctx), out.Close())
}
