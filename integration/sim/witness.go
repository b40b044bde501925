package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/integration/history"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// A witness stands at the store, behind all that can happen to a call, and sees
// what really happens. It knows what a driver has to promise.
type witness struct {
	driver.Store
	w *world
}

// Unwrap lets the memory store find its own.
func (s *witness) Unwrap() driver.Store { return s.Store }

func (s *witness) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	l, sent, err := s.Store.Grant(ctx, spec)
	if err != nil {
		return nil, sent, err
	}
	return &witnessLease{l, s.w}, sent, nil
}

type witnessLease struct {
	driver.Lease
	w *world
}

func (l *witnessLease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	v, err := l.Lease.Join(ctx, c)
	if err == nil {
		l.w.joined(c, v)
	}
	return v, err
}

func (l *witnessLease) Resolve(ctx context.Context, c driver.Claim) (driver.View, error) {
	v, err := l.Lease.Resolve(ctx, c)
	if errors.Is(err, driver.ErrEntryGone) {
		l.w.resolved(c)
	}
	return v, err
}

func (l *witnessLease) Withdraw(ctx context.Context, c driver.Claim) error {
	err := l.Lease.Withdraw(ctx, c)
	if err == nil {
		l.w.resolved(c)
	}
	return err
}

func (l *witnessLease) Update(ctx context.Context, e driver.Entry, value string) (driver.Entry, error) {
	l.w.updates(e, value) // before anybody can be woken
	return l.Lease.Update(ctx, e, value)
}

func (l *witnessLease) Leave(ctx context.Context, e driver.Entry) error {
	l.w.departs(e.Token) // before anybody can be woken
	return l.Lease.Leave(ctx, e)
}

// joined is told that an entry was made.
func (w *world) joined(c driver.Claim, v driver.View) {
	number := w.entries.number(c.ID, 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.tokens[c.Name]; v.Me.Token <= last {
		w.failLocked("token %d of %q follows %d", v.Me.Token, c.Name, last)
	}
	w.tokens[c.Name] = v.Me.Token
	if w.settled[c.ID] {
		w.failLocked("a join of %q took effect with token %d, though it had been settled that it never would", c.Name, v.Me.Token)
	}
	if c.Admit != nil && !comesAtOnce(v) {
		w.failLocked("%q is in use, and somebody who did not want to wait has joined it with token %d", c.Name, v.Me.Token)
	}
	p := w.pending[actorOf(number)]
	if p == nil || p.call == nil {
		return
	}
	p.call.Queued()
	if p.made++; p.made > 1 && p.site.kind == elections {
		// The entry before, which is gone, may have been the first in the queue
		// for a moment, and was the leader then for all but its owner.
		p.site.h.BeginAt(p.asked, actorOf(number), p.ask.op())
	}
	if c.Mode == driver.Permit && len(v.Ahead) == 0 && v.Limit.Version == v.Me.Token-1 {
		// The semaphore was idle, and has taken the limit of whoever came.
		p.site.h.Begin(0, history.Resize(v.Limit.N)).Done()
	}
}

// comesAtOnce tells whether whoever has that view need not wait.
func comesAtOnce(v driver.View) bool {
	var ahead int64
	for _, e := range v.Ahead {
		if ahead += weightOf(e); v.Me.Mode != driver.Permit && !(v.Me.Mode == driver.Shared && watch.IsShared(e)) {
			return false
		}
	}
	return v.Me.Mode != driver.Permit || ahead+weightOf(v.Me) <= v.Limit.N
}

// resolved is told that the driver says that there is no entry of the claim, and will
// be none.
func (w *world) resolved(c driver.Claim) {
	q, _ := w.eye.Read(context.Background(), c.Name, 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settled[c.ID] = true
	if i := slices.IndexFunc(q.Entries, func(e driver.Entry) bool { return e.ID == c.ID }); i >= 0 {
		w.failLocked("the driver says that there is no entry, but there is token %d of %q", q.Entries[i].Token, c.Name)
	}
}

// updates is told that a value is about to be stored.
func (w *world) updates(e driver.Entry, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.holds[e.Token]
	if h != nil && h.site.kind == rwmutexes && !h.shared && value == watch.Downgraded() && h.grant.Context().Err() == nil {
		w.failLocked("token %d of %q is becoming a reader's, while the writer's context is not done", e.Token, e.Name)
	}
}

// departs is told that an entry is about to be removed by its owner.
func (w *world) departs(token uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.holds[token]
	if h == nil {
		return
	}
	h.left = true
	if h.grant.Context().Err() == nil {
		w.failLocked("token %d of %q is about to leave the queue, while its holder's context is not done", token, h.site.name)
	}
}
