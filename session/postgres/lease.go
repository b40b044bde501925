package postgres

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A lease is a row of the table session.
type lease struct {
	s        *store
	id       int64
	ttl      time.Duration
	identity string
	over     *mailbox // gets a message when somebody ended the session by hand, or left a mark
	of       *user    // whose it is, where a store is shared

	updates atomic.Int64 // the number of the latest Update: an older one that arrives later has no effect

	mu        sync.Mutex
	spots     map[string]*spot // of claims that were made and not given up, by their IDs
	forgotten bool             // what becomes of its entries is no matter of ours any more
}

// leaseID is a session's ID as others see it.
func leaseID(session int64) string { return strconv.FormatUint(uint64(session), 16) }

// Grant implements driver.Store.
func (s *store) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	l, sent, err := s.grant(ctx, spec, nil)
	if err != nil {
		return nil, sent, err
	}
	return l, sent, nil
}

func (s *store) grant(ctx context.Context, spec driver.Spec, of *user) (*lease, time.Time, error) {
	ms := max((spec.TTL+time.Millisecond-1)/time.Millisecond, 1)
	l := &lease{
		s: s, id: rand.Int64N(1<<63-1) + 1, ttl: ms * time.Millisecond, identity: printable(spec.Identity),
		of: of, spots: map[string]*spot{},
	}
	s.sweep(ctx)
	sent := time.Now()
	if err := s.run(ctx, vital, s.sql.open, l.id, l.identity, s.inbox(), int64(ms)); err != nil {
		s.background(func() { _, _ = l.end(s.ctx) }) // it may have been made
		return nil, time.Time{}, s.failed(ctx, "open a session", err)
	}
	l.over = s.hub.open(sessionKey(l.id))
	s.mu.Lock()
	s.leases[l.id] = l
	s.mu.Unlock()
	return l, sent, nil
}

// ID implements driver.Lease.
func (l *lease) ID() string { return leaseID(l.id) }

// TTL implements driver.Lease.
func (l *lease) TTL() time.Duration { return l.ttl }

// Lag implements driver.Lease. A renewal is acknowledged when it is committed.
func (l *lease) Lag() time.Duration { return 0 }

// Renew implements driver.Lease.
func (l *lease) Renew(ctx context.Context) error {
	const op = "renew the session"
	alive, asked, err := l.s.hub.ask(ctx, l.s.sql.renew, strconv.FormatInt(l.id, 10))
	switch {
	case !asked:
		return l.living(ctx, op, l.s.sql.renew)
	case err == nil && alive != "t":
		err = driver.ErrLeaseGone
	}
	return l.s.failed(ctx, op, err)
}

// Check implements driver.Lease.
func (l *lease) Check(ctx context.Context) error {
	return l.living(ctx, "check the session", l.s.sql.check)
}

func (l *lease) living(ctx context.Context, op, sql string) error {
	ok, err := value[bool](ctx, l.s, vital, sql, l.id)
	if err == nil && !ok {
		err = driver.ErrLeaseGone
	}
	return l.s.failed(ctx, op, err)
}

// Watch implements driver.Lease. The row's deletion sends a message, and so does a
// mark; after each reconnection, and now and then where none can come, the row is looked at.
func (l *lease) Watch(ctx context.Context, marked func()) error {
	const op = "watch the session"
	interval := l.ttl
	if l.s.poll > 0 {
		interval = max(l.s.poll, l.ttl/20)
	}
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	for {
		_, changed := l.over.state()
		state, err := value[string](ctx, l.s, vital, l.s.sql.state, l.id)
		if err == nil && state == "gone" {
			err = driver.ErrLeaseGone
		}
		if err != nil {
			return l.s.failed(ctx, op, err)
		}
		if state == "marked" {
			marked()
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
		case <-l.s.ctx.Done():
		}
		if ctx.Err() != nil || l.s.ctx.Err() != nil {
			return l.s.failed(ctx, op, context.Canceled)
		}
	}
}

// Revoke implements driver.Lease. The entries cease to count when the session's row
// is gone, and are then removed, which wakes those who wait for them.
func (l *lease) Revoke(ctx context.Context) error {
	queues, err := l.end(ctx)
	if err == nil {
		err = l.s.reap(ctx, l.withClaims(queues))
	}
	if err != nil {
		return l.s.failed(ctx, "end the session", err)
	}
	l.forgetAll()
	return nil
}

