package sim

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A mutant is a driver of which some methods are replaced. What is nil is sound.
type mutant struct {
	driver.Store
	grant func(ctx context.Context, s driver.Store, spec driver.Spec) (driver.Lease, time.Time, error)
	read  func(ctx context.Context, m *mutant, name string, n int) (driver.Queue, error)
	lease lies

	cache map[string]driver.Queue // for the use of read
}

// lies are the methods of a lease that a mutant replaces.
type lies struct {
	renew   func(ctx context.Context, l *mutantLease) error
	revoke  func(ctx context.Context, l *mutantLease) error
	join    func(ctx context.Context, l *mutantLease, c driver.Claim) (driver.View, error)
	resolve func(ctx context.Context, l *mutantLease, c driver.Claim) (driver.View, error)
	wait    func(ctx context.Context, l *mutantLease, v driver.View, on driver.Obstacles) (driver.View, error)
	update  func(ctx context.Context, l *mutantLease, e driver.Entry, value string) (driver.Entry, error)
	leave   func(ctx context.Context, l *mutantLease, e driver.Entry) error
}

type mutantLease struct {
	driver.Lease
	m        *mutant
	received atomic.Int64 // when an answer came in last, for the use of renew
}

// planted returns what makes mutants of drivers.
func planted(m mutant) func(driver.Store) driver.Store {
	return func(s driver.Store) driver.Store {
		own := m
		own.Store, own.cache = s, map[string]driver.Queue{}
		return &own
	}
}

// Unwrap lets the memory store find its own.
func (m *mutant) Unwrap() driver.Store { return m.Store }

func (m *mutant) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	grant := m.grant
	if grant == nil {
		grant = func(ctx context.Context, s driver.Store, spec driver.Spec) (driver.Lease, time.Time, error) {
			return s.Grant(ctx, spec)
		}
	}
	l, sent, err := grant(ctx, m.Store, spec)
	if err != nil {
		return nil, sent, err
	}
	return &mutantLease{Lease: l, m: m}, sent, nil
}

func (m *mutant) Read(ctx context.Context, name string, n int) (driver.Queue, error) {
	if m.read != nil {
		return m.read(ctx, m, name, n)
	}
	return m.Store.Read(ctx, name, n)
}

func (l *mutantLease) Renew(ctx context.Context) error {
	if f := l.m.lease.renew; f != nil {
		return f(ctx, l)
	}
	return l.Lease.Renew(ctx)
}

func (l *mutantLease) Revoke(ctx context.Context) error {
	if f := l.m.lease.revoke; f != nil {
		return f(ctx, l)
	}
	return l.Lease.Revoke(ctx)
}

func (l *mutantLease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	if f := l.m.lease.join; f != nil {
		return f(ctx, l, c)
	}
	return l.Lease.Join(ctx, c)
}

func (l *mutantLease) Resolve(ctx context.Context, c driver.Claim) (driver.View, error) {
	if f := l.m.lease.resolve; f != nil {
		return f(ctx, l, c)
	}
	return l.Lease.Resolve(ctx, c)
}

func (l *mutantLease) Wait(ctx context.Context, v driver.View, on driver.Obstacles) (driver.View, error) {
	if f := l.m.lease.wait; f != nil {
		return f(ctx, l, v, on)
	}
	return l.Lease.Wait(ctx, v, on)
}

func (l *mutantLease) Update(ctx context.Context, e driver.Entry, value string) (driver.Entry, error) {
	if f := l.m.lease.update; f != nil {
		return f(ctx, l, e, value)
	}
	return l.Lease.Update(ctx, e, value)
}

func (l *mutantLease) Leave(ctx context.Context, e driver.Entry) error {
	if f := l.m.lease.leave; f != nil {
		return f(ctx, l, e)
	}
	return l.Lease.Leave(ctx, e)
}

// latest returns the last entry of this lease in e's queue, whatever its identity.
func (l *mutantLease) latest(ctx context.Context, e driver.Entry) driver.Entry {
	q, err := l.m.Store.Read(ctx, e.Name, 0)
	if err != nil {
		return e
	}
	for _, x := range slices.Backward(q.Entries) {
		if x.Lease == l.ID() {
			return x
		}
	}
	return e
}

// ids returns the identities of entries.
func ids(entries []driver.Entry) []string {
	var s []string
	for _, e := range entries {
		s = append(s, e.ID)
	}
	return s
}
