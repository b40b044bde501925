package report

import (
	"fmt"
	"math"
	"strconv"
)

// A Metric is the name of a figure, which says its unit as well: see metrics.
type Metric string

// The metrics. Times are in seconds.
const (
	Pairs    Metric = "pairs/s"
	Handoffs Metric = "hand-offs/s"
	Grants   Metric = "grants/s"
	Joins    Metric = "joins/s"

	P50      Metric = "p50"
	P99      Metric = "p99"
	Slowest  Metric = "slowest"
	Unlock99 Metric = "unlock p99"

	Unfair  Metric = "most:least"
	Longest Metric = "longest wait"
	Fill    Metric = "time to fill"

	Gap     Metric = "loss to grant, p50"
	GapMin  Metric = "loss to grant, least"
	Silence Metric = "freeze to grant, p50"

	// What one operation costs the store: a pair, a hand-off, a grant; for an idle
	// session, a TTL.
	Commits  Metric = "commits"
	Syncs    Metric = "fsyncs"
	Requests Metric = "requests"        // that are answered one by one
	Streamed Metric = "stream messages" // to watch, to unwatch, to renew
	Events   Metric = "events"          // delivered to watches
	BytesIn  Metric = "bytes in"        // to the server
	BytesOut Metric = "bytes out"

	// What a waiter costs.
	WatchersEach Metric = "watchers a waiter"
	ClientEach   Metric = "client bytes a waiter"
	ServerEach   Metric = "server bytes a waiter"
)

type unit func(v float64) string

// metrics are all metrics in the order in which they are shown. The first that a
// workload has is its headline, of which the ratio is shown.
var metrics = []struct {
	name Metric
	show unit
}{
	{Pairs, rate}, {Handoffs, rate}, {Grants, rate},
	{Gap, latency}, {GapMin, latency}, {Silence, latency},
	{P50, latency}, {P99, latency}, {Slowest, latency}, {Unlock99, latency},
	{Unfair, plain}, {Longest, latency},
	{Joins, rate}, {Fill, latency},
	{Commits, plain}, {Syncs, plain}, {Requests, plain}, {Streamed, plain}, {Events, plain},
	{BytesIn, bytes}, {BytesOut, bytes},
	{WatchersEach, plain}, {ClientEach, bytes}, {ServerEach, bytes},
}

func (m Metric) format(v float64) string {
	for _, k := range metrics {
		if k.name == m {
			return k.show(v)
		}
	}
	return plain(v)
}

func rate(v float64) string {
	if v < 10 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }

func bytes(v float64) string { return strconv.FormatFloat(math.Round(v), 'f', 0, 64) }

func times(v float64) string {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return "-" // of nothing
	}
	return plain(v) + "x"
}

// latency keeps three digits.
func latency(seconds float64) string {
	ms := seconds * 1e3
	switch size := math.Abs(ms); {
	case size >= 1e4:
		return fmt.Sprintf("%.1f s", seconds)
	case size >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	case size >= 10:
		return fmt.Sprintf("%.1f ms", ms)
	default:
		return fmt.Sprintf("%.2f ms", ms)
	}
}

// present returns the metrics that any of the subjects has, in the order of metrics.
func (r Result) present() (all []Metric) {
	for _, k := range metrics {
		for _, s := range r.Subjects {
			if len(s.Samples[k.name]) > 0 {
				all = append(all, k.name)
				break
			}
		}
	}
	return all
}

// isCost tells what the page shows in its section on scaling, and not with the rest.
func (m Metric) isCost() bool {
	switch m {
	case Commits, Syncs, Requests, Streamed, Events, BytesIn, BytesOut, WatchersEach, ClientEach, ServerEach:
		return true
	}
	return false
}
