// Package frozen is the experiment at the heart of the matter: when the network of a
// holder falls silent, its grant ends before the next one begins.
package frozen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/proxy"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

const (
	runs     = 25
	patience = 30 * time.Second

	// longTTL keeps what the waiter's own lease needs out of the experiment.
	longTTL = time.Minute

	// margin is the smallest that there is by default.
	margin = 500 * time.Millisecond
)

// A Store is what the experiment is made on.
type Store struct {
	Addrs []string                    // of the servers
	URL   func(addrs []string) string // of servers at these addresses
}

// A Weather is what a holder goes through before its network freezes.
type Weather struct {
	Name string
	TTL  time.Duration // of the holder
	Late time.Duration // how much later than sent the last replies arrive
	Calm time.Duration // so long from then to the freeze, at least
	Span time.Duration // and at most so much longer
}

// Run makes the experiment 25 times in each weather, beside one another: all runs share one
// store and one clock.
func Run(t *testing.T, st Store, weathers ...Weather) {
	for _, w := range weathers {
		t.Run(w.Name, func(t *testing.T) { w.run(t, st) })
	}
}

func (w Weather) run(t *testing.T, st Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	gaps := make([]time.Duration, runs)
	errs := make([]error, runs)
	var wg sync.WaitGroup
	for i := range runs {
		wg.Go(func() {
			for attempt := range 3 {
				limited, cancel := context.WithTimeout(ctx, patience)
				gaps[i], errs[i] = w.freeze(limited, st, fmt.Sprintf("frozen/%s/%d-%d", w.Name, i, attempt))
				cancel()
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
	t.Logf("from loss seen to next grant, %d runs: min %v, median %v, max %v", runs,
		gaps[0].Round(time.Millisecond), gaps[runs/2].Round(time.Millisecond), gaps[runs-1].Round(time.Millisecond))
	if early := slices.IndexFunc(gaps, func(d time.Duration) bool { return d > 0 }); early != 0 {
		t.Errorf("the next holder was granted before the old one saw its loss, in %d of %d runs: %v", early, runs, gaps)
	}
}

// errTooEarly says that a run shows nothing: on a machine that does something else for a
// second or two, a lease of four may not last until the freeze.
var errTooEarly = errors.New("the grant was lost before the freeze")

// freeze lets a holder and a waiter meet on name, and freezes the holder's network for
// good, to all servers. It returns the time from the end of the holder's context to the
// waiter's grant.
func (w Weather) freeze(ctx context.Context, st Store, name string) (gap time.Duration, err error) {
	net, err := listen(st.Addrs)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, net.close()) }()
	holder, err := session.Open(ctx, st.URL(net.addrs()), options("holder", w.TTL))
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
	waiter, err := session.Open(ctx, st.URL(st.Addrs), options("waiter", longTTL))
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
	granted := make(chan outcome, 1)
	waiting, stop := context.WithCancel(ctx)
	go func() { granted <- lock(waiting, waiter, name) }()
	defer func() { // before the waiter is closed
		stop()
		if err != nil {
			<-granted
		}
	}()
	if err := queued(ctx, waiter, name); err != nil {
		return 0, errors.Join(err, g.Check())
	}

	net.each(func(p *proxy.Proxy) { p.Delay(proxy.Down, w.Late) })
	time.Sleep(w.Calm + rand.N(w.Span))
	if err := g.Check(); err != nil {
		return 0, fmt.Errorf("%w: %w", errTooEarly, err)
	}
	net.each(func(p *proxy.Proxy) {
		// Requests stop at once. Replies that are under way still arrive: nothing but
		// those can, as the servers hear no more.
		p.Freeze(proxy.Up)
		if w.Late == 0 {
			p.Freeze(proxy.Down)
		}
	})
	next := <-granted
	granted <- next
	if next.err != nil {
		return 0, next.err
	}
	select {
	case at := <-lost:
		if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrLost) {
			err = fmt.Errorf("the grant ended with cause %w, want ErrLost", cause)
		}
		return next.at.Sub(at), err
	case <-ctx.Done():
		return 0, errors.New("the holder never saw its loss")
	}
}

// An outcome is when the waiter was granted the lock.
type outcome struct {
	at  time.Time
	err error
}

func lock(ctx context.Context, s *session.Session, name string) outcome {
	g, err := mutex.New(s, name).Lock(ctx)
	at := time.Now()
	if err == nil {
		err = g.Release(ctx)
	}
	return outcome{at, err}
}

// queued waits until holder and waiter are in the queue.
func queued(ctx context.Context, s *session.Session, name string) error {
	for {
		q, err := s.Store().Read(ctx, name, 0)
		if err == nil && len(q.Entries) == 2 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("queue %s never had 2 entries, but %d; %w", name, len(q.Entries), errors.Join(err, ctx.Err()))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// options are for a session whose warnings would only be noise: its network is broken on
// purpose.
func options(identity string, ttl time.Duration) *session.Options {
	o := &session.Options{Identity: identity, TTL: ttl, Logger: slog.New(slog.DiscardHandler)}
	if ttl < longTTL {
		o.Margin = margin
	}
	return o
}

// A network is the way from a client to each of the servers.
type network []*proxy.Proxy

func listen(addrs []string) (network, error) {
	var net network
	for _, addr := range addrs {
		p, err := proxy.Listen(addr)
		if err != nil {
			return nil, errors.Join(err, net.close())
		}
		net = append(net, p)
	}
	return net, nil
}

func (n network) each(f func(p *proxy.Proxy)) {
	for _, p := range n {
		f(p)
	}
}

func (n network) addrs() []string {
	var addrs []string
	for _, p := range n {
		addrs = append(addrs, p.Addr())
	}
	return addrs
}

func (n network) close() error {
	var errs []error
	for _, p := range n {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
