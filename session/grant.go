package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/internal/telemetry"
	"github.com/fairlead-go/fairlead/session/driver"
)

// A Grant is something held: a lock, a permit, a term of leadership. Its methods
// are safe for concurrent use.
//
//	         Release                 left the queue
//	held ───────────────▶ released ───────────────────▶ gone
//	 │ trust window closed, lease ended, entry removed, broken by somebody
//	 └──────────────────▶ lost
//
// In both cases the context is done first; only then can somebody else be next.
type Grant struct {
	p       *Place
	mode    driver.Mode
	ctx     context.Context
	cancel  context.CancelCauseFunc
	holding *telemetry.Holding
	updates chan struct{} // held by the one that updates the value
	given   sync.Once     // the owner has given it back
	held    gate          // until then
	running gate          // functions under Do; entered under mu

	onRelease func() // what Release calls first; nil: nothing

	mu        sync.Mutex
	pinned    bool  // never to be passed on
	cause     error // why it ended, nil while held
	exchanged bool  // the entry is another grant's now
}

// Grant turns the place into a grant: the rule said that it is its turn. That
// needs an open trust window under the lease that the entry was made with;
// without one the error is ErrDisplaced, or ErrClosed. The grant's context has
// the values of ctx.
func (p *Place) Grant(ctx context.Context) (*Grant, error) {
	return p.grantAs(ctx, p.claim.Mode)
}

// grantAs makes a grant of the given mode.
func (p *Place) grantAs(ctx context.Context, mode driver.Mode) (*Grant, error) {
	if err := p.t.trusted(); err != nil {
		return nil, p.displace(err)
	}
	what := telemetry.Subject{Kind: p.claim.Kind, Mode: string(mode), Name: p.claim.Name}
	inner, holding := p.t.s.tel.Hold(context.WithoutCancel(ctx), what, p.view.Me.Token)
	g := &Grant{p: p, mode: mode, holding: holding, updates: make(chan struct{}, 1)}
	inner, g.cancel = context.WithCancelCause(inner)
	g.ctx = context.WithValue(inner, grantKey{}, g)
	if err := p.register(g); err != nil {
		g.end(ErrReleased)
		return nil, err
	}
	return g, nil
}

// register makes the grant known to those who may have to end it. Once the
// tenure is over, or Close has begun, nothing is registered any more.
func (p *Place) register(g *Grant) error {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	switch {
	case p.displaced != nil:
		return p.displaced
	case p.t.over != nil:
		return p.t.displace(p.t.over)
	case p.t.s.ctx.Err() != nil:
		return ErrClosed
	}
	p.grant = g
	p.t.held.enter()
	g.held.enter()
	return nil
}

// giveBack records, once, that the owner has given the grant back.
func (g *Grant) giveBack() {
	g.given.Do(func() {
		g.held.exit()
		g.p.t.held.exit()
	})
}

type grantKey struct{}

// GrantFrom returns the innermost grant that ctx comes from: inside Do, RDo and
// Run the one that the function runs under.
func GrantFrom(ctx context.Context) (*Grant, bool) {
	g, ok := ctx.Value(grantKey{}).(*Grant)
	return g, ok
}

// Context carries the values of the acquiring context, but not its cancellation.
// It is done as soon as the grant is released or lost; context.Cause tells
// which: it Is ErrReleased, ErrLost or ErrClosed.
func (g *Grant) Context() context.Context { return g.ctx }

// Token is the fencing token: it is larger than that of every earlier grant of
// this name. Send it along with each write to what the lock protects, and let
// the receiver refuse a smaller one than it has seen. Grants that were passed on, as by
// a mutex with LocalHandoff, have one together.
func (g *Grant) Token() uint64 { return g.p.view.Me.Token }

// Name is what was acquired.
func (g *Grant) Name() string { return g.p.claim.Name }

// Kind is that of the primitive: "mutex", "election", "rwmutex" or "semaphore".
func (g *Grant) Kind() string { return g.p.claim.Kind }

// Mode tells beside whom the grant is held.
func (g *Grant) Mode() driver.Mode { return g.mode }

// Key is the entry's own name in the store.
func (g *Grant) Key() string { return g.p.view.Me.Key }

// Deadline returns the end of the trust window as known now, on this process's
// monotonic clock. Each renewal of the lease moves it.
func (g *Grant) Deadline() time.Time { return g.p.t.deadline() }

// Check returns nil while the trust window is open, without any I/O; then an
// error that Is ErrLost, or ErrReleased after a release, or ErrClosed after the
// session's Close, whichever came first. It notices at once
// that the process was stopped past the window. Between Check and the write
// that it guards the process may be stopped again: only the token covers that.
func (g *Grant) Check() error { return g.valid("check") }

// valid is Check for a call of another name.
func (g *Grant) valid(verb string) error {
	_ = g.p.t.trusted() // ends the grant when it is not
	if cause := g.ended(); cause != nil {
		return g.fail(verb, cause)
	}
	return nil
}

