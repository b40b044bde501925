package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// pairs lets each contender lock and unlock in a loop.
func pairs(ctx context.Context, t *team, d time.Duration) (sample, error) {
	took := make([][]time.Duration, len(t.members))
	unlocks := make([][]time.Duration, len(t.members))
	m, err := newMeter(ctx, t.server)
	if err != nil {
		return sample{}, err
	}
	begin := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for i, c := range t.members {
		g.Go(func() (err error) {
			took[i], unlocks[i], err = loop(ctx, c, begin.Add(d))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return sample{}, err
	}
	over := time.Since(begin)
	var pair, unlock []time.Duration
	for i := range took {
		pair, unlock = append(pair, took[i]...), append(unlock, unlocks[i]...)
	}
	s := sample{figures: map[report.Metric]float64{
		report.Pairs:    float64(len(pair)) / over.Seconds(),
		report.P50:      report.Quantile(pair, 0.50),
		report.P99:      report.Quantile(pair, 0.99),
		report.Unlock99: report.Quantile(unlock, 0.99),
	}}
	return s, m.charge(context.WithoutCancel(ctx), s.figures, len(pair))
}

// loop locks and unlocks until the time is over, once at least. It returns how long
// each pair took, and its second half.
func loop(ctx context.Context, c contender, end time.Time) (pair, unlock []time.Duration, err error) {
	for len(pair) == 0 || time.Now().Before(end) {
		start := time.Now()
		if err := c.lock(ctx); err != nil {
			return nil, nil, err
		}
		locked := time.Now()
		if err := c.unlock(ctx); err != nil {
			return nil, nil, err
		}
		done := time.Now()
		pair = append(pair, done.Sub(start))
		unlock = append(unlock, done.Sub(locked))
	}
	return pair, unlock, nil
}

var errNotExclusive = errors.New("two contenders held at once what excludes them")
