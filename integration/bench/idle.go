package main

import (
	"context"
	"errors"
	"time"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// idle keeps sessions for some TTLs.
func idle(ctx context.Context, t *team, d time.Duration) (sample, error) {
	const count, ttls = 32, 2
	ttl := t.store.expiring
	clients := make([]client, count)
	err := all(count, func(i int) (err error) {
		clients[i], err = t.subject.open(ctx, t.server.addr(), ttl)
		return err
	})
	defer func() {
		for _, c := range clients {
			if c != nil {
				_ = c.close(context.WithoutCancel(ctx))
			}
		}
	}()
	if err != nil {
		return sample{}, err
	}
	m, err := newMeter(ctx, t.server)
	if err != nil {
		return sample{}, err
	}
	if err := pass(ctx, ttls*ttl); err != nil {
		return sample{}, err
	}
	s := sample{figures: map[report.Metric]float64{}}
	if err := m.charge(ctx, s.figures, ttls*count); err != nil {
		return sample{}, err
	}
	if len(s.figures) == 0 {
		return sample{}, errors.New("this store does not count what it does")
	}
	return s, nil
}

// pass lets time pass: here that is what is measured.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
