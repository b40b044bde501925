package export

import (
	"context"
	"os"
	"strings"

	"go.opentelemetry.io/otel/propagation"
)

// carried is how a span context is passed on: in the environment, under the names of the headers
// of W3C's Trace Context in capitals.
var carried = propagation.TraceContext{}

// Parent returns ctx with the span that this process was started under, where TRACEPARENT says.
func Parent(ctx context.Context) context.Context {
	carrier := propagation.MapCarrier{}
	for _, header := range carried.Fields() {
		if v := os.Getenv(strings.ToUpper(header)); v != "" {
			carrier[header] = v
		}
	}
	return carried.Extract(ctx, carrier)
}

// Environment returns the variables by which a process that is started under the span of ctx
// finds it; none where there is no span. An empty TRACESTATE keeps an inherited one, which
// belongs to another span, from being taken for this one's.
func Environment(ctx context.Context) []string {
	carrier := propagation.MapCarrier{}
	carried.Inject(ctx, carrier)
	if len(carrier) == 0 {
		return nil
	}
	var env []string
	for _, header := range carried.Fields() {
		env = append(env, strings.ToUpper(header)+"="+carrier[header])
	}
	return env
}
