package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// maxRenewals bounds the renewals under way at once.
const maxRenewals = 8

// A tenure is the life of one lease under a session: what the session knows of
// the lease, and the places that hang on it.
type tenure struct {
	s     *Session
	lease driver.Lease

	// ctx ends when the lease is over for us; its cause says why. serving ends
	// then too, and already when Close begins.
	ctx     context.Context
	cancel  context.CancelCauseFunc
	serving context.Context
	dismiss context.CancelCauseFunc

	running gate // functions under Do and Run on grants of this tenure

	opened chan struct{} // closed when the window opens, once
	kept   chan struct{} // closed when keep has returned

	mu     sync.Mutex
	window window
	rtt    time.Duration // of the latest renewal
	timer  *time.Timer   // fires when the window closes; nil before it opens
	places map[string]*Place
}

// A window is the time for which a lease may be trusted. It ends a margin before
// the store could expire the lease, counted from the moment at which the
// request that the store acknowledged was sent: the store cannot have begun to
// count any earlier. Counted from the receipt of the answer, it would overlap
// the next holder's by the time that the answer took.
type window struct {
	end    time.Time     // on the monotonic clock
	asleep time.Duration // suspended(), before the request was sent
}

// left returns how long the window stays open; it is closed when that is not
// positive.
func (w window) left() time.Duration {
	return time.Until(w.end) - max(0, suspended()-w.asleep)
}

// newTenure makes a tenure; sent says when the lease's life began.
//
// Where the store takes long to answer, what is left of the first window would
// be over before the first renewal is answered. Then the window opens with that
// answer, when the next ones are on their way.
func newTenure(s *Session, lease driver.Lease, sent window) *tenure {
	t := &tenure{
		s: s, lease: lease, places: map[string]*Place{}, rtt: time.Since(sent.end),
		opened: make(chan struct{}), kept: make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	t.serving, t.dismiss = context.WithCancelCause(s.ctx)
	if w := t.after(sent); w.left() > 2*t.rtt {
		t.open(w)
	}
	return t
}

// trust returns how long a window is.
func (t *tenure) trust() time.Duration {
	ttl := t.lease.TTL()
	return ttl - t.s.opts.margin(ttl)
}

// after returns the window that an acknowledged request opens.
func (t *tenure) after(sent window) window {
	return window{end: sent.end.Add(t.trust()), asleep: sent.asleep}
}

// open opens the window for the first time. t.mu is held, or t is not shared yet.
func (t *tenure) open(w window) {
	t.window = w
	t.timer = time.AfterFunc(w.left(), t.expire)
	close(t.opened)
}

// expire runs when the window may have closed.
func (t *tenure) expire() {
	if t.trusted() != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer.Reset(t.window.left())
}

// trusted returns nil while the trust window is open. When it finds it closed,
// everything held under the lease is lost, without a word from the store.
func (t *tenure) trusted() error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	t.mu.Lock()
	left := t.window.left()
	t.mu.Unlock()
	if left <= 0 {
		return t.lose(lost("the lease could not be renewed in time"))
	}
	return nil
}

// deadline returns the end of the trust window.
func (t *tenure) deadline() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.window.end.Add(-max(0, suspended()-t.window.asleep))
}

// lose ends the tenure and everything held under it, and returns the cause: the
// given one or, if it was over already, the first.
func (t *tenure) lose(cause error) error {
	t.cancel(cause)
	cause = context.Cause(t.ctx)
	t.dismiss(cause)
	t.endGrants(cause)
	return cause
}

// endGrants ends what is held. A grant that is being made either sees that the
// tenure is over or is registered in time to be found here.
func (t *tenure) endGrants(cause error) {
	t.mu.Lock()
	var grants []*Grant
	for _, p := range t.places {
		if p.grant != nil {
			grants = append(grants, p.grant)
		}
	}
	t.mu.Unlock()
	for _, g := range grants {
		g.end(cause)
	}
}

// keep renews the lease until the tenure is over.
//
// A renewal does not wait for the answer to the one before: with answers that
// take long, the next request has to be on its way in time.
func (t *tenure) keep() {
	defer close(t.kept)
	var work sync.WaitGroup
	defer work.Wait()
	defer t.stopTimer()
	work.Go(t.watch)
	work.Go(t.audit)
	answers := make(chan error)
	timer := time.NewTimer(t.interval())
	defer timer.Stop()
	pause := newPause()
	for underWay := 0; ; {
		select {
		case <-t.ctx.Done():
			return
		case <-timer.C:
			timer.Reset(t.interval())
			if underWay == maxRenewals {
				continue
			}
			underWay++
			work.Go(func() {
				err := t.renew()
				select {
				case answers <- err:
				case <-t.ctx.Done():
				}
			})
		case err := <-answers:
			underWay--
			if err != nil {
				timer.Reset(min(pause.NextBackOff(), t.interval()))
			} else {
				pause.Reset()
			}
		}
	}
}

