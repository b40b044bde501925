package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// grace is how long a call whose context is done waits for the removal of its
// entry before it leaves that to the background.
const grace = 200 * time.Millisecond

// ErrDisplaced is the error of a Place that no longer stands in the queue: its
// lease was lost, or somebody removed its entry. Who still wants a turn joins
// again, at the end.
var ErrDisplaced = errors.New("no longer in the queue")

// A Place is one entry of a session in a queue. It is the kernel that the
// primitives are made of: join, look who is ahead, await a change there, and in
// the end turn the place into a [Grant] or leave. One goroutine uses a Place.
type Place struct {
	t     *tenure
	claim driver.Claim

	view driver.View // of the goroutine that uses the place

	// Guarded by t.mu.
	me        driver.Entry // as last seen
	joined    bool         // the entry is known to have been made
	grant     *Grant       // once it was the place's turn: the latest
	displaced error        // somebody removed the entry, or broke it: then a *Broken
	wake      context.CancelCauseFunc

	leaving atomic.Bool   // somebody sees to the removal of the entry
	gone    chan struct{} // closed when the entry is known to be gone, or given up
	err     error         // valid when gone is closed
}

// Join appends an entry to the queue c.Name and returns the place; the ID is
// chosen here. It waits for a lease while the session has none, and tries again
// after temporary trouble.
//
// It ends with the place, with ctx's error, with ErrClosed, with a permanent
// error of the store, with a driver.LimitError, or with a driver.Refused if
// c.Admit said so. When the
// reply to the request is lost, Join finds out whether the entry was made, and
// adopts it or makes sure that it never appears. Where Join fails, what it may
// have left in the store is removed, in the background if need be.
func (s *Session) Join(ctx context.Context, c driver.Claim) (*Place, error) {
	var pause pause
	var trouble error // the latest that is not ctx's end
	for {
		if ctx.Err() != nil {
			return nil, because(ctx, trouble)
		}
		t, err := s.present(ctx)
		if err != nil {
			return nil, err
		}
		p, err := t.join(ctx, c)
		if err != nil && !errors.Is(err, ctx.Err()) || trouble == nil {
			trouble = err
		}
		switch {
		case err == nil:
			return p, nil
		case ctx.Err() != nil:
			return nil, because(ctx, trouble)
		case s.ctx.Err() != nil: // whatever the error, that is why
			return nil, ErrClosed
		case isRefusal(err), driver.IsPermanent(err):
			return nil, err
		}
		// Whether Close began, or only this lease ended, present will tell.
		if err := pause.wait(ctx); err != nil {
			return nil, because(ctx, trouble)
		}
	}
}

// isRefusal reports whether a Join failed because of what is in the queue: then it
// has left nothing there.
func isRefusal(err error) bool {
	_, limit := errors.AsType[*driver.LimitError](err)
	return limit || errors.Is(err, driver.ErrRefused)
}

// join makes one attempt under this lease.
func (t *tenure) join(ctx context.Context, c driver.Claim) (*Place, error) {
	ctx, cancel := t.during(ctx)
	defer cancel(nil)
	c.ID = newID()
	p := &Place{t: t, claim: c, gone: make(chan struct{})}
	t.add(p)
	returns := false
	defer func() {
		if !returns { // Admit has panicked, say, which some drivers ask when the entry is made
			p.depart()
		}
	}()
	err := p.occupy(ctx)
	returns = true
	if err != nil {
		return nil, err
	}
	return p, nil
}

// occupy makes the place's entry.
func (p *Place) occupy(ctx context.Context) error {
	v, err := p.t.lease.Join(ctx, p.claim)
	if isRefusal(err) {
		p.t.remove(p)
		return err
	}
	if err == nil {
		p.take(v)
		return nil
	}
	// The outcome is unknown, even if the store gave an answer.
	v, lookErr := p.t.resolve(ctx, p.claim)
	switch {
	case lookErr == nil:
		v.Followed = true // it is later than the entry
		p.take(v)
		return nil
	case errors.Is(lookErr, driver.ErrEntryGone):
		p.t.remove(p)
	default:
		p.Abandon()
	}
	return err
}

