package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const closeTimeout = 10 * time.Second

// The metrics of a sample.
const (
	pairs    = "pairs/s"
	handoffs = "hand-offs/s"
	p50      = "p50"
	p99      = "p99"
	unlock99 = "unlock p99"
	unfair   = "most:least"
	longest  = "longest wait"
)

// A sample is what one run measured: times are in seconds.
type sample map[string]float64

// A workload is what contenders have to do.
type workload struct {
	name       string
	about      string
	contenders int
	run        func(ctx context.Context, t *team, d time.Duration) (sample, error)
}

func workloads() []workload {
	const about = "contenders with a session each, one name; p50 and p99 of release called to next held"
	return []workload{
		{"uncontended", "one goroutine locks and unlocks; p50 and p99 of a pair", 1, uncontended},
		{"handoff-2", "2 " + about, 2, handoff},
		{"handoff-16", "16 " + about, 16, handoff},
		{"handoff-128", "128 " + about, 128, handoff},
	}
}

// uncontended locks and unlocks in a loop.
func uncontended(ctx context.Context, t *team, d time.Duration) (sample, error) {
	var pair, unlock []time.Duration
	c := t.members[0]
	begin := time.Now()
	for time.Since(begin) < d {
		start := time.Now()
		if err := c.lock(ctx); err != nil {
			return nil, err
		}
		locked := time.Now()
		if err := c.unlock(ctx); err != nil {
			return nil, err
		}
		end := time.Now()
		pair = append(pair, end.Sub(start))
		unlock = append(unlock, end.Sub(locked))
	}
	return sample{
		pairs:    float64(len(pair)) / time.Since(begin).Seconds(),
		p50:      quantile(pair, 0.50),
		p99:      quantile(pair, 0.99),
		unlock99: quantile(unlock, 0.99),
	}, nil
}

// A relay is the record of a hand-off run. Only the holder writes to it; the
// mutex is for the case that exclusion is broken.
type relay struct {
	end     time.Time
	holders atomic.Int32 // to find out that it is broken

	mu       sync.Mutex
	holder   int             // the latest
	released time.Time       // when it called unlock
	took     []time.Duration // of each hand-off within the run
	served   []int           // per contender
	longest  time.Duration   // wait
}

var errNotExclusive = errors.New("two contenders held the lock at once")

// handoff lets all contenders lock and unlock the same name until the time is
// over, and then lets those who still wait have their turn, so that nothing of
// this run is left to disturb the next.
func handoff(ctx context.Context, t *team, d time.Duration) (sample, error) {
	r := &relay{end: time.Now().Add(d), served: make([]int, len(t.members))}
	errs := make([]error, len(t.members))
	var wg sync.WaitGroup
	for i, c := range t.members {
		wg.Go(func() {
			for errs[i] == nil && time.Now().Before(r.end) {
				errs[i] = r.leg(ctx, i, c)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(r.took) == 0 {
		return nil, errors.New("no hand-off was seen: choose a longer duration")
	}
	// A contender that was never served counts as one: the ratio is a lower bound then.
	return sample{
		handoffs: float64(len(r.took)) / d.Seconds(),
		p50:      quantile(r.took, 0.50),
		p99:      quantile(r.took, 0.99),
		unfair:   float64(slices.Max(r.served)) / float64(max(1, slices.Min(r.served))),
		longest:  r.longest.Seconds(),
	}, nil
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
	r.note(i, asked, held)
	r.holders.Add(-1)
	return c.unlock(ctx)
}

// note records that contender i, who asked at one time, held at another, and is
// about to release.
func (r *relay) note(i int, asked, held time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if held.Before(r.end) {
		r.served[i]++
		r.longest = max(r.longest, held.Sub(asked))
		// Who comes back to a lock before anybody else has got it hands nothing on.
		if !r.released.IsZero() && r.holder != i {
			r.took = append(r.took, held.Sub(r.released))
		}
	}
	r.holder, r.released = i, time.Now()
}

// quantile returns the q-quantile of ds, in seconds, and sorts them.
func quantile(ds []time.Duration, q float64) float64 {
	slices.Sort(ds)
	return ds[min(int(q*float64(len(ds))), len(ds)-1)].Seconds()
}
