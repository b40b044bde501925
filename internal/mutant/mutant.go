package mutant

import (
	"context"
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A Mutation says which methods of a driver to replace, and by what. What is nil is
// sound.
type Mutation struct {
	Grant    func(ctx context.Context, s driver.Store, spec driver.Spec) (driver.Lease, time.Time, error)
	Read     func(ctx context.Context, s driver.Store, name string, n int) (driver.Queue, error)
	Watch    func(ctx context.Context, s driver.Store, name string, f func(driver.Queue) error) error
	SetLimit func(ctx context.Context, s driver.Store, name string, from, to driver.Limit) error
	Break    func(ctx context.Context, s driver.Store, e driver.Entry, m driver.Mark, force bool) error
	Lease    Lies
}

// Lies are the methods of a lease to replace.
type Lies struct {
	Renew   func(ctx context.Context, l *Lease) error
	Watch   func(ctx context.Context, l *Lease, marked func()) error
	Revoke  func(ctx context.Context, l *Lease) error
	Join    func(ctx context.Context, l *Lease, c driver.Claim) (driver.View, error)
	Resolve func(ctx context.Context, l *Lease, c driver.Claim) (driver.View, error)
	Wait    func(ctx context.Context, l *Lease, v driver.View, on driver.Obstacles) (driver.View, error)
	Look    func(ctx context.Context, l *Lease, e driver.Entry) (driver.View, error)
	Update  func(ctx context.Context, l *Lease, e driver.Entry, value string) (driver.Entry, error)
	Leave   func(ctx context.Context, l *Lease, e driver.Entry) error
	Entries func(ctx context.Context, l *Lease) ([]driver.Entry, error)
	Marks   func(ctx context.Context, l *Lease) ([]driver.Mark, error)
	Clear   func(ctx context.Context, l *Lease, m driver.Mark) error
}

// Plant returns the driver with the mutation.
func (m Mutation) Plant(s driver.Store) driver.Store { return &store{s, m} }

type store struct {
	driver.Store
	is Mutation
}

// Unwrap returns the sound store, for a backend that looks for its own.
func (s *store) Unwrap() driver.Store { return s.Store }

func (s *store) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	grant := driver.Store.Grant
	if s.is.Grant != nil {
		grant = func(sound driver.Store, ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
			return s.is.Grant(ctx, sound, spec)
		}
	}
	l, sent, err := grant(s.Store, ctx, spec)
	if err != nil {
		return nil, sent, err
	}
	return &Lease{l, s.Store, &s.is.Lease}, sent, nil
}

func (s *store) Read(ctx context.Context, name string, n int) (driver.Queue, error) {
	if s.is.Read != nil {
		return s.is.Read(ctx, s.Store, name, n)
	}
	return s.Store.Read(ctx, name, n)
}

func (s *store) Watch(ctx context.Context, name string, f func(driver.Queue) error) error {
	if s.is.Watch != nil {
		return s.is.Watch(ctx, s.Store, name, f)
	}
	return s.Store.Watch(ctx, name, f)
}

func (s *store) SetLimit(ctx context.Context, name string, from, to driver.Limit) error {
	if s.is.SetLimit != nil {
		return s.is.SetLimit(ctx, s.Store, name, from, to)
	}
	return s.Store.SetLimit(ctx, name, from, to)
}

func (s *store) Break(ctx context.Context, e driver.Entry, m driver.Mark, force bool) error {
	if s.is.Break != nil {
		return s.is.Break(ctx, s.Store, e, m, force)
	}
	return s.Store.Break(ctx, e, m, force)
}

// A Lease is a mutated one. The one inside is sound.
type Lease struct {
	driver.Lease
	Store driver.Store // the sound one that granted it
	is    *Lies
}

// Renew implements driver.Lease.
func (l *Lease) Renew(ctx context.Context) error {
	if l.is.Renew != nil {
		return l.is.Renew(ctx, l)
	}
	return l.Lease.Renew(ctx)
}

// Watch implements driver.Lease.
func (l *Lease) Watch(ctx context.Context, marked func()) error {
	if l.is.Watch != nil {
		return l.is.Watch(ctx, l, marked)
	}
	return l.Lease.Watch(ctx, marked)
}

// Revoke implements driver.Lease.
func (l *Lease) Revoke(ctx context.Context) error {
	if l.is.Revoke != nil {
		return l.is.Revoke(ctx, l)
	}
	return l.Lease.Revoke(ctx)
}

// Join implements driver.Lease.
func (l *Lease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	if l.is.Join != nil {
		return l.is.Join(ctx, l, c)
	}
	return l.Lease.Join(ctx, c)
}

// Resolve implements driver.Lease.
func (l *Lease) Resolve(ctx context.Context, c driver.Claim) (driver.View, error) {
	if l.is.Resolve != nil {
		return l.is.Resolve(ctx, l, c)
	}
	return l.Lease.Resolve(ctx, c)
}

// Wait implements driver.Lease.
func (l *Lease) Wait(ctx context.Context, v driver.View, on driver.Obstacles) (driver.View, error) {
	if l.is.Wait != nil {
		return l.is.Wait(ctx, l, v, on)
	}
	return l.Lease.Wait(ctx, v, on)
}

// Look implements driver.Lease.
func (l *Lease) Look(ctx context.Context, e driver.Entry) (driver.View, error) {
	if l.is.Look != nil {
		return l.is.Look(ctx, l, e)
	}
	return l.Lease.Look(ctx, e)
}

// Update implements driver.Lease.
func (l *Lease) Update(ctx context.Context, e driver.Entry, value string) (driver.Entry, error) {
	if l.is.Update != nil {
		return l.is.Update(ctx, l, e, value)
	}
	return l.Lease.Update(ctx, e, value)
}

// Leave implements driver.Lease.
func (l *Lease) Leave(ctx context.Context, e driver.Entry) error {
	if l.is.Leave != nil {
		return l.is.Leave(ctx, l, e)
	}
	return l.Lease.Leave(ctx, e)
}

// Entries implements driver.Lease.
func (l *Lease) Entries(ctx context.Context) ([]driver.Entry, error) {
	if l.is.Entries != nil {
		return l.is.Entries(ctx, l)
	}
	return l.Lease.Entries(ctx)
}

// Marks implements driver.Lease.
func (l *Lease) Marks(ctx context.Context) ([]driver.Mark, error) {
	if l.is.Marks != nil {
		return l.is.Marks(ctx, l)
	}
	return l.Lease.Marks(ctx)
}

// Clear implements driver.Lease.
func (l *Lease) Clear(ctx context.Context, m driver.Mark) error {
	if l.is.Clear != nil {
		return l.is.Clear(ctx, l, m)
	}
	return l.Lease.Clear(ctx, m)
}

// Latest returns the last entry of the lease in e's queue, whatever its identity, and
// e where there is none.
func (l *Lease) Latest(ctx context.Context, e driver.Entry) driver.Entry {
	q, err := l.Store.Read(ctx, e.Name, 0)
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
