package export

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// FlushTimeout bounds how long Close waits for a collector.
const FlushTimeout = 2 * time.Second

// A Pipeline takes spans and metrics to where they are wanted.
type Pipeline struct {
	Traces trace.TracerProvider // nil: no spans are wanted
	Meters metric.MeterProvider // nil: no metrics are wanted

	registry  *prometheus.Registry
	shutdowns []func(context.Context) error
}

// Start makes the pipeline that the environment asks for, and with scraped one that Handler shows
// as well. It does not wait for a collector. The caller closes it.
func Start(ctx context.Context, scraped bool) (*Pipeline, error) {
	p := &Pipeline{}
	traces, metrics := wanted("TRACES"), wanted("METRICS")
	if !traces && !metrics && !scraped {
		return p, nil
	}
	if level := os.Getenv("OTEL_LOG_LEVEL"); !strings.EqualFold(level, "debug") {
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	}
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "fairlead")),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	if traces {
		err = p.trace(ctx, about)
	}
	if err == nil && (metrics || scraped) {
		err = p.measure(ctx, about, metrics, scraped)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// wanted reports whether the environment asks for the signal: OpenTelemetry's own default is to
// send it to a collector on this machine, which few have.
func wanted(signal string) bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	for _, name := range []string{"OTEL_" + signal + "_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

func (p *Pipeline) trace(ctx context.Context, about *resource.Resource) error {
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return fmt.Errorf("export spans as OTEL_TRACES_EXPORTER says: %w", err)
	}
	if autoexport.IsNoneSpanExporter(exporter) {
		return nil
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	p.Traces, p.shutdowns = provider, append(p.shutdowns, provider.Shutdown)
	return nil
}

func (p *Pipeline) measure(ctx context.Context, about *resource.Resource, pushed, scraped bool) error {
	options := []sdkmetric.Option{sdkmetric.WithResource(about)}
	if pushed {
		reader, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return fmt.Errorf("export metrics as OTEL_METRICS_EXPORTER says: %w", err)
		}
		if !autoexport.IsNoneMetricReader(reader) {
			options = append(options, sdkmetric.WithReader(reader))
		}
	}
	if scraped {
		p.registry = prometheus.NewRegistry()
		reader, err := otelprometheus.New(
			otelprometheus.WithRegisterer(p.registry),
			otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
			otelprometheus.WithoutScopeInfo())
		if err != nil {
			return fmt.Errorf("show metrics to Prometheus: %w", err)
		}
		options = append(options, sdkmetric.WithReader(reader))
	}
	if len(options) == 1 { // nobody reads them
		return nil
	}
	provider := sdkmetric.NewMeterProvider(options...)
	p.Meters, p.shutdowns = provider, append(p.shutdowns, provider.Shutdown)
	return nil
}

// Handler shows the metrics to Prometheus, if Start was told that it would.
func (p *Pipeline) Handler() http.Handler {
	if p.registry == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{})
}

// Close sends what has not been sent yet, for FlushTimeout at most. What a collector that is away
// does not take is lost, without a word, unless OTEL_LOG_LEVEL is debug.
func (p *Pipeline) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), FlushTimeout)
	defer cancel()
	ended := make(chan error, len(p.shutdowns))
	for _, shutdown := range p.shutdowns {
		go func() { ended <- shutdown(ctx) }()
	}
	var errs []error
	for range p.shutdowns {
		errs = append(errs, <-ended)
	}
	if err := errors.Join(errs...); err != nil {
		otel.Handle(err)
	}
}
