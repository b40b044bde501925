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

// A Mutex is a lock's name on a session. It has no state: any number of
// goroutines may use one, or one each, all the same.
type Mutex struct {
	s    *session.Session
	name string
	opts *Options
}

// New returns the mutex of that name. A bad name is reported by its methods,
// before any I/O.
func New(s *session.Session, name string) *Mutex { return NewWith(s, name, nil) }

// NewWith is New with options.
func NewWith(s *session.Session, name string, opts *Options) *Mutex {
	return &Mutex{s, name, opts.Copy()}
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
	return watch.Turn(ctx, m.s, m.claim("lock mutex"), watch.Exclusive)
}

// TryLock locks the mutex if nobody holds it or waits for it. Otherwise the error
// Is session.ErrHeld, and errors.As with *session.Error tells the holder. It
// does not queue, and delays nobody. It blocks only for the store's answer.
func (m *Mutex) TryLock(ctx context.Context) (*session.Grant, error) {
	c := m.claim("try to lock mutex")
	c.Try = true
	return watch.Turn(ctx, m.s, c, watch.Exclusive)
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

func (m *Mutex) claim(op string) watch.Claim {
	return m.opts.Claim(watch.Claim{Op: op, Kind: "mutex", Name: m.name, Mode: driver.Exclusive})
}