func (t *tenure) stopTimer() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
}

// interval returns the time between renewals: a quarter of the window, or less
// where answers take so long that two attempts would not fit.
func (t *tenure) interval() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(min(t.trust()/4, (t.trust()-t.rtt)/2), t.trust()/100)
}

// renew renews the lease once.
func (t *tenure) renew() error {
	sent := window{asleep: suspended(), end: time.Now()}
	err := t.lease.Renew(t.ctx)
	if t.ctx.Err() != nil {
		return err
	}
	t.s.tel.Renewed(t.ctx, sent.end, err)
	if errors.Is(err, driver.ErrLeaseGone) {
		return t.lose(lost("the store ended the lease"))
	}
	if err != nil {
		return err
	}
	return t.extend(sent)
}

// extend moves the window after a renewal that was acknowledged. A window that
// has closed stays closed: somebody may have been told.
func (t *tenure) extend(sent window) error {
	select {
	case <-t.opened:
		if err := t.trusted(); err != nil {
			return err
		}
	default:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rtt = time.Since(sent.end)
	w := t.after(sent)
	switch {
	case t.timer == nil && w.left() > 0:
		t.open(w)
	case t.timer != nil && w.end.After(t.window.end):
		t.window = w
		t.timer.Reset(w.left())
	}
	return nil
}

// watch learns of an end of the lease that the store, or an operator, decided.
func (t *tenure) watch() {
	for pause := newPause(); ; {
		err := t.lease.Watch(t.ctx)
		if errors.Is(err, driver.ErrLeaseGone) {
			_ = t.lose(lost("the lease was ended at the store"))
		}
		if pause.wait(t.ctx) != nil {
			return
		}
	}
}

// audit compares, now and then, what the store has under the lease with what we
// believe. An entry of ours that is gone was removed by somebody else, and its
// owner must learn of it; an entry that we know nothing of is left over, from a
// request given up or a store that went back in time, and must not block others.
func (t *tenure) audit() {
	tick := time.NewTicker(t.lease.TTL() / 3)
	defer tick.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-tick.C:
		}
		believed := t.settled()
		entries, err := t.lease.Entries(t.ctx)
		if err != nil {
			continue
		}
		found := make(map[string]bool, len(entries))
		for _, e := range entries {
			found[e.ID] = true
			// Places are registered before their request is sent, so this
			// entry is not one that is just being made.
			if e.ID != "" && t.place(e.ID) == nil {
				_ = t.lease.Leave(t.ctx, e)
			}
		}
		for _, p := range believed {
			if !found[p.claim.ID] {
				p.verify(t.ctx)
			}
		}
	}
}

// settled returns the places whose entries are known to have been made.
func (t *tenure) settled() []*Place {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ps []*Place
	for _, p := range t.places {
		if p.joined {
			ps = append(ps, p)
		}
	}
	return ps
}

func (t *tenure) place(id string) *Place {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.places[id]
}

func (t *tenure) add(p *Place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.places[p.claim.ID] = p
}

func (t *tenure) remove(p *Place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.places, p.claim.ID)
}

// close gives everything back, as far as ctx allows. Under a function that is
// still running the entry stays, and so must the lease.
func (t *tenure) close(ctx context.Context) error {
	defer func() { _ = t.lose(ErrClosed) }()
	select {
	case <-t.running.idle():
		return t.revoke(ctx)
	default:
	}
	t.mu.Lock()
	var leaving []*Place
	for _, p := range t.places {
		if p.grant == nil || !p.grant.busy() {
			leaving = append(leaving, p)
		}
	}
	t.mu.Unlock()
	for _, p := range leaving {
		p.depart()
	}
	for _, p := range leaving {
		select {
		case <-p.gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// revoke ends the lease. It gives up when by its own clock the lease must have
// expired, as nothing is left to do then.
func (t *tenure) revoke(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, t.deadline().Add(t.lease.TTL()))
	defer cancel()
	return retry(ctx, func() error { return t.lease.Revoke(ctx) })
}

// retry calls f until it succeeds, the lease turns out to be gone, which is what
// f was to achieve, trying again is no use, or ctx ends.
func retry(ctx context.Context, f func() error) error {
	for pause := newPause(); ; {
		err := f()
		switch {
		case err == nil, errors.Is(err, driver.ErrLeaseGone):
			return nil
		case driver.IsPermanent(err):
			return err
		}
		if pause.wait(ctx) != nil {
			return err
		}
	}
}
