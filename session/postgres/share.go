package postgres

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A likeness is what sessions of a process have in common that share a store, and with it
// the connection that listens: PostgreSQL wakes every connection of a database that does,
// each time that anybody notifies anybody there.
type likeness struct {
	url     string        // that they were opened with, and
	secrets string        // what was in the files that it names; or
	pool    *pgxpool.Pool // that they go through, with
	ns      string
	poll    time.Duration
	timeout time.Duration
	handler slog.Handler // of the logger
}

// A common is a store with those who share it.
type common struct {
	*store
	like  likeness
	users int // guarded by commons
}

// commons are all that are open.
var commons = struct {
	sync.Mutex
	open map[likeness]*common
}{open: map[likeness]*common{}}

// A user is the share of one session.
type user struct {
	*common
	once sync.Once
	err  error // of Close

	closed bool // guarded by the store's mutex
}

// share returns a share of a store: of the one that is open for the likeness or else of a new
// one, which open makes.
func share(ctx context.Context, like likeness, mayMigrate bool, open func() (*store, error)) (driver.Store, error) {
	if !reflect.ValueOf(like.handler).Comparable() { // so nobody can tell whether it is the same
		s, err := open()
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	if u := existing(like); u != nil {
		if err := u.prepare(ctx, mayMigrate); err != nil { // as for a new one
			err = u.failed(ctx, "connect", err)
			return nil, errors.Join(err, u.Close())
		}
		return u, nil
	}
	s, err := open()
	if err != nil {
		return nil, err
	}
	u := found(like, s)
	if u.store != s { // somebody was faster
		if err := s.Close(); err != nil {
			return nil, errors.Join(err, u.Close())
		}
	}
	return u, nil
}

// existing returns a share of the store that is open, or nil.
func existing(like likeness) *user {
	commons.Lock()
	defer commons.Unlock()
	c := commons.open[like]
	if c == nil {
		return nil
	}
	c.users++
	return &user{common: c}
}

// found returns a share of the store that is open, which is s unless there is one.
func found(like likeness, s *store) *user {
	commons.Lock()
	defer commons.Unlock()
	c := commons.open[like]
	if c == nil {
		c = &common{store: s, like: like}
		commons.open[like] = c
	}
	c.users++
	return &user{common: c}
}

// part ends a share, and reports whether it was the last.
func (c *common) part() bool {
	commons.Lock()
	defer commons.Unlock()
	c.users--
	if c.users == 0 {
		delete(commons.open, c.like)
	}
	return c.users == 0
}

// Grant implements driver.Store.
func (u *user) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	l, sent, err := u.grant(ctx, spec, u)
	if err != nil {
		return nil, sent, err
	}
	u.mu.Lock()
	closed := u.closed
	u.mu.Unlock()
	if closed {
		l.forgetAll()
		return nil, sent, driver.Permanent(errClosed)
	}
	return l, sent, nil
}

// Close implements driver.Store. It forgets the session's leases, and closes the store where
// nobody else shares it.
func (u *user) Close() error {
	u.once.Do(func() {
		for _, l := range u.abandon() {
			l.forgetAll()
		}
		if u.part() {
			u.err = u.store.Close()
		}
	})
	return u.err
}

// abandon returns the session's leases. It has no further ones.
func (u *user) abandon() (leases []*lease) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	for _, l := range u.leases {
		if l.of == u {
			leases = append(leases, l)
		}
	}
	return leases
}
