package drivertest

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// Who cancels gets away promptly, and leaves nothing in the queue.
var cancelCases = slices.Concat(
	each("CancelBeforeEveryStep", func(f *fixture, s scenario) {
		f.cancelEveryRequest(s, func(ctx context.Context, cancel func(), call func(context.Context) error) error {
			cancel()
			return call(ctx)
		})
	}),
	each("CancelDuringEveryStep", func(f *fixture, s scenario) {
		f.cancelEveryRequest(s, func(ctx context.Context, cancel func(), call func(context.Context) error) error {
			made := make(chan struct{})
			inner, stop := context.WithCancel(context.WithoutCancel(ctx))
			go func() {
				defer close(made)
				_ = call(inner) // the store does what it was asked, and nobody hears of it
			}()
			select {
			case <-made:
			case <-time.After(moment): // it is one that waits
			}
			cancel()
			stop()
			<-made
			return context.Canceled
		})
	}),
	each("CancelAfterEveryStep", func(f *fixture, s scenario) {
		f.cancelEveryRequest(s, func(ctx context.Context, cancel func(), call func(context.Context) error) error {
			err := call(ctx)
			cancel()
			return err
		})
	}),
)

// A cancelling hook calls cancel before, during or after the call.
type cancelling func(ctx context.Context, cancel func(), call func(context.Context) error) error

// cancelEveryRequest runs the scenario again and again; in the n-th run its
// context is cancelled by its n-th request. Then it does so once more with the
// reply to the request before lost, so that it is the recovery that is
// cancelled. It ends when a run needed fewer requests.
func (f *fixture) cancelEveryRequest(s scenario, hook cancelling) {
	t := f.trial()
	for _, lost := range []int{0, 1} {
		for n, met := 1, true; met; n++ {
			ctx, cancel := context.WithCancel(f.ctx)
			var cancelled atomic.Pointer[time.Time]
			for i := range lost {
				t.p.calls.At(n+i, loseReply)
			}
			t.p.calls.At(n+lost, func(inner context.Context, op Op, call func(context.Context) error) error {
				f.Logf("run %d is cancelled in %s", n, op)
				return hook(inner, func() {
					now := time.Now()
					cancelled.Store(&now)
					cancel()
				}, call)
			})
			err := s.run(ctx, t)
			returned := time.Now()
			f.free(t.name)
			met = t.p.calls.Clear() <= lost
			at := cancelled.Load()
			if at != nil && returned.Sub(*at) > prompt {
				f.Errorf("run %d took %v after its context had been cancelled", n, returned.Sub(*at))
			}
			if err != nil && (at == nil || !errors.Is(err, context.Canceled)) {
				f.Errorf("run %d, cancelled %t, returned %v", n, at != nil, err)
			}
			cancel()
		}
	}
}
