package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/internal/telemetry"
	"github.com/fairlead-go/fairlead/session/driver"
)

// closeGrace bounds what Close still tries when its context is done already.
const closeGrace = 2 * time.Second

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

	closing  sync.Once
	closeErr error
}

// New makes a session on a connected store, which it owns from now on: Close
// closes it, and so does a failing New. Backends call it; ctx bounds New alone.
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
	s := &Session{store: store, opts: o, tel: tel, changed: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.life, s.stop = context.WithCancel(context.Background())
	t, err := retryUntil(ctx, func() (*tenure, error) { return s.grant(ctx) })
	if err != nil {
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
		return nil, ErrClosed
	}
	select {
	case <-t.opened:
		return t, nil
	case <-t.ctx.Done():
	case <-ctx.Done():
	}
	err = t.lose(fmt.Errorf("the store takes too long to answer for a lease of %v, of which %v can be trusted: use a longer TTL",
		lease.TTL(), t.trust()))
	<-t.kept
	return nil, err
}

// run takes another lease whenever the present one is lost, until Close.
func (s *Session) run(t *tenure) {
	for {
		<-t.kept
		if s.ctx.Err() != nil {
			return
		}
		s.opts.Logger.Warn("fairlead: the session's lease is lost, taking another",
			"backend", s.store.Backend(), "lease", t.lease.ID(), "cause", context.Cause(t.ctx))
		s.retire(t)
		if t = s.renew(); t == nil {
			return
		}
		if !s.begin(t) {
			ctx, cancel := context.WithTimeout(s.life, closeGrace)
			defer cancel()
			_ = t.lease.Revoke(ctx)
			_ = t.lose(ErrClosed)
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

// retire gives up a lost tenure. Its lease may still be alive at the store, since
// trust ends before the lease does: it is revoked as soon as no function runs
// under it any more, so that nobody waits for leftovers of ours.
func (s *Session) retire(t *tenure) {
	s.mu.Lock()
	s.tenure, s.down = nil, context.Cause(t.ctx)
	s.announce()
	s.mu.Unlock()
	s.retiring.enter()
	s.background(func() {
		defer s.retiring.exit()
		select {
		case <-t.running.idle():
			_ = retry(s.life, func() error { return t.lease.Revoke(s.life) })
		case <-s.life.Done(): // left to expire
		}
	})
}

// renew takes a new lease, trying until Close begins.
func (s *Session) renew() *tenure {
	for pause := newPause(); ; {
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
				down = fmt.Errorf("the session has no lease: %w", down)
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
	err := t.lease.Check(ctx)
	if errors.Is(err, driver.ErrLeaseGone) {
		err = t.lose(lost("the store does not know the lease any more"))
	}
	if err != nil {
		return fmt.Errorf("check session: %w", err)
	}
	return nil
}

// Done is closed when Close begins.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// Store returns the driver, for those who write primitives or backends.
func (s *Session) Store() driver.Store { return s.store }

// Logger gets warnings and errors.
func (s *Session) Logger() *slog.Logger { return s.opts.Logger }

// Telemetry records what primitives do with the session.
func (s *Session) Telemetry() *telemetry.Telemetry { return s.tel }

// Close ends the session. It cancels all grants, with cause ErrClosed, and all
// waits; waits for the functions under Do and Run until ctx ends; releases all
// that is held; and closes the connection. With a context that is done already
// it still tries for up to 2 s.
//
// Where a function is still running when ctx ends, its entry is left to expire
// with the lease, as releasing it would start a second holder beside a running
// first, and Close says so. Close is idempotent: a further call waits for the
// first and returns its error.
func (s *Session) Close(ctx context.Context) error {
	s.closing.Do(func() { s.close(ctx) }) // a further call waits here
	return s.closeErr
}

func (s *Session) close(ctx context.Context) {
	s.cancel(ErrClosed)
	s.mu.Lock()
	t := s.tenure
	s.mu.Unlock()
	if t != nil {
		t.endGrants(ErrClosed)
	}
	idle := true
	select {
	case <-s.running.idle():
	case <-ctx.Done():
		select {
		case <-s.running.idle():
		default:
			idle = false
		}
	}
	ctx, cancel := withGrace(ctx, closeGrace)
	defer cancel()
	var err error
	if t != nil {
		err = t.close(ctx)
	}
	if idle {
		select {
		case <-s.retiring.idle():
		case <-ctx.Done():
		}
	} else {
		err = errors.Join(err, errors.New("a function under Do or Run is still running: its entry is left to expire"))
	}
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.stop()
	s.work.Wait()
	if err = errors.Join(err, s.store.Close()); err != nil {
		s.closeErr = fmt.Errorf("close session: %w", err)
	}
}

// withGrace returns a context that ends d after ctx does, with ctx's values.
func withGrace(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-late.Done():
		}
	})
	return late, func() { stop(); cancel() }
}