// resolve settles a Join of unknown outcome, trying until it knows, as in
// driver.Lease.Resolve.
func (t *tenure) resolve(ctx context.Context, c driver.Claim) (driver.View, error) {
	var pause pause
	for {
		v, err := t.lease.Resolve(ctx, c)
		switch {
		case err == nil, errors.Is(err, driver.ErrEntryGone), driver.IsPermanent(err):
			return v, err
		case errors.Is(err, driver.ErrLeaseGone):
			return v, t.lose(lost("the store does not know the lease any more"))
		}
		if pause.wait(ctx) != nil {
			return v, err
		}
	}
}

// during returns a context that ends with ctx, and when the tenure stops serving.
func (t *tenure) during(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(t.serving, func() { cancel(context.Cause(t.serving)) })
	return ctx, func(err error) { stop(); cancel(err) }
}

// take records a view from the entry, which exists.
func (p *Place) take(v driver.View) {
	p.view = v
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	p.me, p.joined = v.Me, true
}

// View is the queue as last seen from the place.
func (p *Place) View() driver.View { return p.view }

// Await blocks until one of the obstacles, which the view shows, has left or has
// changed, and takes a new view then. It ends otherwise only with ctx's error,
// with ErrDisplaced, with a *Broken, with ErrClosed, or with a permanent error of the store:
// after any other trouble it looks again, and waits on.
func (p *Place) Await(ctx context.Context, on driver.Obstacles) error {
	inner, cancel := p.t.during(ctx)
	defer cancel(nil)
	if err := p.interruptible(cancel); err != nil {
		return err
	}
	defer func() { _ = p.interruptible(nil) }()
	wait := func() (driver.View, error) { return p.t.lease.Wait(inner, p.view, on) }
	var pause pause
	for {
		v, err := wait()
		if err == nil {
			p.take(v)
			return nil
		}
		if stop := p.ended(ctx, inner, err); stop != nil {
			return stop
		}
		if pause.wait(inner) != nil {
			return p.ended(ctx, inner, err)
		}
		wait = func() (driver.View, error) { return p.t.lease.Look(inner, p.view.Me) }
	}
}

// interruptible lets somebody who learns that the entry is gone end the wait.
func (p *Place) interruptible(wake context.CancelCauseFunc) error {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	p.wake = wake
	return p.displaced
}

// ended returns the error to end a wait with after err, or nil to go on.
func (p *Place) ended(ctx, inner context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, driver.ErrLeaseGone):
		return p.displace(p.t.lose(lost("the store does not know the lease any more")))
	case p.t.serving.Err() != nil: // which inner may not have heard of yet
		return p.displace(context.Cause(p.t.serving))
	case inner.Err() != nil:
		return p.displace(context.Cause(inner))
	case errors.Is(err, driver.ErrEntryGone):
		return p.vanish()
	case driver.IsPermanent(err):
		return err
	}
	return nil
}

// displace returns the error of a place that ended for the cause: what was broken
// is to stay so, also when the lease is lost just then.
func (p *Place) displace(cause error) error {
	if displaced := p.gaveUp(); displaced != nil {
		return displaced
	}
	return p.t.displace(cause)
}

// gaveUp returns why the place ended though its lease did not, or nil.
func (p *Place) gaveUp() error {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	return p.displaced
}

// displace wraps the cause of a place's end, unless the session was closed.
func (t *tenure) displace(cause error) error {
	if t.s.ctx.Err() != nil {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrDisplaced, cause)
}

