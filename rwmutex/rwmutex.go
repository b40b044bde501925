// Package rwmutex provides a fair read-write lock between processes.
//
//	m := rwmutex.New(s, "catalog")
//	err := m.RDo(ctx, func(ctx context.Context) error { return read(ctx) })
//	err = m.Do(ctx, func(ctx context.Context) error { return rebuild(ctx) })
//
// # GUARANTEES
//
// As the store sees it, a writer holds alone, and readers hold together. Whoever
// comes first has its turn first: a reader that comes after a waiting writer
// waits for it, so writers do not starve, and readers that wait for one writer
// are all granted when it leaves. Each grant has a token of its own, larger than
// those of all who were ahead in the queue.
//
// Writers also exclude the mutexes and elections of the same name.
//
// A release wakes those who wait for it and nobody else: the readers that one
// writer kept out, or one writer.
//
// # NOT GUARANTEED
//
// A lock is not reentrant, and a reader cannot become a writer: two that both
// waited for the other to go would wait for ever. A holder that was stopped and
// goes on may act before it looks at its context: see [session.Grant].
//
// The algorithm is that of ZooKeeper's read/write lock recipe (Hunt et al.,
// ZooKeeper: Wait-free coordination for Internet-scale systems, 2010). Its queue
// is modelled in queue.pml, which `make models` checks.
package rwmutex

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// kind is that of a lock's entries.
const kind = "rwmutex"

// Options of a lock. The zero value, and nil, mean the defaults.
type Options = watch.Options

// An RWMutex is a lock's name on a session. It has no state: any number of
// goroutines may use one, or one each, all the same.
type RWMutex struct {
	s    *session.Session
	name string
	opts *Options
}

// New returns the read-write lock of that name. A bad name is reported by its
// methods, before any I/O.
func New(s *session.Session, name string) *RWMutex { return NewWith(s, name, nil) }

// NewWith is New with options.
func NewWith(s *session.Session, name string, opts *Options) *RWMutex {
	return &RWMutex{s, name, opts.Copy()}
}

// Lock blocks until the lock is held for writing, by nobody else. It is fair:
// first come, first served, readers and writers alike.
//
// ctx bounds the wait and nothing else: when it ends later, the grant stays. The
// wait also ends after MaxWait, with context.DeadlineExceeded; with
// session.ErrClosed; with session.ErrKind where the name is a semaphore's; and
// on an error that trying again cannot heal, such as a missing permission. A
// failed Lock leaves nothing in the queue. A lost reply does not make it fail.
// When the session's lease is lost meanwhile, it goes on at the end of the queue.
func (m *RWMutex) Lock(ctx context.Context) (*session.Grant, error) {
	return m.acquire(ctx, "lock rwmutex", driver.Exclusive, false)
}

// RLock blocks until the lock is held for reading: until no writer is ahead that
// holds or waits. It ends as Lock does.
func (m *RWMutex) RLock(ctx context.Context) (*session.Grant, error) {
	return m.acquire(ctx, "lock rwmutex for reading", driver.Shared, false)
}

// TryLock is Lock where nobody holds or waits. Otherwise the error Is
// session.ErrHeld, and errors.As with *session.Error tells the first of those in
// the way. It does not queue, and delays nobody. It blocks only for the store's
// answer.
func (m *RWMutex) TryLock(ctx context.Context) (*session.Grant, error) {
	return m.acquire(ctx, "try to lock rwmutex", driver.Exclusive, true)
}

// TryRLock is RLock where no writer holds or waits. It fails as TryLock does.
func (m *RWMutex) TryRLock(ctx context.Context) (*session.Grant, error) {
	return m.acquire(ctx, "try to lock rwmutex for reading", driver.Shared, true)
}

func (m *RWMutex) acquire(ctx context.Context, op string, mode driver.Mode, try bool) (*session.Grant, error) {
	c := m.opts.Claim(watch.Claim{Op: op, Kind: kind, Name: m.name, Mode: mode, Try: try, Private: true})
	return watch.Turn(ctx, m.s, c, watch.RuleOf(mode))
}

// Do locks for writing, runs f and unlocks, also when f panics. The context of f
// ends with ctx, and when the lock is lost; session.GrantFrom has the grant. When
// the lock was lost, the error Is session.ErrLost, even if f returned nil.
func (m *RWMutex) Do(ctx context.Context, f func(ctx context.Context) error) error {
	g, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	return g.Do(ctx, f)
}

// RDo is Do, for reading.
func (m *RWMutex) RDo(ctx context.Context, f func(ctx context.Context) error) error {
	g, err := m.RLock(ctx)
	if err != nil {
		return err
	}
	return g.Do(ctx, f)
}

// errNotWriter is the reason why a grant cannot be downgraded.
var errNotWriter = errors.New("it is not a grant for writing of this lock")

// Downgrade makes a reader of a writer, with nobody in between: no other writer
// holds before the reader has released, and the readers that waited for the
// writer are granted. The token stays.
//
// It consumes g: the context of g ends, with cause session.ErrReleased, before
// readers can be let in, and the grant that Downgrade returns takes its place.
// g.Release does nothing any more.
//
// Downgrade blocks until the store has acknowledged it; when the reply is lost it
// asks again. It ends otherwise with ctx's error, with one that Is
// session.ErrLost or session.ErrReleased where g had ended, or with an error that
// trying again cannot heal. Then nothing is held any more. With g's own context it
// ends at the deadline alone. Only if g is no grant for writing of this lock, or a
// function runs under it in Do, it fails and leaves g as it is.
func (m *RWMutex) Downgrade(ctx context.Context, g *session.Grant) (*session.Grant, error) {
	if g.Name() != m.name || g.Kind() != kind || g.Mode() != driver.Exclusive {
		return nil, &session.Error{Op: "downgrade rwmutex", Name: m.name, Token: g.Token(),
			Err: fmt.Errorf("%w: it is %s %q, %s", errNotWriter, g.Kind(), g.Name(), g.Mode())}
	}
	return g.Exchange(ctx, driver.Shared, watch.Downgraded())
}
