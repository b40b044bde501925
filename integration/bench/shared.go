package main

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

const permitLimit = 8

// permits lets each contender take a permit and give it back.
func permits(ctx context.Context, t *team, d time.Duration) (sample, error) {
	var holders atomic.Int32
	return share(ctx, t, d, func(c contender) turn {
		return turn{c.lock, func() bool { return holders.Add(1) <= permitLimit }, func() { holders.Add(-1) }}
	})
}

// readMostly lets each contender lock for reading, and one time in ten for writing.
func readMostly(ctx context.Context, t *team, d time.Duration) (sample, error) {
	const writer = 1 << 16 // more than there are readers
	var holders atomic.Int32
	return share(ctx, t, d, func(c contender) turn {
		if rand.IntN(10) == 0 {
			return turn{c.lock, func() bool { return holders.Add(writer) == writer }, func() { holders.Add(-writer) }}
		}
		return turn{c.(reader).rlock, func() bool { return holders.Add(1) < writer }, func() { holders.Add(-1) }}
	})
}

// A turn is how one lock is taken, and what finds out that it excludes nobody.
type turn struct {
	lock  func(ctx context.Context) error
	enter func() (alone bool)
	leave func()
}

// share lets each contender take turns until the time is over, one at least.
func share(ctx context.Context, t *team, d time.Duration, next func(contender) turn) (sample, error) {
	m, err := newMeter(ctx, t.server)
	if err != nil {
		return sample{}, err
	}
	waits := make([][]time.Duration, len(t.members))
	end := time.Now().Add(d)
	g, limited := errgroup.WithContext(ctx)
	for i, c := range t.members {
		g.Go(func() error {
			for len(waits[i]) == 0 || time.Now().Before(end) {
				n := next(c)
				asked := time.Now()
				if err := n.lock(limited); err != nil {
					return err
				}
				waits[i] = append(waits[i], time.Since(asked))
				if !n.enter() {
					return errNotExclusive
				}
				runtime.Gosched() // let others be seen inside
				n.leave()
				if err := c.unlock(limited); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return sample{}, err
	}
	over := time.Since(end) + d
	var wait []time.Duration
	for _, w := range waits {
		wait = append(wait, w...)
	}
	s := sample{figures: map[report.Metric]float64{
		report.Grants: float64(len(wait)) / over.Seconds(),
		report.P50:    report.Quantile(wait, 0.50),
		report.P99:    report.Quantile(wait, 0.99),
	}}
	return s, m.charge(ctx, s.figures, len(wait))
}
