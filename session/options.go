package session

import (
	"fmt"
	"log/slog"
	"os"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// DefaultTTL is the time to live of a lease where neither Options nor the URL
// say another.
const DefaultTTL = 15 * time.Second

// minTTL is less than what any network needs for a renewal.
const minTTL = time.Millisecond

// Options of a session. The zero value, and nil, mean the defaults.
type Options struct {
	// TTL is how long the store keeps the session's entries when it hears
	// nothing from it; a crashed holder blocks others for that long. The store
	// may grant another one: see Session.TTL. At least 1 ms. 0: the URL's ttl, else 15 s.
	TTL time.Duration

	// Margin is how much earlier than the store could expire the lease the
	// session stops trusting it. It has to cover the difference in rate between
	// the two clocks and the time a holder takes to stop.
	// 0: max(500 ms, TTL/5), but at most TTL/2.
	Margin time.Duration

	// Identity is what others see as holder or waiter, in UTF-8. "": host/pid.
	Identity string

	// Logger gets warnings and errors only. nil: slog.Default().
	Logger *slog.Logger

	// TracerProvider and MeterProvider receive spans and metrics.
	// nil: the global ones.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider

	// MetricNames adds each lock's name to the metrics. Names multiply time
	// series, so this is false unless you know that there are few.
	MetricNames bool
}

// withDefaults returns a copy with everything but Margin filled in: that
// depends on the TTL as granted.
func (o *Options) withDefaults() (Options, error) {
	var v Options
	if o != nil {
		v = *o
	}
	if v.TTL < 0 || v.Margin < 0 {
		return v, fmt.Errorf("TTL %v and margin %v must not be negative", v.TTL, v.Margin)
	}
	if v.TTL == 0 {
		v.TTL = DefaultTTL
	}
	if v.TTL < minTTL {
		return v, fmt.Errorf("a TTL of %v is too short, the least is %v: was a unit forgotten, as in 15*time.Second?", v.TTL, minTTL)
	}
	if !utf8.ValidString(v.Identity) {
		return v, fmt.Errorf("the identity %q is not valid UTF-8", v.Identity)
	}
	if v.Margin >= v.TTL {
		return v, fmt.Errorf("margin %v leaves nothing of the TTL %v: choose a smaller margin or a larger TTL", v.Margin, v.TTL)
	}
	if v.Identity == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		v.Identity = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	if v.Logger == nil {
		v.Logger = slog.Default()
	}
	if v.TracerProvider == nil {
		v.TracerProvider = otel.GetTracerProvider()
	}
	if v.MeterProvider == nil {
		v.MeterProvider = otel.GetMeterProvider()
	}
	return v, nil
}

// margin returns the margin for a lease of the granted TTL.
func (o *Options) margin(ttl time.Duration) time.Duration {
	if o.Margin > 0 {
		return min(o.Margin, ttl-1)
	}
	return min(max(500*time.Millisecond, ttl/5), ttl/2)
}
