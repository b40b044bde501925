package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-go/fairlead/internal/telemetry"
	"github.com/fairlead-go/fairlead/session/driver"
)

// closeGrace bounds what Close still tries when its context is done already.
const closeGrace = 2 * time.Second

// leaseInterval is the least time from one lease to the next.
const leaseInterval = 250 * time.Millisecond

// A Session is a lease in a store, kept alive, and what is held under it. One a
// process is the normal case: any number of locks share its lease. Its methods
// are safe for concurrent use.
type Session struct {
	store driver.Store
	opts  Options
	tel   *telemetry.Telemetry

	// ctx ends when Close begins: from then on nothing new is granted and no
	// wait goes on. life ends when Close has done what it could: background
	// work stops.
	ctx    context.Context
	cancel context.CancelCauseFunc
	life   context.Context
	stop   context.CancelFunc

	work     sync.WaitGroup // goroutines of ours, all of which end with life
	retiring gate           // lost leases that are still to be revoked
	running  gate           // functions under Do and Run

	mu      sync.Mutex
	tenure  *tenure       // nil while there is no lease
	changed chan struct{} // closed and replaced when tenure changes
	down    error         // why there is no lease
	stopped bool          // no further goroutine may start

	closing  atomic.Bool
	closed   chan struct{} // closed when Close is through
	closeErr error         // valid when closed is closed
}

// New makes a session on a connected store, which it owns from now on: Close
// closes it, and so does a failing New. Backends call it. ctx bounds New alone,
// which gives up after 10 s when ctx has no deadline.
func New(ctx context.Context, store driver.Store, opts *Options) (*Session, error) {
	s, err := open(ctx, store, opts)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return s, nil
}

func open(ctx context.Context, store driver.Store, opts *Options) (*Session, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	tel, err := telemetry.New(o.TracerProvider, o.MeterProvider, store.Backend(), o.Identity, o.MetricNames)
	if err != nil {
		return nil, err
	}
	s := &Session{store: store, opts: o, tel: tel, changed: make(chan struct{}), closed: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.life, s.stop = context.WithCancel(context.Background())
	ctx, cancel := withOpenTimeout(ctx)
	defer cancel()
	t, err := retryUntil(ctx, func() (*tenure, error) { return s.grant(ctx) })
	if err != nil {
		s.shut()
		return nil, fmt.Errorf("obtain a lease: %w", err)
	}
	s.begin(t)
	s.background(func() { s.run(t) })
	return s, nil
}

// grant obtains a lease that can be trusted, and starts to keep it alive.
func (s *Session) grant(ctx context.Context) (*tenure, error) {
	asleep := suspended()
	lease, sent, err := s.store.Grant(ctx, driver.Spec{TTL: s.opts.TTL, Identity: s.opts.Identity})
	if err != nil {
		return nil, err
	}
	t := newTenure(s, lease, window{end: sent, asleep: asleep})
	if !s.background(t.keep) {
		return nil, t.lose(ErrClosed)
	}
	select {
	case <-t.opened:
		return t, nil
	case <-t.ctx.Done():
	case <-ctx.Done():
	}
	err = t.lose(fmt.Errorf("the store takes too long to answer for a lease of %v, of which %v can be trusted: use a longer TTL",
		lease.TTL(), t.trust()))
	s.retire(t)
	return nil, err
}

// run takes another lease whenever the present one is lost, until Close; four a
// second at most, where leases are lost as soon as they are granted.
func (s *Session) run(t *tenure) {
	for {
		next := time.After(leaseInterval)
		<-t.kept
		if s.ctx.Err() != nil {
			return
		}
		s.opts.Logger.Warn("fairlead: the session's lease is lost, taking another",
			"backend", s.store.Backend(), "lease", t.lease.ID(), "cause", context.Cause(t.ctx))
		s.retire(t)
		select {
		case <-next:
		case <-s.ctx.Done():
			return
		}
		if t = s.renew(); t == nil {
			return
		}
		if !s.begin(t) {
			_ = t.lose(ErrClosed)
			s.retire(t)
			return
		}
	}
}

// begin makes t the present tenure, unless Close has begun.
func (s *Session) begin(t *tenure) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.tenure, s.down = t, nil
	s.announce()
	return true
}

// retire gives up a tenure that is over. Its lease may still be alive at the
// store, since trust ends before the lease does: it is revoked as soon as the
// owners of what was held have had the time to stop, so that nobody waits for
// leftovers of ours.
func (s *Session) retire(t *tenure) {
	s.mu.Lock()
	if s.tenure == t {
		s.tenure, s.down = nil, context.Cause(t.ctx)
		s.announce()
	}
	s.retiring.enter() // before Close, which takes s.mu, can find nothing to do
	s.mu.Unlock()
	started := s.background(func() {
		defer s.retiring.exit()
		if t.rest(s.life) {
			_ = retry(s.life, func() error { return t.lease.Revoke(s.life) })
		}
	})
	if !started {
		s.retiring.exit()
	}
}

// renew takes a new lease, trying until Close begins.
func (s *Session) renew() *tenure {
	var pause pause
	for {
		t, err := s.grant(s.ctx)
		if err == nil {
			return t
		}
		s.mu.Lock()
		s.down = err
		s.mu.Unlock()
		if pause.wait(s.ctx) != nil {
			return nil
		}
	}
}

// background runs f in a goroutine that Close waits for. It returns false, and
// does nothing, when Close is through.
func (s *Session) background(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.work.Go(f)
	return true
}

