package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/spf13/pflag"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/export"
	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/sidecar"
	"github.com/fairlead-go/fairlead/session"
)

// telemetryFlags say what is shown to those who look after the machines. More than
// that, OTEL_* in the environment says.
type telemetryFlags struct {
	metrics string // where to listen
	names   bool

	pipeline *export.Pipeline
}

func (f *telemetryFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.metrics, "metrics", "", "host:port to show metrics at, for Prometheus, as /metrics")
	flags.BoolVar(&f.names, "metric-names", false, "have NAME in the metrics: for names that are few and lasting")
}

// start makes ready what the flags and the environment ask for; scraped, when there is
// another place that shows the metrics. What stop has not sent after two seconds is dropped.
func (f *telemetryFlags) start(ctx context.Context, scraped bool) (stop func(), err error) {
	if f.pipeline, err = export.Start(ctx, scraped || f.metrics != ""); err != nil {
		return nil, err
	}
	if f.metrics == "" {
		return f.pipeline.Close, nil
	}
	l, err := listen("--metrics", f.metrics)
	if err != nil {
		f.pipeline.Close()
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", f.pipeline.Handler())
	closeServer := sidecar.Serve(l, mux)
	return func() { closeServer(); f.pipeline.Close() }, nil
}

// options are those of a session whose spans and metrics are to be exported.
func (f *telemetryFlags) options() *session.Options {
	return &session.Options{TracerProvider: f.pipeline.Traces, MeterProvider: f.pipeline.Meters, MetricNames: f.names}
}

// listen listens at the address that a flag says.
func listen(flag, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	if _, port, err := net.SplitHostPort(addr); err == nil && port == "0" {
		fmt.Fprintf(os.Stderr, "fairlead: %s listens at http://%v\n", flag, l.Addr())
	}
	return l, nil
}
