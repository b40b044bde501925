// Package mutex provides a fair lock between processes.
//
//	m := mutex.New(s, "billing/nightly")
//	err := m.Do(ctx, func(ctx context.Context) error {
//		g, _ := session.GrantFrom(ctx)
//		return bill(ctx, g.Token())
//	})
//
// # GUARANTEES
//
// Of all that ask for one name, at most one holds, as the store sees it: on one
// session or on several, in one process or in many, and together with the
// writers of an rwmutex and the candidates of an election of that name. Locks
// are granted in the order in which the store accepted the requests; each has a
// larger token than the one before. A release wakes one waiter.
//
// # NOT GUARANTEED
//
// A mutex is not reentrant: who locks twice waits for itself. A holder that was
// stopped and goes on may act before it looks at its context; the token is
// there for that: see [session.Grant].
//
// # Local hand-off
//
// With [Options].LocalHandoff n, goroutines that wait at one Mutex stand in a line of their
// own, and one entry stands in the store's queue for all of them. Who releases passes
// the lock on to the first in the line, up to n times in a row, without asking the store;
// then the entry leaves, and the next of the line joins again, at the end. That
// saves the store's part of most hand-offs where many goroutines of a process want the
// same lock. What changes:
//
//   - Order. The line is first come, first served, and so are the entries in the store's
//     queue; but who waits in another process may be overtaken, by n that came later
//     each time an entry is ahead of it. The waiting time of others grows with n and with
//     how long each holds.
//   - Tokens. All that the lock is passed on to have the token of the entry. So tokens no longer
//     tell these holders apart, and a receiver that refuses old tokens accepts a late
//     write of one of them: release only when every write has been answered. Do does, if
//     its function waits for what it began. Tokens of different entries rise as always.
//   - What others see. Queues show one entry for all, of the session's identity, with
//     the note they have in common, the time of the one that joined, and a value that stays
//     from one holder to the next. Options.Queued is called for who joins the store's
//     queue, and not for who waits in the line.
//   - Guarded writes. A grant that a store's Guard was called for is not passed on, as only the
//     store knows when what it guards has ended.
//
// The rest stays. Each holder has a grant of its own, with its own context, and its own
// spans: once it is released, it is refused, and to release it again does nothing. What
// ends the entry (the lease is lost, somebody breaks it) ends the grant of the present
// holder alone, with the usual cause: whoever held before has released, and the first of
// the line joins the store's queue at once. Who gives up while it waits holds up
// nobody. What is released inside Do, while the function runs, is not passed on. TryLock
// fails while anybody holds or waits at the Mutex.
//
// This is lock cohorting (Dice, Marathe and Shavit, Lock Cohorting: A General Technique
// for Designing NUMA Locks, PPoPP 2012), with the store's queue as the global lock.
//
// The algorithm is that of ZooKeeper's lock recipe (Hunt et al., ZooKeeper:
// Wait-free coordination for Internet-scale systems, 2010): a queue of
// ephemeral entries in which each watches the one ahead.
package mutex

import (
	"context"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// Options of a mutex. The zero value, and nil, mean the defaults.
type Options = watch.Options

// A Mutex is a lock's name on a session. Any number of goroutines may use one, or one
// each, all the same; but with LocalHandoff they have to share one, as the lock is
// passed on among those who wait at the same Mutex.
type Mutex struct {
	s     *session.Session
	name  string
	opts  *Options
	local *cohort // nil without LocalHandoff
}

// New returns the mutex of that name. A bad name is reported by its methods,
// before any I/O.
func New(s *session.Session, name string) *Mutex { return NewWith(s, name, nil) }

// NewWith is New with options.
func NewWith(s *session.Session, name string, opts *Options) *Mutex {
	m := &Mutex{s: s, name: name, opts: opts.Copy()}
	if m.opts.LocalHandoff > 0 {
		m.local = &cohort{limit: m.opts.LocalHandoff}
	}
	return m
}

// Lock blocks until the mutex is held. It is fair: first come, first served.
//
// ctx bounds the wait and nothing else: when it ends later, the grant stays. The
// wait also ends after MaxWait, with context.DeadlineExceeded; with
// session.ErrClosed; with session.ErrKind where the name is a semaphore's; and on
// an error that trying again cannot heal, such as a missing permission. A failed Lock leaves nothing in the queue. A lost reply
// does not make it fail. When the session's lease is lost meanwhile, it goes on
// at the end of the queue.
func (m *Mutex) Lock(ctx context.Context) (*session.Grant, error) {
	return m.acquire(ctx, m.claim("lock mutex"))
}

// TryLock locks the mutex if nobody holds it or waits for it. Otherwise the error
// Is session.ErrHeld, and errors.As with *session.Error tells the holder. It
// does not queue, and delays nobody. It blocks only for the store's answer.
func (m *Mutex) TryLock(ctx context.Context) (*session.Grant, error) {
	c := m.claim("try to lock mutex")
	c.Try = true
	return m.acquire(ctx, c)
}

// Do locks the mutex, runs f and unlocks, also when f panics. The context of f
// ends with ctx, and when the lock is lost; session.GrantFrom has the grant. When
// the lock was lost, the error Is session.ErrLost, even if f returned nil.
func (m *Mutex) Do(ctx context.Context, f func(ctx context.Context) error) error {
	g, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	return g.Do(ctx, f)
}

func (m *Mutex) acquire(ctx context.Context, c watch.Claim) (*session.Grant, error) {
	if m.local != nil {
		return m.local.acquire(ctx, m.s, c)
	}
	return watch.Turn(ctx, m.s, c, watch.Exclusive)
}

func (m *Mutex) claim(op string) watch.Claim {
	return m.opts.Claim(watch.Claim{Op: op, Kind: "mutex", Name: m.name, Mode: driver.Exclusive})
}
