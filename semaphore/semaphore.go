// Package semaphore provides a fair counting semaphore between processes.
//
//	m := semaphore.New(s, "reports/rendering", 8)
//	err := m.Do(ctx, 2, func(ctx context.Context) error { return render(ctx) })
//
// # GUARANTEES
//
// As the store sees it, when a turn comes the permits that are held weigh no more
// than the limit together. Whoever asks first is served first: one that asks for much is not
// overtaken by those behind that ask for little, and no permit stays idle while
// the first of those who wait fits. Each grant has a token of its own, in the
// order of asking.
//
// A release wakes one waiter, and its turn one more, whatever the limit and
// however many wait.
//
// The limit is the semaphore's, not the caller's: while anybody holds or waits,
// all have to name the same one, or get [session.ErrLimit]; [Semaphore.Resize]
// changes it. An idle semaphore takes the limit of whoever comes.
//
// # NOT GUARANTEED
//
// A holder that was stopped and goes on may act before it looks at its context:
// see [session.Grant]. One that is stopped, or whose process dies, in the moment
// between its turn and its entry's being marked as granted keeps those behind it
// from permits that it leaves free, until its lease has run out: as long as a TTL.
//
// # Algorithm
//
// Holders are the first of the queue, up to the limit. The first waiter watches
// all holders and the limit; everyone behind it only the nearest entry ahead that
// does not hold. A waiter whose turn has come marks its own entry as granted, off
// the path that returns to the caller; its follower, woken by that, is the first
// then. Who lowers the limit records, in the same step, up to which token permits
// are held, so that an entry without a mark is not taken for a waiter; before, it
// asks everybody who joins to mark its entry, so that it misses nobody.
//
// Watching only the entry that is one limit ahead, as some libraries do, misses
// the release of any other holder. The queue is modelled in queue.pml, which
// `make models` checks.
package semaphore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// Options of a semaphore. The zero value, and nil, mean the defaults.
type Options = watch.Options

// A Semaphore is a semaphore's name on a session, and the limit that its user
// believes it to have. Any number of goroutines may use one, or one each.
type Semaphore struct {
	s    *session.Session
	name string
	opts *Options

	resizing chan struct{} // holds one while the limit changes, at the store and then here
	limit    atomic.Int64
	resizes  atomic.Int64 // how often it was changed
}

// New returns the semaphore of that name, with a limit of at least 1. A bad name
// or limit is reported by its methods, before any I/O.
func New(s *session.Session, name string, limit int64) *Semaphore {
	return NewWith(s, name, limit, nil)
}

// NewWith is New with options.
func NewWith(s *session.Session, name string, limit int64, opts *Options) *Semaphore {
	m := &Semaphore{s: s, name: name, opts: opts.Copy(), resizing: make(chan struct{}, 1)}
	m.limit.Store(limit)
	return m
}

// Acquire blocks until permits of weight n are held, 1 to the limit. It is fair:
// first come, first served.
//
// ctx bounds the wait and nothing else: when it ends later, the grant stays. The
// wait also ends after MaxWait, with context.DeadlineExceeded; with
// session.ErrClosed; with session.ErrLimit where the semaphore is in use with
// another limit, or was resized to one below n; with session.ErrKind where the
// name is not a semaphore's; and on an error that trying again cannot heal. A
// failed Acquire leaves nothing in the queue. A lost reply does not make it fail.
// When the session's lease is lost meanwhile, it goes on at the end of the queue.
func (m *Semaphore) Acquire(ctx context.Context, n int64) (*session.Grant, error) {
	return m.acquire(ctx, "acquire semaphore", n, false)
}

// TryAcquire acquires if the permits are free and nobody waits. Otherwise the
// error Is session.ErrHeld, and errors.As with *session.Error tells the first of
// the holders. It does not queue, and delays nobody. It blocks only for the
// store's answer.
func (m *Semaphore) TryAcquire(ctx context.Context, n int64) (*session.Grant, error) {
	return m.acquire(ctx, "try to acquire semaphore", n, true)
}

// Do acquires, runs f and releases, also when f panics. The context of f ends
// with ctx, and when the permits are lost; session.GrantFrom has the grant. When
// they were lost, the error Is session.ErrLost, even if f returned nil.
func (m *Semaphore) Do(ctx context.Context, n int64, f func(ctx context.Context) error) error {
	g, err := m.Acquire(ctx, n)
	if err != nil {
		return err
	}
	return g.Do(ctx, f)
}

// acquire tries again where another limit turned out to be in use because this value
// was just being resized.
func (m *Semaphore) acquire(ctx context.Context, op string, n int64, try bool) (*session.Grant, error) {
	for {
		resizes, limit := m.resizes.Load(), m.limit.Load()
		if err := check(limit, n); err != nil {
			return nil, &session.Error{Op: op, Name: m.name, Err: err}
		}
		g, err := watch.Turn(ctx, m.s, m.opts.Claim(watch.Claim{
			Op: op, Kind: "semaphore", Name: m.name, Mode: driver.Permit, Limit: limit, Try: try, Private: true,
			Value: watch.PermitValue(n, false), Stamp: watch.PermitValue(n, true),
		}), watch.Permit)
		if !errors.Is(err, session.ErrLimit) || !m.resized(ctx, resizes) {
			return g, err
		}
	}
}

// resized waits until nobody changes the limit of this value, and reports whether
// that was done since.
func (m *Semaphore) resized(ctx context.Context, since int64) bool {
	select {
	case m.resizing <- struct{}{}:
		<-m.resizing
	case <-ctx.Done():
	}
	return m.resizes.Load() != since
}

func check(limit, n int64) error {
	switch {
	case limit < 1:
		return fmt.Errorf("the limit is %d, and has to be 1 at least", limit)
	case n < 1:
		return fmt.Errorf("%d permits are asked for, and have to be 1 at least", n)
	case n > limit:
		return fmt.Errorf("%w: it is %d, and %d is asked for", session.ErrLimit, limit, n)
	}
	return nil
}

// Resize changes the limit, to at least 1, for everybody. Who now fits is woken.
// Who holds goes on holding: below what is held, nothing is granted until enough
// was released. A waiter that asks for more than the new limit gets
// session.ErrLimit when it is the first in the queue. While the semaphore is idle
// the new limit is that of this value alone, and of whoever comes first.
//
// It blocks until the store has acknowledged it; when the reply is lost it asks
// again. It ends otherwise with ctx's error, with session.ErrClosed, with
// session.ErrKind, or with an error that trying again cannot heal.
func (m *Semaphore) Resize(ctx context.Context, limit int64) error {
	err := check(limit, 1)
	if err == nil {
		err = driver.CheckName(m.name)
	}
	if err == nil {
		err = m.resize(ctx, limit)
	}
	if err != nil {
		return &session.Error{Op: "resize semaphore", Name: m.name, Err: err}
	}
	return nil
}

func (m *Semaphore) resize(ctx context.Context, limit int64) error {
	select {
	case m.resizing <- struct{}{}:
		defer func() { <-m.resizing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := watch.SetLimit(ctx, m.s, m.name, limit); err != nil {
		return err
	}
	m.limit.Store(limit)
	m.resizes.Add(1)
	return nil
}
