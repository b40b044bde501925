package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// A lined server counts the entries of any queue, those of peers included, at little
// cost.
type lined interface {
	queued(ctx context.Context, name string) (int, error)
}

// queued counts the holder and the waiters of a name.
func (t *team) queued(ctx context.Context, c client, name string) (int, error) {
	if l, ok := t.server.(lined); ok {
		return l.queued(ctx, name)
	}
	if l, ok := c.(lined); ok {
		return l.queued(ctx, name)
	}
	return 0, fmt.Errorf("%s does not tell how many wait", t.subject.name)
}

// abandon closes a team that could not be set up, and waits, for a while, until the server
// has nothing of it left to do.
func (t *team) abandon(ctx context.Context) {
	_ = t.close() // which is why
	ctx, cancel := context.WithTimeout(ctx, t.load.setUpLimit)
	defer cancel()
	_ = t.await(ctx, t.clients[0], t.name, 0)
}

// await waits until there are so many, and asks so rarely that it takes a tenth of the
// time at most.
func (t *team) await(ctx context.Context, c client, name string, want int) error {
	for {
		asked := time.Now()
		n, err := t.queued(ctx, c, name)
		if n == want || err != nil {
			return err
		}
		select {
		case <-time.After(max(time.Millisecond, 10*time.Since(asked))):
		case <-ctx.Done():
			return fmt.Errorf("%d of %d are in the queue of %s: %w", n, want, name, ctx.Err())
		}
	}
}

// A crowd waits in one queue. Whoever holds releases when it is told to, and joins
// again at the end, so that the queue keeps its length.
type crowd struct {
	size     int
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	turns    chan struct{}  // tells the holder to release
	released chan time.Time // when it did
	held     chan time.Time // when the next one held
	failed   chan error
}

// fill lets n wait, and one hold.
func fill(n int) func(ctx context.Context, t *team) (map[report.Metric]float64, error) {
	return func(ctx context.Context, t *team) (map[report.Metric]float64, error) {
		before, err := weigh(ctx, t.server)
		if err != nil {
			return nil, err
		}
		members := make([]contender, n+1)
		err = all(len(t.clients), func(i int) (err error) {
			for j := i; j < len(members) && err == nil; j += len(t.clients) {
				members[j], err = t.clients[i].contender(ctx, t.name)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		waiting, cancel := context.WithCancel(context.WithoutCancel(ctx)) // for as long as the team is there
		c := &crowd{size: len(members), cancel: cancel, turns: make(chan struct{}), held: make(chan time.Time), released: make(chan time.Time, 1), failed: make(chan error, 1)}
		t.crowd = c
		begin := time.Now()
		for _, m := range members {
			c.wg.Go(func() { c.wait(waiting, m) })
		}
		if _, err := c.next(ctx); err != nil {
			return nil, err
		}
		if err := t.await(ctx, t.clients[0], t.name, c.size); err != nil {
			return nil, err
		}
		figures := map[report.Metric]float64{report.Fill: time.Since(begin).Seconds()}
		after, err := weigh(ctx, t.server)
		if err != nil {
			return nil, err
		}
		for metric, v := range after {
			figures[metric] = (v - before[metric]) / float64(n)
		}
		return figures, nil
	}
}

// wait takes its turns until ctx is done, or the client is closed.
func (c *crowd) wait(ctx context.Context, m contender) {
	for {
		if err := m.lock(ctx); err != nil {
			c.fail(ctx, err)
			return
		}
		select {
		case c.held <- time.Now():
		case <-ctx.Done():
			return // its session ends
		}
		select {
		case <-c.turns:
		case <-ctx.Done():
			return
		}
		c.released <- time.Now()
		if err := m.unlock(ctx); err != nil {
			c.fail(ctx, err)
			return
		}
	}
}

func (c *crowd) fail(ctx context.Context, err error) {
	if ctx.Err() == nil {
		select {
		case c.failed <- err:
		default: // one is enough
		}
	}
}

// next waits for the next holder.
func (c *crowd) next(ctx context.Context) (held time.Time, err error) {
	select {
	case held = <-c.held:
		return held, nil
	case err := <-c.failed:
		return held, err
	case <-ctx.Done():
		return held, ctx.Err()
	}
}

// queue lets a tenth more join and leave again, and then hands the lock on.
func queue(ctx context.Context, t *team, d time.Duration) (sample, error) {
	joins, err := t.late(ctx, t.crowd.size/10)
	if err != nil {
		return sample{}, fmt.Errorf("join behind the others: %w", err)
	}
	m, err := newMeter(ctx, t.server)
	if err != nil {
		return sample{}, err
	}
	var took []time.Duration
	begin := time.Now()
	for len(took) == 0 || time.Since(begin) < d {
		t.crowd.turns <- struct{}{}
		held, err := t.crowd.next(ctx)
		if err != nil {
			return sample{}, err
		}
		took = append(took, held.Sub(<-t.crowd.released))
	}
	s := sample{took: took, figures: map[report.Metric]float64{
		report.Handoffs: float64(len(took)) / time.Since(begin).Seconds(),
		report.P50:      report.Quantile(took, 0.50),
		report.P99:      report.Quantile(took, 0.99),
		report.Joins:    joins,
	}}
	if err := t.await(ctx, t.clients[0], t.name, t.crowd.size); err != nil {
		return sample{}, err
	}
	return s, m.charge(ctx, s.figures, len(took))
}

// late lets n join behind the crowd, and returns how many did so a second. They leave
// with their session.
func (t *team) late(ctx context.Context, n int) (joins float64, err error) {
	c, err := t.subject.open(ctx, t.server.addr(), sessionTTL)
	if err != nil {
		return 0, err
	}
	members := make([]contender, n)
	for i := range members {
		if members[i], err = c.contender(ctx, t.name); err != nil {
			return 0, errors.Join(err, c.close(ctx))
		}
	}
	waiting, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	begin := time.Now()
	for _, m := range members {
		wg.Go(func() { _ = m.lock(waiting) }) // in vain
	}
	err = t.await(ctx, t.clients[0], t.name, t.crowd.size+n)
	took := time.Since(begin)
	cancel()
	err = errors.Join(err, c.close(context.WithoutCancel(ctx)))
	gone(&wg)
	if err == nil {
		err = t.await(ctx, t.clients[0], t.name, t.crowd.size)
	}
	return float64(n) / took.Seconds(), err
}
