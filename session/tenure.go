package session

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
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

	// ctx ends when the lease is over for us, after everybody who holds
	// something was told; its cause says why. serving ends just before, and
	// already when Close begins.
	ctx     context.Context
	cancel  context.CancelCauseFunc
	serving context.Context
	dismiss context.CancelCauseFunc

	closing atomic.Bool // Close ends the lease

	held    gate // grants whose owner has not released them
	running gate // functions under Do and Run

	opened chan struct{} // closed when the window opens, once
	kept   chan struct{} // closed when keep has returned
	marked chan struct{} // holds one when there may be marks that were not read

	mu     sync.Mutex
	over   error // why the lease is over for us; nothing is granted any more
	window window
	acked  renewals
	rtt    time.Duration // of the latest renewal
	places map[string]*Place
}

// newTenure makes a tenure; sent says when the lease's life began.
//
// Where the store takes long to answer, what is left of the first window would
// be over before the first renewal is answered. Then the window opens with that
// answer, when the next ones are on their way.
func newTenure(s *Session, lease driver.Lease, sent window) *tenure {
	t := &tenure{
		s: s, lease: lease, places: map[string]*Place{}, rtt: time.Since(sent.end),
		opened: make(chan struct{}), kept: make(chan struct{}), marked: make(chan struct{}, 1), acked: renewals{sent},
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
	close(t.opened)
}

func (t *tenure) isOpen() bool {
	select {
	case <-t.opened:
		return true
	default:
		return false
	}
}

// trusted returns nil while the trust window is open. When it finds it closed,
// everything held under the lease is lost, without a word from the store.
func (t *tenure) trusted() error {
	t.mu.Lock()
	left, over := t.window.left(), t.over
	t.mu.Unlock()
	if over == nil && left <= 0 {
		over = lost("the lease could not be renewed in time")
	}
	if over != nil {
		return t.lose(over)
	}
	return nil
}

// deadline returns the end of the trust window.
func (t *tenure) deadline() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.window.end.Add(-t.window.slept())
}

// lose ends the tenure and everything held under it, and returns the cause: the
// given one or, if it was over already, the first. When it returns, whoever calls
// it, the context of each grant is done.
//
// The order matters: nothing more is granted; then all grants end; and only then
// does ctx, whose end lets the session revoke the lease.
func (t *tenure) lose(cause error) error {
	t.mu.Lock()
	if t.closing.Load() {
		cause = ErrClosed // whoever noticed first that the lease has ended: it was us
	}
	if t.over == nil {
		t.over = cause
	}
	cause = t.over
	t.mu.Unlock()
	report := t.endGrants(cause)
	t.dismiss(cause)
	t.cancel(cause)
	report()
	return cause
}

// endGrants ends what is held. Telemetry, which may take its time, comes when
// everybody knows, with the function that it returns.
func (t *tenure) endGrants(cause error) (report func()) {
	t.mu.Lock()
	var grants []*Grant
	for _, p := range t.places {
		if p.grant != nil {
			grants = append(grants, p.grant)
		}
	}
	t.mu.Unlock()
	var ended []*Grant
	for _, g := range grants {
		if g.conclude(cause) {
			ended = append(ended, g)
		}
	}
	return func() {
		for _, g := range ended {
			g.report()
		}
	}
}

// keep renews the lease, and sees to it that trust ends in time, until the tenure
// is over.
//
// A renewal does not wait for the answer to the one before: with answers that
// take long, the next request has to be on its way in time.
func (t *tenure) keep() {
	defer close(t.kept)
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(t.watch)
	work.Go(t.audit)
	answers := make(chan error)
	renewal, expiry := time.NewTimer(t.interval()), time.NewTimer(0)
	defer renewal.Stop()
	defer expiry.Stop()
	var pause pause
	for underWay := 0; ; {
		select {
		case <-t.ctx.Done():
			return
		case <-expiry.C:
			expiry.Reset(t.untilExpiry())
		case <-renewal.C:
			renewal.Reset(t.interval())
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
				renewal.Reset(min(pause.next(), t.interval()))
			} else {
				pause.reset()
			}
		}
	}
}

// untilExpiry ends the tenure if the window has closed, and returns when to look
// again otherwise. That is a second at most, as no timer runs while the machine
// is suspended.
func (t *tenure) untilExpiry() time.Duration {
	if !t.isOpen() || t.trusted() != nil {
		return time.Second
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return min(max(t.window.left(), 0), time.Second)
}

// interval returns the time between renewals: a quarter of the window, or less
// where answers take so long that two attempts would not fit.
func (t *tenure) interval() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	trust := t.trust() - t.lease.Lag()
	return max(min(trust/4, (trust-t.rtt)/2), t.trust()/100)
}

