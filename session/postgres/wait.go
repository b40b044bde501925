package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/fairlead-go/fairlead/session/driver"
)

// grace is how long to wait for somebody who has expired and is not to be reaped
// yet: its owner is just renewing it, or has a guarded transaction open.
const grace = 100 * time.Millisecond

// A spot is what a lease knows of one of its claims.
type spot struct {
	*mailbox
	queue string

	registering chan struct{} // held while somebody registers

	// Guarded by the mailbox's mutex.
	waits map[*waiting]struct{} // those under way
	on    driver.Obstacles      // what the server tells of
	since uint64                // the number of messages up to which that is so
	is    bool                  // registered

	refused bool // the entry was told to leave, which may apply late
}

// waiting is a call of Wait.
type waiting struct{ on driver.Obstacles }

// registered notes that the server tells of what happens to an entry.
func (sp *spot) registered(since uint64, token uint64) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.on, sp.since, sp.is = driver.Obstacles{Entries: []driver.Entry{{Token: token}}}, since, true
}

// refuse notes that the entry is about to be told to leave.
func (sp *spot) refuse() {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.refused = true
}

func (sp *spot) isRefused() bool {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.refused
}

// covers reports whether the server tells of all of the obstacles and nothing was
// heard of since; and up to which message that is so.
func (sp *spot) covers(on driver.Obstacles) (uint64, bool) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.since, sp.is && sp.since == sp.heard && (sp.on.Limit || !on.Limit) && containsAll(sp.on.Entries, on.Entries)
}

func containsAll(all, some []driver.Entry) bool {
	for _, e := range some {
		if !slices.ContainsFunc(all, func(a driver.Entry) bool { return a.Token == e.Token }) {
			return false
		}
	}
	return true
}

// begin enters a call of Wait, whose obstacles are then registered along with those
// of others, until end.
func (sp *spot) begin(on driver.Obstacles) (w *waiting, end func()) {
	w = &waiting{on}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.waits[w] = struct{}{}
	return w, func() {
		sp.mu.Lock()
		defer sp.mu.Unlock()
		delete(sp.waits, w)
	}
}

// wanted returns what all calls of Wait wait for, and how many calls there are.
func (sp *spot) wanted() (on driver.Obstacles, calls int) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	for w := range sp.waits {
		on.Limit = on.Limit || w.on.Limit
		for _, e := range w.on.Entries {
			if !containsAll(on.Entries, []driver.Entry{e}) {
				on.Entries = append(on.Entries, e)
			}
		}
	}
	return on, len(sp.waits)
}

// Wait implements driver.Lease. The server is asked, under the queue's lock, whether
// the obstacles are still there, and to send a message when one is not; for an
// exclusive entry that joined, it has been. With the message may come that nobody
// is ahead any more. Should one be lost, the queue is looked at when the obstacle
// would expire, or after a third of our own TTL.
func (l *lease) Wait(ctx context.Context, v driver.View, on driver.Obstacles) (driver.View, error) {
	next, err := l.wait(ctx, v, on)
	if errors.Is(err, driver.ErrEntryGone) {
		l.forget(v.Me.ID)
	}
	return next, l.s.failed(ctx, "wait in queue "+quoted(v.Me.Name), err)
}

func (l *lease) wait(ctx context.Context, v driver.View, on driver.Obstacles) (driver.View, error) {
	sp := l.take(v.Me.Name, v.Me.ID)
	_, end := sp.begin(on)
	defer end()
	since, told := sp.covers(on)
	remains := l.ttl
	for _, e := range on.Entries {
		remains = min(remains, e.TTLLeft)
	}
	for {
		if sp.isTurn() {
			return driver.View{Me: v.Me}, nil
		}
		if !told {
			next, blocked, err := l.consult(ctx, sp, v, on, l.s.poll == 0)
			if err != nil || blocked == nil {
				return next, err
			}
			since, remains = blocked.since, blocked.remains
		}
		why, err := l.listen(ctx, sp, since, remains)
		switch {
		case err != nil:
			return driver.View{}, err
		case why == turn:
			continue
		}
		if told = why == timeout && l.s.poll == 0; !told {
			continue
		}
		// Nobody has told of anything. A look without the lock is enough to see that
		// all is as it should be.
		next, blocked, err := l.consult(ctx, sp, v, on, false)
		if err == nil && blocked == nil {
			l.s.unheard.Add(1)
		}
		if err != nil || blocked == nil {
			return next, err
		}
		remains = blocked.remains
	}
}

// A reason why a wait goes on.
type reason int

const (
	turn    reason = iota // nobody is ahead any more
	message               // something happened
	timeout               // nothing did, for long enough to have a look
)