// Confirm asks the store, linearizably, whether the grant's entry is still
// there. It returns nil if so, an error that Is ErrLost if not, or what kept
// the store from answering.
func (g *Grant) Confirm(ctx context.Context) error {
	const verb = "confirm"
	if err := g.valid(verb); err != nil {
		return err
	}
	if err := g.p.verify(ctx); err != nil {
		if cause := g.ended(); cause != nil {
			err = cause
		}
		return g.fail(verb, err)
	}
	return nil
}

// Update replaces the value of the grant's entry, which others see. It returns
// when the store has acknowledged it; when the reply is lost it asks again. It
// ends with ctx's error, with one that Is ErrLost or ErrReleased when the grant
// ends, or with a permanent error of the store. After ctx's error the new value
// may or may not have been stored, but never undoes a later Update.
//
// The values of rwmutexes and semaphores are their own: there, Update fails.
func (g *Grant) Update(ctx context.Context, value string) error {
	if g.p.claim.Private {
		return g.fail("update", driver.Permanent(fmt.Errorf("the value of a %s's entry is not its owner's to replace", g.Kind())))
	}
	return g.update(ctx, value)
}

func (g *Grant) update(ctx context.Context, value string) error {
	if len(value) > driver.MaxValue {
		return g.fail("update", fmt.Errorf("the value has %d bytes, at most %d are allowed", len(value), driver.MaxValue))
	}
	select {
	case g.updates <- struct{}{}:
		defer func() { <-g.updates }()
	case <-ctx.Done():
		return g.fail("update", ctx.Err())
	}
	if err := g.valid("update"); err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	err := g.p.update(inner, value)
	switch {
	case err == nil:
		return nil
	case g.ended() != nil:
		err = g.ended()
	case ctx.Err() != nil:
		err = because(ctx, err)
	}
	return g.fail("update", err)
}

// Stamp replaces the value of the grant's entry in the background. It is for
// those who write primitives. Others wait for it, so it is tried until it has
// happened or the grant has ended, whatever the store says.
func (g *Grant) Stamp(value string) {
	g.p.t.s.background(func() {
		var pause pause
		for g.update(g.ctx, value) != nil {
			if pause.wait(g.ctx) != nil {
				return
			}
		}
	})
}

// Exchange ends the grant, with cause ErrReleased, and then gives the entry
// another value and mode, under which others may hold beside it. It returns
// another grant on the same entry, with the same token; the first one's Release
// does nothing any more.
//
// It ends with ctx's error, with one that Is ErrLost, ErrReleased or ErrClosed
// when the grant had ended, or with a permanent error of the store. Then nothing
// is held any more: the entry may or may not have been changed, and is removed.
// While a function runs under the grant, in Do, it fails and changes nothing: the
// function's context would end with the grant, and its entry be another's.
func (g *Grant) Exchange(ctx context.Context, mode driver.Mode, value string) (*Grant, error) {
	const verb = "downgrade"
	_ = g.p.t.trusted() // ends the grant when it is not
	ctx, cancel := g.apart(ctx)
	defer cancel()
	// First: once the store has the value, others may be let in.
	if err := g.passOn(nil); err != nil {
		return nil, g.fail(verb, err)
	}
	var next *Grant
	defer g.giveBack()
	defer func() {
		if next == nil { // also after a panic, of a tracer say
			g.p.depart()
		}
	}()
	g.report()
	err := g.p.update(ctx, value)
	if err == nil {
		next, err = g.p.grantAs(g.ctx, mode)
	}
	if err != nil {
		return nil, g.fail(verb, err)
	}
	return next, nil
}

// apart returns a context that does not end with the grant, if ctx is the grant's
// own or one made from it; then it ends at ctx's deadline alone.
func (g *Grant) apart(ctx context.Context) (context.Context, context.CancelFunc) {
	if own, ok := GrantFrom(ctx); !ok || own != g || ctx.Err() != nil {
		return ctx, func() {}
	}
	if d, ok := ctx.Deadline(); ok {
		return context.WithDeadline(context.WithoutCancel(ctx), d)
	}
	return context.WithoutCancel(ctx), func() {}
}

// errBusy is why a grant cannot be exchanged.
var errBusy = errors.New("a function runs under it, in Do: take the lock with Lock")

// Release gives up what is held. The grant's context ends first; then the entry
// is removed, so that the next in the queue gets its turn. Release returns when
// that is known to have happened, or when ctx ends: with ctx's error, while the
// removal goes on in the background, and Close waits for it. So it can be
// deferred with whatever context. While the store cannot be reached it gives up
// at the end of the trust window: the entry goes with the lease then.
//
// Release is idempotent. When the grant was lost before, or the lease before the
// store acknowledged the release, the error Is ErrLost.
func (g *Grant) Release(ctx context.Context) error {
	defer g.letGo() // as it is, but after a panic, of a tracer say
	_ = g.p.t.trusted()
	if g.onRelease != nil {
		g.onRelease()
	}
	g.end(ErrReleased)
	if g.passedOn() {
		return nil
	}
	g.giveBack()
	if cause := g.ended(); errors.Is(cause, ErrLost) {
		g.p.depart() // the lease may live on
		return g.fail("release", cause)
	}
	if err := g.p.Leave(ctx); err != nil {
		return g.fail("release", err)
	}
	return nil
}