// vanish records that somebody else removed the entry. Who did it with Break has left
// word in the same step, which is looked for, for a moment: the successor may run
// already, and did so before anybody here could know.
func (p *Place) vanish() error {
	if err := p.gaveUp(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(p.t.ctx, grace)
	defer cancel()
	_ = p.t.obey(ctx)
	cause := lost("the entry was removed by somebody else")
	p.t.mu.Lock()
	if p.displaced == nil {
		p.displaced = fmt.Errorf("%w: %w", ErrDisplaced, cause)
	}
	displaced, g, wake := p.displaced, p.grant, p.wake
	p.t.mu.Unlock()
	if g != nil {
		g.end(cause)
	}
	if wake != nil {
		wake(displaced)
	}
	return displaced
}

// verify asks the store whether the entry is still there.
func (p *Place) verify(ctx context.Context) error {
	_, err := p.t.lease.Look(ctx, p.entry())
	switch {
	case errors.Is(err, driver.ErrEntryGone):
		_ = p.vanish()
		return lost("the entry was removed by somebody else")
	case errors.Is(err, driver.ErrLeaseGone):
		return p.t.lose(lost("the store does not know the lease any more"))
	}
	return err
}

// entry returns the entry as last seen.
func (p *Place) entry() driver.Entry {
	e, _ := p.made()
	return e
}

// made returns the entry as last seen, and whether it is known to have been made.
func (p *Place) made() (driver.Entry, bool) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	return p.me, p.joined
}

// update replaces the entry's value, trying until the outcome is known. It ends
// when ctx does; what became of the value is unknown then, but it never undoes a
// later update.
func (p *Place) update(ctx context.Context, value string) error {
	var pause pause
	for {
		if err := p.t.trusted(); err != nil {
			return err
		}
		e, err := p.t.lease.Update(ctx, p.entry(), value)
		switch {
		case err == nil:
			p.t.mu.Lock()
			p.me = e
			p.t.mu.Unlock()
			return nil
		case errors.Is(err, driver.ErrEntryGone):
			return p.vanish()
		case errors.Is(err, driver.ErrLeaseGone):
			return p.t.lose(lost("the store does not know the lease any more"))
		case p.t.s.ctx.Err() != nil:
			return ErrClosed
		case driver.IsPermanent(err):
			return err
		}
		if pause.wait(ctx) != nil {
			return because(ctx, err)
		}
	}
}

// Leave removes the place's entry. It returns when the entry is known to be gone
// or when ctx ends; the removal goes on in the background then.
func (p *Place) Leave(ctx context.Context) error {
	if p.leaving.CompareAndSwap(false, true) {
		// Most often the first attempt does it, and needs no goroutine.
		if p.removeNow(ctx) {
			p.left(nil)
		} else {
			p.removeLater()
		}
	}
	select {
	case <-p.gone:
		return p.err
	default:
	}
	select {
	case <-p.gone:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Abandon starts to remove the entry of a place whose owner has given up, and
// gives the store a moment: usually the entry is gone when Abandon returns.
func (p *Place) Abandon() {
	p.depart()
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.gone:
	case <-t.C:
	}
}

// depart starts the removal of the entry, unless somebody has.
func (p *Place) depart() {
	if p.leaving.CompareAndSwap(false, true) {
		p.removeLater()
	}
}

// removeNow makes one attempt at the removal, and tells whether it succeeded.
func (p *Place) removeNow(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	if ctx.Done() == nil {
		return p.withdraw(p.t.ctx) == nil
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.t.ctx, cancel)()
	return p.withdraw(inner) == nil
}

// removeLater removes the entry in the background. It is tried until it is known
// to have happened; when the tenure ends before, the entry goes with the lease.
func (p *Place) removeLater() {
	started := p.t.s.background(func() {
		err := retry(p.t.ctx, func() error { return p.withdraw(p.t.ctx) })
		switch {
		case err == nil:
		case errors.Is(context.Cause(p.t.ctx), ErrClosed):
			err = nil // Close has ended the lease, or says itself that it could not
		case p.t.ctx.Err() != nil:
			err = fmt.Errorf("%w, before the store acknowledged the removal of the entry", context.Cause(p.t.ctx))
		}
		p.left(err)
	})
	if !started {
		p.left(nil)
	}
}

// withdraw tries once to remove the entry, which may not have been made.
func (p *Place) withdraw(ctx context.Context) error {
	if e, joined := p.made(); joined {
		return p.t.lease.Leave(ctx, e)
	}
	return p.t.lease.Withdraw(ctx, p.claim)
}

// left ends the place. It is called once, by whoever saw to the removal.
func (p *Place) left(err error) {
	p.err = err
	p.t.remove(p)
	close(p.gone)
}

// newID returns 128 random bits in hex.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
