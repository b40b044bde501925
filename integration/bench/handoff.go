package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// A relay is the record of a hand-off run. Only the holder writes to it; the
// mutex is for the case that exclusion is broken.
type relay struct {
	d       time.Duration
	hold    time.Duration // for how long each holds
	holders atomic.Int32  // to find out that it is broken

	mu       sync.Mutex
	begin    time.Time       // when the first one held: until then, all join
	holder   int             // the latest
	released time.Time       // when it called unlock
	took     []time.Duration // of each hand-off within the run, but of one at least
	last     time.Time       // when that of the last one of these was over
	served   []int           // per contender, within the run
	locks    int             // in all
	longest  time.Duration   // wait
}

// handoff lets all contenders lock and unlock the same name.
func handoff(ctx context.Context, t *team, d time.Duration) (sample, error) {
	return handoffAfter(ctx, t, d, 0)
}

// handoffHeld is the same, and each holds it for a moment. All others are in the queue by
// then, so that nothing is measured but the hand-off.
func handoffHeld(ctx context.Context, t *team, d time.Duration) (sample, error) {
	return handoffAfter(ctx, t, d, time.Millisecond)
}

func handoffAfter(ctx context.Context, t *team, d, hold time.Duration) (sample, error) {
	m, err := newMeter(ctx, t.server)
	if err != nil {
		return sample{}, err
	}
	r, err := runRelay(ctx, t, d, hold)
	if err != nil {
		return sample{}, err
	}
	s := sample{took: r.took, figures: map[report.Metric]float64{
		report.Handoffs: float64(len(r.took)) / max(d, r.last.Sub(r.begin)).Seconds(),
		report.P50:      report.Quantile(r.took, 0.50),
		report.P99:      report.Quantile(r.took, 0.99),
	}}
	return s, m.charge(ctx, s.figures, r.locks)
}

// fairness is the same, and looks at who had how much of it.
func fairness(ctx context.Context, t *team, d time.Duration) (sample, error) {
	r, err := runRelay(ctx, t, d, 0)
	if err != nil {
		return sample{}, err
	}
	// A contender that was never served counts as one: the ratio is a lower bound then.
	return sample{figures: map[report.Metric]float64{
		report.Unfair:  float64(slices.Max(r.served)) / float64(max(1, slices.Min(r.served))),
		report.Longest: r.longest.Seconds(),
	}}, nil
}

// runRelay runs until the time is over and there was a hand-off, and then lets those who
// still wait have their turn, so that nothing of this run is left to disturb the next.
func runRelay(ctx context.Context, t *team, d, hold time.Duration) (*relay, error) {
	r := &relay{d: d, hold: hold, served: make([]int, len(t.members))}
	g, ctx := errgroup.WithContext(ctx)
	for i, c := range t.members {
		g.Go(func() (err error) {
			for err == nil && !r.over(time.Now()) {
				err = r.leg(ctx, i, c)
			}
			return err
		})
	}
	return r, g.Wait()
}

// over says whether the run is, which lasts until there was a hand-off.
func (r *relay) over(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.took) > 0 && now.Sub(r.begin) >= r.d
}

// leg is one turn of contender i.
func (r *relay) leg(ctx context.Context, i int, c contender) error {
	asked := time.Now()
	if err := c.lock(ctx); err != nil {
		return err
	}
	held := time.Now()
	if r.holders.Add(1) != 1 {
		return errNotExclusive
	}
	if r.hold > 0 {
		time.Sleep(r.hold)
	}
	r.note(i, asked, held)
	r.holders.Add(-1)
	return c.unlock(ctx)
}

// note records that contender i, who asked at one time, held at another, and is
// about to release.
func (r *relay) note(i int, asked, held time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.locks++
	if r.begin.IsZero() {
		r.begin = held
	}
	within := held.Sub(r.begin) < r.d
	// Who starved until the run was over waited as well.
	r.longest = max(r.longest, held.Sub(asked))
	if within {
		r.served[i]++
	}
	// Who comes back to a lock before anybody else has got it hands nothing on.
	handed := !r.released.IsZero() && r.holder != i
	if handed && (within || len(r.took) == 0) {
		r.took = append(r.took, held.Sub(r.released))
		r.last = held
	}
	r.holder, r.released = i, time.Now()
}
