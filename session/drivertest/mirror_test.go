package drivertest

import (
	"context"
	"math"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A mirror is a store whose tokens decrease. It is consistent otherwise: a token
// that it gave out is understood when it comes back.
type mirror struct{ driver.Store }

type mirrorLease struct{ driver.Lease }

func turned(e driver.Entry) driver.Entry {
	if e.Token != 0 {
		e.Token = math.MaxInt64 - e.Token
	}
	return e
}

func turnedAll(entries []driver.Entry) []driver.Entry {
	out := make([]driver.Entry, len(entries))
	for i, e := range entries {
		out[i] = turned(e)
	}
	return out
}

func turnedQueue(q driver.Queue) driver.Queue {
	q.Entries = turnedAll(q.Entries)
	return q
}

func turnedView(v driver.View, err error) (driver.View, error) {
	v.Me, v.Ahead = turned(v.Me), turnedAll(v.Ahead)
	return v, err
}

func (m *mirror) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	l, sent, err := m.Store.Grant(ctx, spec)
	return &mirrorLease{l}, sent, err
}

func (m *mirror) Read(ctx context.Context, name string, n int) (driver.Queue, error) {
	q, err := m.Store.Read(ctx, name, n)
	return turnedQueue(q), err
}

func (m *mirror) Watch(ctx context.Context, name string, f func(driver.Queue) error) error {
	return m.Store.Watch(ctx, name, func(q driver.Queue) error { return f(turnedQueue(q)) })
}

func (l *mirrorLease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	return turnedView(l.Lease.Join(ctx, c))
}

func (l *mirrorLease) Resolve(ctx context.Context, c driver.Claim) (driver.View, error) {
	return turnedView(l.Lease.Resolve(ctx, c))
}

func (l *mirrorLease) Wait(ctx context.Context, v driver.View, on driver.Obstacles) (driver.View, error) {
	v, _ = turnedView(v, nil)
	on.Entries = turnedAll(on.Entries)
	return turnedView(l.Lease.Wait(ctx, v, on))
}

func (l *mirrorLease) Look(ctx context.Context, e driver.Entry) (driver.View, error) {
	return turnedView(l.Lease.Look(ctx, turned(e)))
}

func (l *mirrorLease) Update(ctx context.Context, e driver.Entry, value string) (driver.Entry, error) {
	e, err := l.Lease.Update(ctx, turned(e), value)
	return turned(e), err
}

func (l *mirrorLease) Leave(ctx context.Context, e driver.Entry) error {
	return l.Lease.Leave(ctx, turned(e))
}
