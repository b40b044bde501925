package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// pause spaces out attempts: 25 ms at first, then longer, up to 2 s. The zero
// value is ready to use.
type pause struct{ backoff backoff.BackOff }

// next returns how long to wait before the next attempt.
func (p *pause) next() time.Duration {
	if p.backoff == nil { // most often the first attempt succeeds
		p.backoff = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(25*time.Millisecond),
			backoff.WithMaxInterval(2*time.Second),
			backoff.WithMaxElapsedTime(0),
		)
	}
	return p.backoff.NextBackOff()
}

// reset makes the next wait a short one.
func (p *pause) reset() { p.backoff = nil }

// wait sleeps until the next attempt is due. It fails with ctx's error when
// that ends first.
func (p *pause) wait(ctx context.Context) error {
	t := time.NewTimer(p.next())
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return ctx.Err()
	}
}

// because returns the error of a ctx that ended, with err, the trouble that kept
// the call from ending before.
func because(ctx context.Context, err error) error {
	if err == nil || err == ctx.Err() {
		return ctx.Err()
	}
	if errors.Is(err, ctx.Err()) {
		return err // it says on what
	}
	return fmt.Errorf("%w; last error: %w", ctx.Err(), err)
}