// renew renews the lease once.
func (t *tenure) renew() error {
	sent := window{asleep: suspended(), end: time.Now()}
	err := t.lease.Renew(t.ctx)
	if !errors.Is(context.Cause(t.ctx), ErrClosed) {
		t.s.tel.Renewed(context.Background(), sent.end, err)
	}
	switch {
	case t.ctx.Err() != nil:
		return err
	case errors.Is(err, driver.ErrLeaseGone):
		return t.lose(lost("the store ended the lease"))
	case err == nil:
		return t.extend(sent)
	}
	return err
}

// extend moves the window after a renewal that was acknowledged. A window that
// has closed stays closed: somebody may have been told.
func (t *tenure) extend(sent window) error {
	t.mu.Lock()
	t.rtt = time.Since(sent.end)
	counts, ok := t.acked.proven(sent, t.lease.Lag())
	switch w := t.after(counts); {
	case !ok:
	case !t.isOpen():
		if w.left() > 0 {
			t.open(w)
		}
	case t.window.left() <= 0:
		t.mu.Unlock()
		return t.trusted()
	case w.end.After(t.window.end):
		t.window = w
	}
	t.mu.Unlock()
	return nil
}

// watch learns of an end of the lease that the store, or an operator, decided, and
// of marks.
func (t *tenure) watch() {
	var pause pause
	for {
		start := time.Now()
		err := t.lease.Watch(t.ctx, t.mark)
		if errors.Is(err, driver.ErrLeaseGone) {
			_ = t.lose(lost("the lease was ended at the store"))
		}
		if time.Since(start) > t.lease.TTL() {
			pause.reset()
		}
		if pause.wait(t.ctx) != nil {
			return
		}
	}
}

// audit reads what marks there are, when word of them comes, and now and then, as
// that may be lost, or the reading fail; then it also compares what is under the lease.
func (t *tenure) audit() {
	tick := time.NewTicker(t.lease.TTL() / 3)
	defer tick.Stop()
	for {
		select { // of two that are ready, this first
		case <-t.marked:
			_ = t.obey(t.ctx)
			continue
		default:
		}
		select {
		case <-t.ctx.Done():
			return
		case <-t.marked:
			_ = t.obey(t.ctx)
		case <-tick.C:
			_ = t.obey(t.ctx)
			t.compare()
		}
	}
}

// compare looks for differences between what the store has under the lease and what
// we believe. An entry of ours that is gone was removed by somebody else, and its
// owner must learn of it; an entry that we know nothing of is left over, from a
// request given up or a store that went back in time, and must not block others.
func (t *tenure) compare() {
	believed := t.settled()
	entries, err := t.lease.Entries(t.ctx)
	if err != nil {
		return
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
			_ = p.verify(t.ctx)
		}
	}
}

// settled returns the places whose entries are known to have been made, and not
// to be gone, the oldest first.
func (t *tenure) settled() []*Place {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ps []*Place
	for _, p := range t.places {
		if p.joined && p.displaced == nil {
			ps = append(ps, p)
		}
	}
	slices.SortFunc(ps, func(a, b *Place) int {
		return cmp.Or(cmp.Compare(a.me.Token, b.me.Token), cmp.Compare(a.claim.Name, b.claim.Name))
	})
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

// vacate starts to remove the entries of places under which no function runs.
func (t *tenure) vacate() []*Place {
	t.mu.Lock()
	var ps []*Place
	for _, p := range t.places {
		if p.grant == nil || !p.grant.busy() {
			ps = append(ps, p)
		}
	}
	t.mu.Unlock()
	for _, p := range ps {
		p.depart()
	}
	return ps
}

// rest waits until the owners of what was lost have stopped: those of grants
// have the margin for it, functions under Do and Run as long as they take. It
// returns false when ctx ends first.
func (t *tenure) rest(ctx context.Context) bool {
	margin := time.NewTimer(t.s.opts.margin(t.lease.TTL()))
	defer margin.Stop()
	select {
	case <-t.held.idle():
	case <-margin.C:
	case <-t.s.ctx.Done():
	}
	select {
	case <-t.running.idle():
		return true
	case <-ctx.Done():
		return false
	}
}

// retry calls f until it succeeds, the lease turns out to be gone, which is what
// f was to achieve, trying again is no use, or ctx ends.
func retry(ctx context.Context, f func() error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var pause pause
	for {
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