// withClaims adds to queues those of all claims that are known. A join that began before the
// session ended may be committed later. It is over when its queue's lock can be had: one that
// gets the lock after that finds no session.
func (l *lease) withClaims(queues []string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, sp := range l.spots {
		queues = append(queues, sp.queue)
	}
	slices.Sort(queues)
	return slices.Compact(queues)
}

// forgetAll gives up the lease, and with it the spots of all of its claims. Entries may be
// left whose owner has not finished: they are not touched, and go when it expires.
func (l *lease) forgetAll() {
	l.s.mu.Lock()
	delete(l.s.leases, l.id)
	l.s.mu.Unlock()
	l.s.hub.close(sessionKey(l.id))
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.spots {
		l.s.hub.close(id)
	}
	clear(l.spots)
	l.forgotten = true
}

// end deletes the session's row, and returns where it has entries.
func (l *lease) end(ctx context.Context) ([]string, error) {
	var queues []string
	err := l.s.unlocked(ctx, func() (busy bool, err error) {
		var what string
		err = l.s.query(ctx, vital, l.s.sql.close, []any{l.id}, func(r pgx.Rows) error { return r.Scan(&what, &queues) })
		return what == "busy", err
	})
	return queues, err
}

// unlocked tries until what is to be changed is not locked, for as long as a
// request may take: by a renewal that is under way, or by a guarded transaction.
func (s *store) unlocked(ctx context.Context, try func() (busy bool, err error)) error {
	deadline := time.Now().Add(s.timeout)
	pause := newPause()
	for {
		busy, err := try()
		switch {
		case err != nil || !busy:
			return err
		case time.Now().After(deadline):
			return errBusy
		}
		if err := sleep(ctx, min(pause.NextBackOff(), 100*time.Millisecond)); err != nil {
			return err
		}
	}
}

// Entries implements driver.Lease.
func (l *lease) Entries(ctx context.Context) ([]driver.Entry, error) {
	const op = "list the session's entries"
	var entries []driver.Entry
	err := l.s.query(ctx, ordinary, l.s.sql.entries, []any{l.id}, func(r pgx.Rows) error {
		var name, id string
		var token int64
		err := r.Scan(&name, &token, &id)
		entries = append(entries, driver.Entry{Name: name, Key: l.s.key(l.id, id), ID: id, Token: uint64(token), Lease: l.ID()})
		return err
	})
	return entries, l.s.failed(ctx, op, err)
}

// tidy removes entries of the session that nobody here knows of: a server that
// crashed may have brought back ones that were left, as leaving is not committed
// durably. The session would find them too, later.
func (l *lease) tidy(ctx context.Context) {
	entries, err := l.Entries(ctx)
	if err != nil {
		return
	}
	for _, e := range entries {
		l.mu.Lock()
		_, known := l.spots[e.ID] // registered before a Join is sent
		known = known || l.forgotten
		l.mu.Unlock()
		if !known {
			_ = l.Leave(ctx, e)
		}
	}
}

// Update implements driver.Lease.
func (l *lease) Update(ctx context.Context, e driver.Entry, value string) (driver.Entry, error) {
	op := "update an entry of queue " + quoted(e.Name)
	number := l.updates.Add(1)
	var rows []row
	err := l.s.unlocked(ctx, func() (busy bool, err error) {
		rows, err = l.s.rows(ctx, l.s.sql.update, e.Name, int64(e.Token), e.ID, number, []byte(value))
		return err == nil && len(rows) > 0 && rows[0].what == "busy", err
	})
	switch {
	case err != nil:
	case len(rows) == 0 || rows[0].what == "gone":
		err = driver.ErrEntryGone
	default:
		if rows[0].told {
			l.s.tell(e.Name, int64(e.Token))
		}
		return l.s.entry(e.Name, &rows[0]), nil
	}
	return driver.Entry{}, l.s.failed(ctx, op, err)
}

func (s *store) leaving(args []any) request {
	return request{sql: s.sql.leave, args: args, mode: s.mode}
}

// Leave implements driver.Lease.
func (l *lease) Leave(ctx context.Context, e driver.Entry) error {
	err := l.s.unlocked(ctx, func() (busy bool, err error) {
		rows, err := l.s.leaves.ask(ctx, e.Name, l.id, e.Name, int64(e.Token), e.ID)
		if err == nil && len(rows) == 0 {
			err = errEmpty
		}
		return err == nil && rows[0].what == "busy", err
	})
	if err != nil {
		return l.s.failed(ctx, "leave queue "+quoted(e.Name), err)
	}
	l.forget(e.ID)
	return nil
}
