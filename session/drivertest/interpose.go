package drivertest

import (
	"context"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// An Op is a kind of call that crosses the driver interface.
type Op string

// The calls of a driver.Store and a driver.Lease that can block. OpDeliver is
// the call back from Store.Watch with a state of the queue, OpMarked that from
// Lease.Watch with word of a mark.
const (
	OpGrant      Op = "grant"
	OpRead       Op = "read"
	OpWatch      Op = "watch"
	OpDeliver    Op = "deliver"
	OpList       Op = "list"
	OpIdentify   Op = "identify"
	OpRenew      Op = "renew"
	OpCheck      Op = "check"
	OpWatchLease Op = "watch lease"
	OpRevoke     Op = "revoke"
	OpJoin       Op = "join"
	OpResolve    Op = "resolve"
	OpWithdraw   Op = "withdraw"
	OpWait       Op = "wait"
	OpLook       Op = "look"
	OpUpdate     Op = "update"
	OpLeave      Op = "leave"
	OpEntries    Op = "entries"
	OpSetLimit   Op = "set limit"
	OpBreak      Op = "break"
	OpMarks      Op = "marks"
	OpMarked     Op = "marked"
	OpClear      Op = "clear"
)

// A Hook stands around every call of an interposed store. It makes the call by
// calling call, with ctx or one made from it, and returns the error that the
// caller is to see; where that is not nil, the caller gets no result. So a
// hook can pass a call on, refuse it, hold it up, lose its reply, or return to
// the caller and make the call later. It may run call once at most, and calls
// concurrently with itself.
type Hook func(ctx context.Context, op Op, call func(ctx context.Context) error) error

// Interpose returns a store that passes every call of s, and of the leases
// granted by it, through hook.
func Interpose(s driver.Store, hook Hook) driver.Store { return &store{s, hook} }

// reply makes a call that has a result through a hook. When the hook hides the
// reply, the result is not read: the call may still be running.
func reply[T any](ctx context.Context, hook Hook, op Op, call func(ctx context.Context) (T, error)) (T, error) {
	var result T
	err := hook(ctx, op, func(ctx context.Context) (err error) {
		result, err = call(ctx)
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return result, nil
}

type store struct {
	inner driver.Store
	hook  Hook
}

// Unwrap returns the interposed store, for a backend that looks for its own.
func (s *store) Unwrap() driver.Store { return s.inner }

func (s *store) Backend() string { return s.inner.Backend() }
func (s *store) Close() error    { return s.inner.Close() }

func (s *store) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	type granted struct {
		lease driver.Lease
		sent  time.Time
	}
	g, err := reply(ctx, s.hook, OpGrant, func(ctx context.Context) (granted, error) {
		l, sent, err := s.inner.Grant(ctx, spec)
		return granted{l, sent}, err
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return &lease{g.lease, s.hook}, g.sent, nil
}

func (s *store) Read(ctx context.Context, name string, n int) (driver.Queue, error) {
	return reply(ctx, s.hook, OpRead, func(ctx context.Context) (driver.Queue, error) {
		return s.inner.Read(ctx, name, n)
	})
}

func (s *store) SetLimit(ctx context.Context, name string, from, to driver.Limit) error {
	return s.hook(ctx, OpSetLimit, func(ctx context.Context) error { return s.inner.SetLimit(ctx, name, from, to) })
}

func (s *store) Break(ctx context.Context, e driver.Entry, m driver.Mark, force bool) error {
	return s.hook(ctx, OpBreak, func(ctx context.Context) error { return s.inner.Break(ctx, e, m, force) })
}

func (s *store) Watch(ctx context.Context, name string, f func(driver.Queue) error) error {
	return s.hook(ctx, OpWatch, func(ctx context.Context) error {
		return s.inner.Watch(ctx, name, func(q driver.Queue) error {
			return s.hook(ctx, OpDeliver, func(context.Context) error { return f(q) })
		})
	})
}

func (s *store) List(ctx context.Context, prefix string) ([]driver.Queue, error) {
	return reply(ctx, s.hook, OpList, func(ctx context.Context) ([]driver.Queue, error) {
		return s.inner.List(ctx, prefix)
	})
}

func (s *store) Identify(ctx context.Context, e driver.Entry) (string, error) {
	return reply(ctx, s.hook, OpIdentify, func(ctx context.Context) (string, error) {
		return s.inner.Identify(ctx, e)
	})
}

type lease struct {
	inner driver.Lease
	hook  Hook
}

func (l *lease) ID() string         { return l.inner.ID() }
func (l *lease) TTL() time.Duration { return l.inner.TTL() }
func (l *lease) Lag() time.Duration { return l.inner.Lag() }

func (l *lease) Renew(ctx context.Context) error  { return l.hook(ctx, OpRenew, l.inner.Renew) }
func (l *lease) Check(ctx context.Context) error  { return l.hook(ctx, OpCheck, l.inner.Check) }
func (l *lease) Revoke(ctx context.Context) error { return l.hook(ctx, OpRevoke, l.inner.Revoke) }

func (l *lease) Watch(ctx context.Context, marked func()) error {
	return l.hook(ctx, OpWatchLease, func(ctx context.Context) error {
		return l.inner.Watch(ctx, func() {
			_ = l.hook(ctx, OpMarked, func(context.Context) error { marked(); return nil })
		})
	})
}

func (l *lease) Marks(ctx context.Context) ([]driver.Mark, error) {
	return reply(ctx, l.hook, OpMarks, l.inner.Marks)
}

func (l *lease) Clear(ctx context.Context, m driver.Mark) error {
	return l.hook(ctx, OpClear, func(ctx context.Context) error { return l.inner.Clear(ctx, m) })
}

func (l *lease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	return reply(ctx, l.hook, OpJoin, func(ctx context.Context) (driver.View, error) {
		return l.inner.Join(ctx, c)
	})
}

func (l *lease) Resolve(ctx context.Context, c driver.Claim) (driver.View, error) {
	return reply(ctx, l.hook, OpResolve, func(ctx context.Context) (driver.View, error) {
		return l.inner.Resolve(ctx, c)
	})
}

func (l *lease) Withdraw(ctx context.Context, c driver.Claim) error {
	return l.hook(ctx, OpWithdraw, func(ctx context.Context) error { return l.inner.Withdraw(ctx, c) })
}

func (l *lease) Wait(ctx context.Context, v driver.View, on driver.Obstacles) (driver.View, error) {
	return reply(ctx, l.hook, OpWait, func(ctx context.Context) (driver.View, error) {
		return l.inner.Wait(ctx, v, on)
	})
}

func (l *lease) Look(ctx context.Context, e driver.Entry) (driver.View, error) {
	return reply(ctx, l.hook, OpLook, func(ctx context.Context) (driver.View, error) {
		return l.inner.Look(ctx, e)
	})
}

func (l *lease) Update(ctx context.Context, e driver.Entry, value string) (driver.Entry, error) {
	return reply(ctx, l.hook, OpUpdate, func(ctx context.Context) (driver.Entry, error) {
		return l.inner.Update(ctx, e, value)
	})
}

func (l *lease) Leave(ctx context.Context, e driver.Entry) error {
	return l.hook(ctx, OpLeave, func(ctx context.Context) error { return l.inner.Leave(ctx, e) })
}

func (l *lease) Entries(ctx context.Context) ([]driver.Entry, error) {
	return reply(ctx, l.hook, OpEntries, func(ctx context.Context) ([]driver.Entry, error) {
		return l.inner.Entries(ctx)
	})
}
