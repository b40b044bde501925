package main

import (
	"context"
	"runtime"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// weigh returns what is in use at the clients, which are in this process, and at the
// server, by the metric of what one waiter adds to it.
func weigh(ctx context.Context, srv server) (map[report.Metric]float64, error) {
	all := map[report.Metric]float64{report.ClientEach: inUse()}
	if w, ok := srv.(weighed); ok {
		v, err := w.memory(ctx)
		if err != nil {
			return nil, err
		}
		all[report.ServerEach] = v
	}
	if w, ok := srv.(watched); ok {
		v, err := w.watchers(ctx)
		if err != nil {
			return nil, err
		}
		all[report.WatchersEach] = v
	}
	return all, nil
}

// inUse is what this process has on its heap and its stacks after a collection.
func inUse() float64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools had kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}
