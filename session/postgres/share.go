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

// A sharing is what sessions of a process have in common that use one store. PostgreSQL
// wakes every connection of a database that listens, each time that anybody notifies
// anybody there, so that a process should not have more of those than it needs.
type sharing struct {
	url     string        // that they were opened with, and
	secrets string        // what was in the files that it names; or
	pool    *pgxpool.Pool // that they go through, with
	ns      string
	poll    time.Duration
	timeout time.Duration
	handler slog.Handler // of the logger
}

// shares are the stores that are open, and how many use each.
var shares = struct {
	mu    sync.Mutex
	users map[*store]int
	of    map[sharing]*store
}{users: map[*store]int{}, of: map[sharing]*store{}}

// A user is a session's use of a store.
type user struct {
	*store
	key  sharing
	once sync.Once
	err  error // of Close
}

// share returns a use of the store that others use who have that in common with the one
// that open makes, or of that.
func share(ctx context.Context, key sharing, mayMigrate bool, open func() (*store, error)) (driver.Store, error) {
	if !reflect.ValueOf(key.handler).Comparable() { // whose is it, then?
		s, err := open()
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	if u := key.use(nil); u != nil {
		if err := u.prepare(ctx, mayMigrate); err != nil { // as if it had been opened
			err = u.failed(ctx, "connect", err)
			return nil, errors.Join(err, u.Close())
		}
		return u, nil
	}
	s, err := open()
	if err != nil {
		return nil, err
	}
	u := key.use(s)
	if u.store != s { // somebody was faster
		if err := s.Close(); err != nil {
			return nil, errors.Join(err, u.Close())
		}
	}
	return u, nil
}

// use returns a use of the store that is there or else, unless that is nil, of s.
func (k sharing) use(s *store) *user {
	shares.mu.Lock()
	defer shares.mu.Unlock()
	if there := shares.of[k]; there != nil {
		s = there
	}
	if s == nil {
		return nil
	}
	shares.of[k] = s
	shares.users[s]++
	return &user{store: s, key: k}
}

// Grant implements driver.Store.
func (u *user) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	l, sent, err := u.store.grant(ctx, spec)
	if err != nil {
		return nil, sent, err
	}
	u.mu.Lock()
	l.of = u
	u.mu.Unlock()
	return l, sent, nil
}

// Close implements driver.Store. It forgets the leases, and the last to do so closes the
// store.
func (u *user) Close() error {
	u.once.Do(func() {
		u.mu.Lock()
		var leases []*lease
		for _, l := range u.leases {
			if l.of == u {
				leases = append(leases, l)
			}
		}
		u.mu.Unlock()
		for _, l := range leases {
			l.forgetAll()
		}
		shares.mu.Lock()
		shares.users[u.store]--
		last := shares.users[u.store] == 0
		if last {
			delete(shares.users, u.store)
			delete(shares.of, u.key)
		}
		shares.mu.Unlock()
		if last {
			u.err = u.store.Close()
		}
	})
	return u.err
}
