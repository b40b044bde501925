package drivertest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// A recording is a TB that remembers failures instead of reporting them.
type recording struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	failures []string
	cleanups []func()
}

// record runs a case to its end, clean-up included, and returns what it reported.
func record(ctx context.Context, c Case, b Backend) []string {
	r := &recording{}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.do(func() { c.Run(r, b) })
	r.cancel()
	for {
		r.mu.Lock()
		n := len(r.cleanups)
		if n == 0 {
			defer r.mu.Unlock()
			return slices.Clone(r.failures)
		}
		next := r.cleanups[n-1]
		r.cleanups = r.cleanups[:n-1]
		r.mu.Unlock()
		r.do(next)
	}
}

// do runs f on a goroutine of its own, which Fatalf ends.
func (r *recording) do(f func()) {
	var done sync.WaitGroup
	done.Go(f)
	done.Wait()
}

func (r *recording) Helper() {}

func (r *recording) Logf(string, ...any) {}

func (r *recording) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recording) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recording) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}

func (r *recording) Context() context.Context { return r.ctx }

func (r *recording) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}
