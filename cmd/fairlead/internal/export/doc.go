// Package export sends the spans and metrics of the command line where the environment says:
// OTEL_TRACES_EXPORTER, OTEL_METRICS_EXPORTER, OTEL_EXPORTER_OTLP_ENDPOINT and the other variables
// of OpenTelemetry. It also shows the metrics to Prometheus.
//
// Telemetry is a by-product: where it cannot be delivered, the command that is run and its exit
// status are as if it could. An end is delayed by FlushTimeout at most.
package export