// letGo sees to it that an entry which is no other grant's leaves.
func (g *Grant) letGo() {
	if g.passedOn() {
		return
	}
	g.conclude(ErrReleased)
	g.giveBack()
	g.p.depart()
}

// Do runs f and releases the grant when f returns or panics. The context of f
// ends when ctx does, and when the grant is lost; its values are those of Context, and at
// ctx's deadline its cause is DeadlineExceeded. When the grant was lost before
// its release, the error Is ErrLost, also if f returned nil; otherwise it is
// that of f.
func (g *Grant) Do(ctx context.Context, f func(ctx context.Context) error) (err error) {
	inner, stop, err := g.enter(ctx)
	if err != nil {
		_ = g.Release(ctx)
		return err
	}
	defer func() {
		stop()
		wait, cancel := withGrace(ctx, grace)
		defer cancel()
		_ = g.Release(wait) // what matters here is whether f ran to its end under the grant
		if cause := g.ended(); errors.Is(cause, ErrLost) {
			if err != nil {
				cause = fmt.Errorf("%w; the function returned: %w", cause, err)
			}
			err = g.fail("hold", cause)
		}
	}()
	return f(inner)
}

// enter registers a function that runs under the grant, so that neither Close
// nor the clean-up after a loss removes the entry under it.
func (g *Grant) enter(ctx context.Context) (inner context.Context, exit func(), err error) {
	t := g.p.t
	g.mu.Lock()
	if g.cause != nil {
		defer g.mu.Unlock()
		return nil, nil, g.fail("hold", g.cause)
	}
	g.running.enter()
	t.running.enter()
	t.s.running.enter()
	g.mu.Unlock()

	inner, release := g.within(ctx)
	return inner, func() {
		release()
		g.running.exit()
		t.running.exit()
		t.s.running.exit()
	}, nil
}

// within returns the grant's context, ended by ctx as well, with the error that ctx has.
func (g *Grant) within(ctx context.Context) (inner context.Context, release func()) {
	inner, cancel := context.WithCancelCause(g.ctx)
	timeout := func() {}
	d, limited := ctx.Deadline()
	if limited {
		inner, timeout = context.WithDeadline(inner, d)
	}
	end := func() {
		if limited && ctx.Err() == context.DeadlineExceeded && !time.Now().Before(d) {
			return // so does inner by itself; if it were canceled first, its error would be another
		}
		cancel(context.Cause(ctx))
	}
	if ctx.Err() != nil {
		end()
	}
	forget := context.AfterFunc(ctx, end)
	return inner, func() {
		forget()
		timeout()
		cancel(nil)
	}
}

// busy reports whether a function runs under the grant.
func (g *Grant) busy() bool {
	select {
	case <-g.running.idle():
		return false
	default:
		return true
	}
}

// end ends the grant, for the first cause given. When it returns, whoever calls
// it, the grant's context is done.
func (g *Grant) end(cause error) {
	if g.conclude(cause) {
		g.report()
	}
}

// conclude ends the grant, and returns false if it was ended already. The context
// is cancelled under the mutex, so that nobody who finds the grant ended goes
// on, to remove its entry say, while its context is not done yet.
func (g *Grant) conclude(cause error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cause != nil {
		return false
	}
	g.cause = cause
	g.cancel(cause)
	return true
}

// report records the end.
func (g *Grant) report() {
	if cause := g.ended(); errors.Is(cause, ErrLost) {
		g.holding.End(cause)
	} else {
		g.holding.End(nil)
	}
}

// passOn ends the grant as conclude does, and leaves its entry to another one. So
// of Exchange or Pass and Release, one is first, and the other knows; and of Pass and Pin.
// With an error for it, a grant that is pinned stays as it is.
func (g *Grant) passOn(ifPinned error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.cause != nil:
		return g.cause
	case g.busy():
		return errBusy
	case g.pinned && ifPinned != nil:
		return ifPinned
	}
	g.exchanged, g.cause = true, ErrReleased
	g.cancel(ErrReleased)
	return nil
}

// passedOn reports whether the entry is another grant's now.
func (g *Grant) passedOn() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.exchanged
}

// ended returns the cause of the grant's end, or nil.
func (g *Grant) ended() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cause
}

func (g *Grant) fail(verb string, err error) error {
	return &Error{Op: verb + " " + g.p.claim.Kind, Name: g.p.claim.Name, Token: g.Token(), Err: err}
}