// listen blocks until there is a message that was not there by since, or for the
// time for which one may safely wait for one.
func (l *lease) listen(ctx context.Context, sp *spot, since uint64, remains time.Duration) (reason, error) {
	patience := min(remains+time.Millisecond, l.ttl/3)
	if l.s.poll > 0 {
		patience = l.s.poll
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	for {
		heard, changed := sp.state()
		switch {
		case sp.isTurn():
			return turn, nil
		case heard != since:
			return message, nil
		}
		select {
		case <-changed:
		case <-t.C:
			return timeout, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-l.s.ctx.Done():
			return 0, errClosed
		}
	}
}

// blockage says how long a wait may go on without a look.
type blockage struct {
	since   uint64
	remains time.Duration
}

// consult asks the server for a view, which it gives unless all of the obstacles are
// as they were. With register it tells of what happens to them from then on.
func (l *lease) consult(ctx context.Context, sp *spot, v driver.View, on driver.Obstacles, register bool) (driver.View, *blockage, error) {
	if register {
		select {
		case sp.registering <- struct{}{}:
			defer func() { <-sp.registering }()
		case <-ctx.Done():
			return driver.View{}, nil, ctx.Err()
		}
	}
	for first := true; ; first = false {
		since, _ := sp.state() // what comes while we ask counts as news
		wanted, calls := sp.wanted()
		relink := register && v.Me.Mode == driver.Exclusive && calls <= 1
		rows, err := l.lookFrom(ctx, v, on, register, wanted, relink)
		if err != nil {
			return driver.View{}, nil, err
		}
		if rows[0].what == "blocked" {
			if register {
				sp.mu.Lock()
				sp.on, sp.since, sp.is = wanted, since, true
				sp.mu.Unlock()
			}
			b := &blockage{since, left(rows[0].left)}
			if rows[0].left > 0 || !first {
				b.remains = max(b.remains, grace)
				return driver.View{}, b, nil
			}
		} else if !slices.ContainsFunc(rows[:len(rows)-1], func(r row) bool { return r.isOver(first) }) {
			next, err := l.view(v.Me.Name, v.Me.ID, rows)
			if err == nil && relink && len(next.Ahead) > 0 {
				sp.registered(since, next.Ahead[len(next.Ahead)-1].Token)
			}
			return next, nil, err
		}
		if err := l.s.reap(ctx, []string{v.Me.Name}); err != nil {
			return driver.View{}, nil, err
		}
	}
}

// lookFrom makes the request. The answer has one row at least.
func (l *lease) lookFrom(ctx context.Context, v driver.View, on driver.Obstacles, register bool, wanted driver.Obstacles, relink bool) ([]row, error) {
	tokens, versions := make([]int64, 0, len(on.Entries)), make([]int64, 0, len(on.Entries))
	for _, e := range on.Entries {
		tokens, versions = append(tokens, int64(e.Token)), append(versions, int64(e.Version))
	}
	limit := int64(-1)
	if on.Limit {
		limit = int64(v.Limit.Version)
	}
	all := make([]int64, 0, len(wanted.Entries))
	for _, e := range wanted.Entries {
		all = append(all, int64(e.Token))
	}
	rows, err := l.s.rows(ctx, l.s.sql.look, v.Me.Name, int64(v.Me.Token), v.Me.ID, v.Me.Mode == driver.Exclusive,
		tokens, versions, limit, register, all, wanted.Limit, relink)
	rows = inOrder(rows)
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0, rows[0].what == "gone", rows[0].isEntry() && rows[len(rows)-1].token != int64(v.Me.Token):
		return nil, driver.ErrEntryGone
	}
	return rows, nil
}

// take returns the spot of a claim on a queue, making it if need be.
func (l *lease) take(queue, claim string) *spot {
	l.mu.Lock()
	defer l.mu.Unlock()
	sp, ok := l.spots[claim]
	if !ok {
		sp = &spot{queue: queue, registering: make(chan struct{}, 1), waits: map[*waiting]struct{}{}}
		if l.forgotten { // nobody would close it
			sp.mailbox = newMailbox()
			return sp
		}
		sp.mailbox = l.s.hub.open(claim)
		l.spots[claim] = sp
	}
	return sp
}

// forget gives up the spot of a claim whose entry is gone.
func (l *lease) forget(claim string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.spots[claim]; ok {
		delete(l.spots, claim)
		l.s.hub.close(claim)
	}
}

// newPause spaces out attempts: 10 ms at first, then longer, up to a second.
func newPause() backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(10*time.Millisecond), backoff.WithMaxInterval(time.Second), backoff.WithMaxElapsedTime(0))
}

// sleep waits for d, or fails with ctx's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
