package zk_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/proxy"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

const freezes = 25

// The heart of the matter: when the network of a holder falls silent, its grant
// ends before the next one begins. All runs share one ensemble and one clock.
func TestFrozenHolderSeesLossBeforeNextGrant(t *testing.T) {
	t.Parallel()
	for _, w := range []weather{
		{name: "RepliesOnTime", ttl: shortTTL, span: shortTTL / 2},
		{name: "RepliesLate", ttl: shortTTL, late: 500 * time.Millisecond, calm: 100 * time.Millisecond, span: 400 * time.Millisecond},
		// Here requests outlive the delay, so that the holder does get replies to
		// what it sent two seconds before, which is four times the margin.
		{name: "RepliesLateAndAccepted", ttl: 2 * shortTTL, late: 2 * time.Second, calm: 2200 * time.Millisecond, span: 800 * time.Millisecond},
	} {
		t.Run(w.name, func(t *testing.T) { w.run(t, at(t, calm)) })
	}
}

// A weather is what a holder goes through before its network freezes.
type weather struct {
	name string
	ttl  time.Duration // of the holder
	late time.Duration // how much later than sent the last replies arrive
	calm time.Duration // so long from then to the freeze, at least
	span time.Duration // and at most so much longer
}

func (w weather) run(t *testing.T, s *site) {
	gaps := make([]time.Duration, freezes)
	errs := make([]error, freezes)
	var wg sync.WaitGroup
	for i := range freezes {
		wg.Go(func() {
			for attempt := range 3 {
				gaps[i], errs[i] = w.freeze(bounded(t), s, fmt.Sprintf("%d-%d", i, attempt))
				if !errors.Is(errs[i], errTooEarly) {
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	slices.Sort(gaps)
	t.Logf("from loss seen to next grant, %d runs: min %v, median %v, max %v", freezes,
		gaps[0].Round(time.Millisecond), gaps[freezes/2].Round(time.Millisecond), gaps[freezes-1].Round(time.Millisecond))
	if early := slices.IndexFunc(gaps, func(d time.Duration) bool { return d > 0 }); early != 0 {
		t.Errorf("the next holder was granted before the old one saw its loss, in %d of %d runs: %v", early, freezes, gaps)
	}
}

// errTooEarly says that a run shows nothing: on a machine that does something
// else for a second or two, a lease of four may not last until the freeze.
var errTooEarly = errors.New("the grant was lost before the freeze")

// freeze lets a holder and a waiter meet on name, and freezes the holder's network
// for good, to all servers. It returns the time from the end of the holder's
// context to the waiter's grant.
func (w weather) freeze(ctx context.Context, s *site, name string) (gap time.Duration, err error) {
	net, err := s.listen()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, net.close()) }()
	holder, err := session.Open(ctx, s.url(net.servers()), w.holder())
	if err != nil {
		return 0, err
	}
	defer func() {
		net.each(func(p *proxy.Proxy) {
			p.Delay(proxy.Both, 0)
			p.Thaw(proxy.Both)
		})
		err = errors.Join(err, holder.Close(ctx))
	}()
	// A long TTL keeps what the waiter's own lease needs out of the experiment.
	waiter, err := session.Open(ctx, s.url(s.ConnectString()), options("waiter", longTTL))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, waiter.Close(ctx)) }()

	g, err := mutex.New(holder, name).Lock(ctx)
	if err != nil {
		return 0, err
	}
	lost := make(chan time.Time, 1)
	context.AfterFunc(g.Context(), func() { lost <- time.Now() })
	granted := begin(func() (time.Time, error) {
		g, err := mutex.New(waiter, name).Lock(ctx)
		at := time.Now()
		if err == nil {
			err = g.Release(ctx)
		}
		return at, err
	})
	if err := poll(ctx, func() error { return s.hasQueued(name, 2) }); err != nil {
		return 0, errors.Join(err, g.Check())
	}

	net.each(func(p *proxy.Proxy) { p.Delay(proxy.Down, w.late) })
	time.Sleep(w.calm + rand.N(w.span))
	if err := g.Check(); err != nil {
		return 0, fmt.Errorf("%w: %w", errTooEarly, err)
	}
	net.each(func(p *proxy.Proxy) {
		// Requests stop at once. Replies that are under way still arrive: nothing
		// but those can, as the servers hear no more.
		p.Freeze(proxy.Up)
		if w.late == 0 {
			p.Freeze(proxy.Down)
		}
	})

	<-granted.done
	if granted.err != nil {
		return 0, granted.err
	}
	select {
	case at := <-lost:
		if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrLost) {
			err = fmt.Errorf("the grant ended with cause %w, want ErrLost", cause)
		}
		return granted.v.Sub(at), err
	case <-ctx.Done():
		return 0, errors.New("the holder never saw its loss")
	}
}

// holder has the smallest margin that there is by default.
func (w weather) holder() *session.Options {
	o := options("holder", w.ttl)
	o.Margin = 500 * time.Millisecond
	return o
}
