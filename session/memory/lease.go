package memory

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

type lease struct {
	conn *conn
	id   string
	spec driver.Spec
	gone chan struct{} // closed when the lease is over

	// Guarded by the store's mutex.
	expires time.Time
	timer   *time.Timer
	entries map[string]*entry
	marks   map[string]driver.Mark // by the entry's ID
	marked  signal                 // there is another mark
	settled map[string]bool        // claims that Resolve did not find, or that were withdrawn: they must not be made later
}

// over reports whether the lease has ended. The store's mutex is held.
func (l *lease) over() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}

// expire runs when the timer fires: a renewal may have come first.
func (l *lease) expire() {
	l.conn.st.mu.Lock()
	defer l.conn.st.mu.Unlock()
	if left := time.Until(l.expires); left > 0 {
		l.timer.Reset(left)
		return
	}
	l.conn.st.end(l)
}

// call runs f on the store while the lease is alive.
func (l *lease) call(ctx context.Context, f func() error) error {
	return l.conn.call(ctx, func() error {
		if l.over() {
			return driver.ErrLeaseGone
		}
		return f()
	})
}

func (l *lease) ID() string { return l.id }

func (l *lease) TTL() time.Duration { return l.spec.TTL }

func (l *lease) Lag() time.Duration { return 0 }

func (l *lease) Renew(ctx context.Context) error {
	return l.call(ctx, func() error {
		l.expires = time.Now().Add(l.spec.TTL)
		l.timer.Reset(l.spec.TTL)
		return nil
	})
}

func (l *lease) Check(ctx context.Context) error {
	return l.call(ctx, func() error { return nil })
}

