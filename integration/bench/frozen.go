package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead-go/fairlead/integration/bench/report"
	"github.com/fairlead-go/fairlead/integration/proxy"
)

// freeze freezes the networks of holders, and waits for their successors.
func freeze(ctx context.Context, t *team, _ time.Duration) (sample, error) {
	gaps := make([]time.Duration, pairsAtOnce)
	silence := make([]time.Duration, pairsAtOnce)
	g, ctx := errgroup.WithContext(ctx)
	for i := range gaps {
		g.Go(func() (err error) {
			for range 3 {
				gaps[i], silence[i], err = t.freezeOne(ctx, fmt.Sprintf("%s-%d-%d", t.name, i, time.Now().UnixNano()))
				if !errors.Is(err, errTooEarly) {
					break
				}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return sample{}, err
	}
	return sample{figures: map[report.Metric]float64{
		report.Gap:     report.Quantile(gaps, 0.50),
		report.GapMin:  slices.Min(gaps).Seconds(),
		report.Silence: report.Quantile(silence, 0.50),
	}}, nil
}

// errTooEarly says that a trial shows nothing: on a machine that does something else for a
// second or two, a lease may not last until the freeze.
var errTooEarly = errors.New("the lock was lost before the freeze")

// freezeOne returns the time from the holder's notice to the successor's grant, and from
// the freeze to it.
func (t *team) freezeOne(ctx context.Context, name string) (gap, silence time.Duration, err error) {
	net, err := proxy.Listen(t.server.endpoint())
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	behind := strings.Replace(t.server.addr(), t.server.endpoint(), net.Addr(), 1)
	h, err := t.subject.open(ctx, behind, t.store.expiring)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		net.Thaw(proxy.Both)
		_ = h.close(context.WithoutCancel(ctx)) // its lease is over, which some call an error
	}()
	m, err := h.contender(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	if err := m.lock(ctx); err != nil {
		return 0, 0, err
	}
	lost := make(chan time.Time, 1)
	go func(told <-chan struct{}) {
		<-told // at the latest when the client is closed
		lost <- time.Now()
	}(m.(loser).lost())

	next, err := t.subject.open(ctx, t.server.addr(), sessionTTL)
	if err != nil {
		return 0, 0, err
	}
	waiting, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		err = errors.Join(err, next.close(context.WithoutCancel(ctx)))
	}()
	granted := make(chan outcome, 1)
	if err := t.follow(waiting, next, name, granted); err != nil {
		return 0, 0, err
	}
	// At any moment between two renewals.
	time.Sleep(rand.N(t.store.expiring))
	if len(lost) > 0 {
		return 0, 0, errTooEarly
	}
	frozen := time.Now()
	net.Freeze(proxy.Both)
	grant := <-granted
	if grant.err != nil {
		return 0, 0, grant.err
	}
	select {
	case at := <-lost:
		return grant.at.Sub(at), grant.at.Sub(frozen), nil
	case <-time.After(closeTimeout):
		return 0, 0, errors.New("the holder was never told that it lost the lock")
	}
}