// announce wakes those who wait for a change of tenure. s.mu is held.
func (s *Session) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// present returns the present tenure, waiting for one when there is none.
func (s *Session) present(ctx context.Context) (*tenure, error) {
	for {
		s.mu.Lock()
		t, changed, down := s.tenure, s.changed, s.down
		s.mu.Unlock()
		switch {
		case s.ctx.Err() != nil:
			return nil, ErrClosed
		case t != nil && t.ctx.Err() == nil:
			return t, nil
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
		case <-ctx.Done():
			if down != nil {
				down = fmt.Errorf("the session has no lease: %v", down) // that one was lost is not this call's error
			}
			return nil, because(ctx, down)
		}
	}
}

// Identity is what others see as holder or waiter.
func (s *Session) Identity() string { return s.opts.Identity }

// Backend names the kind of store.
func (s *Session) Backend() string { return s.store.Backend() }

// TTL returns the time to live of the lease as the store granted it, which need
// not be what was asked for.
func (s *Session) TTL() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tenure != nil {
		return s.tenure.lease.TTL()
	}
	return s.opts.TTL
}

// Check asks the store whether the session's lease is alive. It returns nil
// when it is; an error that Is ErrLost when it is not, or when the session is
// just taking another; ErrClosed after Close; or what kept the store from
// answering.
func (s *Session) Check(ctx context.Context) error {
	s.mu.Lock()
	t, down := s.tenure, s.down
	s.mu.Unlock()
	if s.ctx.Err() != nil {
		return fmt.Errorf("check session: %w", ErrClosed)
	}
	if t == nil {
		return fmt.Errorf("check session: %w; no lease at present: %w", ErrLost, down)
	}
	err := t.trusted()
	if err == nil {
		err = t.lease.Check(ctx)
	}
	if errors.Is(err, driver.ErrLeaseGone) {
		err = t.lose(lost("the store does not know the lease any more"))
	}
	if err != nil {
		return fmt.Errorf("check session: %w", err)
	}
	return nil
}

// Context is done when Close begins, with cause ErrClosed.
func (s *Session) Context() context.Context { return s.ctx }

// Store returns the driver, for those who write primitives or backends.
func (s *Session) Store() driver.Store { return s.store }

// Logger gets warnings and errors.
func (s *Session) Logger() *slog.Logger { return s.opts.Logger }

// Telemetry records what primitives do with the session.
func (s *Session) Telemetry() *telemetry.Telemetry { return s.tel }

// Close ends the session. It cancels all grants, with cause ErrClosed, and all
// waits; waits for the functions under Do and Run until ctx ends; releases all
// that is held; and closes the connection. With a context that is done already
// it tries for up to 2 s. While the store cannot be reached it gives up after a
// TTL, as the lease has expired then.
//
// Where a function is still running when ctx ends, its entry is left to expire
// with the lease, as releasing it would start a second holder beside a running
// first, and Close says so. Close is idempotent: a further call waits for the
// first, as long as its own ctx allows, and returns its error.
func (s *Session) Close(ctx context.Context) error {
	ctx, cancel := withGrace(ctx, closeGrace)
	defer cancel()
	if s.closing.CompareAndSwap(false, true) {
		if err := s.close(ctx); err != nil {
			s.closeErr = fmt.Errorf("close session: %w", err)
		}
		close(s.closed)
		return s.closeErr
	}
	select {
	case <-s.closed:
		return s.closeErr
	case <-ctx.Done():
		return fmt.Errorf("close session: %w", ctx.Err())
	}
}

func (s *Session) close(ctx context.Context) error {
	s.cancel(ErrClosed)
	s.mu.Lock()
	t := s.tenure
	s.mu.Unlock()
	if t != nil {
		t.endGrants(ErrClosed)()
	}
	err := s.finish(ctx, t)
	if err == nil {
		err = s.release(ctx, t)
	}
	if t != nil {
		_ = t.lose(ErrClosed)
	}
	s.shut()
	return errors.Join(err, s.store.Close())
}

// finish waits for functions under Do and Run. Meanwhile, what is not held by one
// of them is given back.
func (s *Session) finish(ctx context.Context, t *tenure) error {
	select {
	case <-s.running.idle():
		return nil
	default:
	}
	var leaving []*Place
	if t != nil {
		leaving = t.vacate()
	}
	select {
	case <-s.running.idle():
		return nil
	case <-ctx.Done():
	}
	enough := time.NewTimer(closeGrace)
	defer enough.Stop()
leaving:
	for _, p := range leaving {
		select {
		case <-p.gone:
		case <-enough.C:
			break leaving
		}
	}
	return fmt.Errorf("%w while a function under Do or Run was still running: its entry is left to expire", ctx.Err())
}

// release ends the present lease, and waits until those before it are ended.
func (s *Session) release(ctx context.Context, t *tenure) error {
	limited, cancel := context.WithTimeout(ctx, s.TTL())
	defer cancel()
	if t != nil {
		t.closing.Store(true)
		if err := retry(limited, func() error { return t.lease.Revoke(limited) }); err != nil {
			if ctx.Err() != nil {
				err = because(ctx, err)
			}
			return fmt.Errorf("end the lease: %w", err)
		}
	}
	select {
	case <-s.retiring.idle():
	case <-limited.Done():
	}
	return nil
}

// withGrace returns ctx, or, where that is done already, one that allows for d.
func withGrace(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if ctx.Err() == nil {
		return ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}

// shut ends the background work.
func (s *Session) shut() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel(ErrClosed)
	s.stop()
	s.work.Wait()
}
