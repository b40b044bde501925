package mutant

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// LeavesWithoutIdentity removes what entry the lease has in the queue by then.
func LeavesWithoutIdentity(s driver.Store) driver.Store {
	return Mutation{Lease: Lies{
		Leave: func(ctx context.Context, l *Lease, e driver.Entry) error {
			return l.Lease.Leave(ctx, l.Latest(ctx, e))
		},
	}}.Plant(s)
}

// LeavesNothing keeps the entries of those who leave.
func LeavesNothing(s driver.Store) driver.Store {
	return Mutation{Lease: Lies{
		Leave: func(context.Context, *Lease, driver.Entry) error { return nil },
	}}.Plant(s)
}

// RevokesNothing keeps the lease, and what hangs on it, until it expires.
func RevokesNothing(s driver.Store) driver.Store {
	return Mutation{Lease: Lies{
		Revoke: func(context.Context, *Lease) error { return nil },
	}}.Plant(s)
}

// AdoptsNothing takes an entry whose reply was lost for one that was not made.
func AdoptsNothing(s driver.Store) driver.Store {
	return Mutation{Lease: Lies{
		Resolve: func(context.Context, *Lease, driver.Claim) (driver.View, error) {
			return driver.View{}, driver.ErrEntryGone
		},
	}}.Plant(s)
}

// FencesNothing takes an entry that it does not find for one that will not be made.
func FencesNothing(s driver.Store) driver.Store {
	return Mutation{Lease: Lies{
		Resolve: func(ctx context.Context, l *Lease, c driver.Claim) (driver.View, error) {
			q, err := l.Store.Read(ctx, c.Name, 0)
			if err != nil {
				return driver.View{}, err
			}
			if i := slices.IndexFunc(q.Entries, func(e driver.Entry) bool { return e.ID == c.ID }); i >= 0 {
				return l.Lease.Look(ctx, q.Entries[i])
			}
			return driver.View{}, driver.ErrEntryGone
		},
	}}.Plant(s)
}

// IgnoresAdmit joins where it should be refused.
func IgnoresAdmit(s driver.Store) driver.Store {
	return Mutation{Lease: Lies{
		Join: func(ctx context.Context, l *Lease, c driver.Claim) (driver.View, error) {
			c.Admit = nil
			return l.Lease.Join(ctx, c)
		},
	}}.Plant(s)
}

// GrantsUnseen takes the one that it has waited for to have been the only one ahead.
func GrantsUnseen(s driver.Store) driver.Store {
	return Mutation{Lease: Lies{
		Wait: func(ctx context.Context, l *Lease, v driver.View, on driver.Obstacles) (driver.View, error) {
			now, err := l.Lease.Wait(ctx, v, on)
			now.Ahead = nil
			return now, err
		},
	}}.Plant(s)
}

// WaitsForOne waits for the first of several alone.
func WaitsForOne(s driver.Store) driver.Store {
	return Mutation{Lease: Lies{
		Wait: func(ctx context.Context, l *Lease, v driver.View, on driver.Obstacles) (driver.View, error) {
			on.Entries = on.Entries[:min(1, len(on.Entries))]
			return l.Lease.Wait(ctx, v, on)
		},
	}}.Plant(s)
}

// PassesWriters shows readers no writer that waits.
func PassesWriters(s driver.Store) driver.Store {
	return Mutation{Lease: Lies{
		Join: func(ctx context.Context, l *Lease, c driver.Claim) (driver.View, error) {
			if admit := c.Admit; admit != nil {
				c.Admit = func(v driver.View) bool { return admit(withoutWaitingWriters(v)) }
			}
			v, err := l.Lease.Join(ctx, c)
			return withoutWaitingWriters(v), err
		},
		Wait: func(ctx context.Context, l *Lease, v driver.View, on driver.Obstacles) (driver.View, error) {
			v, err := l.Lease.Wait(ctx, v, on)
			return withoutWaitingWriters(v), err
		},
		Look: func(ctx context.Context, l *Lease, e driver.Entry) (driver.View, error) {
			v, err := l.Lease.Look(ctx, e)
			return withoutWaitingWriters(v), err
		},
	}}.Plant(s)
}

// withoutWaitingWriters leaves to a reader only what holds: the first in the queue,
// and readers.
func withoutWaitingWriters(v driver.View) driver.View {
	if v.Me.Mode != driver.Shared || len(v.Ahead) == 0 {
		return v
	}
	var holding []driver.Entry
	for i, e := range v.Ahead {
		if i == 0 || watch.IsShared(e) {
			holding = append(holding, e)
		}
	}
	v.Ahead = holding
	return v
}

// TrustsFromReceipt has the session count its trust from the receipt of an answer,
// not from the sending of the request: the lease says that it lives for longer, by the
// time that the latest answer took.
func TrustsFromReceipt(s driver.Store) driver.Store {
	return Mutation{
		Grant: func(ctx context.Context, s driver.Store, spec driver.Spec) (driver.Lease, time.Time, error) {
			l, sent, err := s.Grant(ctx, spec)
			if err != nil {
				return nil, sent, err
			}
			return &trusting{Lease: l}, time.Now(), nil
		},
	}.Plant(s)
}

type trusting struct {
	driver.Lease
	took atomic.Int64 // the latest answer
}

func (l *trusting) TTL() time.Duration { return l.Lease.TTL() + time.Duration(l.took.Load()) }

func (l *trusting) Renew(ctx context.Context) error {
	sent := time.Now()
	err := l.Lease.Renew(ctx)
	if err == nil {
		l.took.Store(int64(time.Since(sent)))
	}
	return err
}