func (l *lease) Watch(ctx context.Context, marked func()) error {
	another := make(chan struct{}, 1)
	defer func() {
		l.conn.st.mu.Lock()
		defer l.conn.st.mu.Unlock()
		l.marked.unsubscribe(another)
	}()
	for {
		var marks int
		err := l.call(ctx, func() error { // not before the store can be reached
			marks = len(l.marks)
			l.marked.subscribe(another)
			return nil
		})
		switch {
		case err != nil:
			return err
		case marks > 0:
			marked()
		}
		select {
		case <-l.gone:
		case <-another:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *lease) Marks(ctx context.Context) (marks []driver.Mark, err error) {
	err = l.call(ctx, func() error {
		for _, id := range slices.Sorted(maps.Keys(l.marks)) {
			marks = append(marks, l.marks[id])
		}
		return nil
	})
	return marks, err
}

func (l *lease) Clear(ctx context.Context, m driver.Mark) error {
	return l.call(ctx, func() error {
		delete(l.marks, m.ID)
		return nil
	})
}

func (l *lease) Revoke(ctx context.Context) error {
	return l.conn.call(ctx, func() error {
		l.conn.st.end(l)
		return nil
	})
}

func (l *lease) Join(ctx context.Context, c driver.Claim) (v driver.View, err error) {
	err = l.call(ctx, func() error {
		st := l.conn.st
		switch {
		case l.settled[c.ID]:
			return errors.New("the claim was given up")
		case l.entries[c.ID] != nil:
			return errors.New("the claim's ID is in use")
		}
		present := st.read(c.Name)
		limit := present.Limit
		if c.Limit > 0 && len(present.Entries) == 0 {
			limit = driver.Limit{N: c.Limit}
		}
		if c.Limit > 0 && limit.N != c.Limit {
			return &driver.LimitError{Limit: limit.N, Ahead: present.Entries}
		}
		x := &entry{lease: l, Entry: driver.Entry{
			Name: c.Name, Key: c.Name + "/" + c.ID, ID: c.ID, Lease: l.id,
			Kind: c.Kind, Mode: c.Mode, Value: c.Value, Info: c.Info, Identity: l.spec.Identity,
		}}
		if c.Admit != nil && !c.Admit(driver.View{Me: x.Entry, Ahead: present.Entries, Limit: limit}) {
			return &driver.Refused{Ahead: present.Entries}
		}
		q := st.queue(c.Name)
		if limit.Version == 0 && limit.N > 0 {
			st.setLimit(q, limit)
		}
		st.rev++
		x.Token, x.Version = st.rev, st.rev
		q.entries = append(q.entries, x)
		l.entries[c.ID] = x
		st.touch(c.Name, q)
		v = st.view(q, len(q.entries)-1)
		return nil
	})
	return v, err
}

func (l *lease) Resolve(ctx context.Context, c driver.Claim) (v driver.View, err error) {
	err = l.call(ctx, func() error {
		q, at, x := l.conn.st.find(driver.Entry{Name: c.Name, ID: c.ID})
		if x == nil {
			l.settled[c.ID] = true
			return driver.ErrEntryGone
		}
		v = l.conn.st.view(q, at)
		return nil
	})
	return v, err
}

func (l *lease) Withdraw(ctx context.Context, c driver.Claim) error {
	return l.call(ctx, func() error {
		l.settled[c.ID] = true
		if q, at, x := l.conn.st.find(driver.Entry{Name: c.Name, ID: c.ID}); x != nil {
			l.conn.st.remove(q, at)
		}
		return nil
	})
}

func (l *lease) Look(ctx context.Context, e driver.Entry) (v driver.View, err error) {
	err = l.call(ctx, func() error {
		q, at, x := l.conn.st.find(e)
		if x == nil {
			return driver.ErrEntryGone
		}
		v = l.conn.st.view(q, at)
		return nil
	})
	return v, err
}

func (l *lease) Wait(ctx context.Context, v driver.View, on driver.Obstacles) (driver.View, error) {
	woken := make(chan struct{}, 1)
	defer l.forget(v.Me.Name, on, woken)
	for {
		var now driver.View
		var blocked bool
		err := l.call(ctx, func() error {
			q, at, x := l.conn.st.find(v.Me)
			if x == nil {
				return driver.ErrEntryGone
			}
			now = l.conn.st.view(q, at)
			blocked = l.conn.st.subscribe(q, v, on, woken)
			return nil
		})
		if err != nil || !blocked {
			return now, err
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}

// subscribe arranges to be told when one of the obstacles goes or changes, and
// returns false if one has already. st.mu is held.
func (st *Store) subscribe(q *queue, v driver.View, on driver.Obstacles, woken chan<- struct{}) bool {
	if on.Limit && q.limit.Version != v.Limit.Version {
		return false
	}
	for _, e := range on.Entries {
		_, _, x := st.find(e)
		if x == nil || x.Version != e.Version {
			return false
		}
		x.changed.subscribe(woken)
	}
	if on.Limit {
		q.resized.subscribe(woken)
	}
	return true
}

// forget undoes subscribe.
func (l *lease) forget(name string, on driver.Obstacles, woken chan<- struct{}) {
	st := l.conn.st
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, e := range on.Entries {
		if _, _, x := st.find(e); x != nil {
			x.changed.unsubscribe(woken)
		}
	}
	if q, ok := st.queues[name]; ok {
		q.resized.unsubscribe(woken)
	}
}

func (l *lease) Update(ctx context.Context, e driver.Entry, value string) (now driver.Entry, err error) {
	err = l.call(ctx, func() error {
		st := l.conn.st
		q, _, x := st.find(e)
		if x == nil {
			return driver.ErrEntryGone
		}
		st.rev++
		x.Value, x.Version = value, st.rev
		x.changed.fire()
		st.touch(x.Name, q)
		now = x.now()
		return nil
	})
	return now, err
}

func (l *lease) Leave(ctx context.Context, e driver.Entry) error {
	return l.call(ctx, func() error {
		if q, at, x := l.conn.st.find(e); x != nil {
			l.conn.st.remove(q, at)
		}
		return nil
	})
}

func (l *lease) Entries(ctx context.Context) (entries []driver.Entry, err error) {
	err = l.call(ctx, func() error {
		for _, x := range l.entries {
			entries = append(entries, x.now())
		}
		return nil
	})
	return entries, err
}
