package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A sighting is what a conditional Join has seen of a queue. Every change shows in
// it: an entry that is made or updated takes the highest version, one that leaves
// lowers the number.
type sighting struct{ n, version, limit int64 }

var (
	unseen  = sighting{n: -1}            // whatever the queue is; its limit is looked at all the same
	nothing = sighting{}                 // no entries
	unknown = sighting{n: math.MaxInt64} // no queue is so: show it
)

// sightingOf returns what the answer to a Join that was not made shows.
func sightingOf(rows []row) sighting {
	s := sighting{limit: rows[0].limitVersion}
	for _, r := range rows {
		if r.isEntry() {
			s.n, s.version = s.n+1, max(s.version, r.version)
		}
	}
	return s
}

// maxConflicts is how often a conditional Join finds another queue than the one that it has seen
// before it joins whatever the queue is. The first time is as usual as not: the queue was
// believed to be empty.
const maxConflicts = 5

// Join implements driver.Lease. It is one request, which also registers an exclusive
// entry with the one ahead of it, so that the Wait that follows needs none. With Admit there are
// some more where the queue changes all the time, and then judge decides.
func (l *lease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	sp := l.take(c.Name, c.ID)
	v, err := l.join(ctx, c, sp)
	if _, limit := errors.AsType[*driver.LimitError](err); limit || errors.Is(err, driver.ErrRefused) {
		l.forget(c.ID)
	}
	return v, l.s.failed(ctx, "join queue "+quoted(c.Name), err)
}

func (l *lease) join(ctx context.Context, c driver.Claim, sp *spot) (driver.View, error) {
	me := driver.Entry{
		Name: c.Name, Key: l.s.key(l.id, c.ID), ID: c.ID, Lease: l.ID(), Kind: c.Kind, Mode: c.Mode,
		Value: c.Value, Info: c.Info, Identity: l.identity,
	}
	seen := unseen
	if c.Admit != nil {
		// Most often the queue is empty, or the caller would not ask so.
		if seen = nothing; !c.Admit(driver.View{Me: me, Limit: driver.Limit{N: c.Limit}}) {
			seen = unknown
		}
	}
	what := []any{l.id, c.Name, c.ID, c.Kind, string(c.Mode), []byte(c.Value), encodeInfo(c.Info), c.Limit}
	conflicts := 0
	for reaped := false; ; {
		args := append(what[:len(what):len(what)], seen.n, seen.version, seen.limit, l.s.crowds.has(c.Name))
		var rows []row
		var err error
		if c.Mode == driver.Exclusive && c.Value == "" && c.Admit == nil {
			rows, err = l.s.joins.ask(ctx, c.Name, args...) // the answer is one entry at most, of that kind
		} else {
			rows, err = l.s.joins.askAlone(ctx, args...)
		}
		switch {
		case err != nil:
			return driver.View{}, err
		case len(rows) == 0:
			return driver.View{}, errEmpty
		case rows[0].what == "appended" && rows[len(rows)-1].what != "flushed":
			return driver.View{}, errUndone
		case rows[0].what == "appended":
			rows = rows[:len(rows)-1]
			fallthrough
		case rows[0].what == "joined":
			v, err := l.joined(ctx, sp, me, rows)
			if err == nil && seen == unseen {
				err = l.judge(ctx, c, v)
			}
			return v, err
		case rows[0].what == "lease":
			return driver.View{}, driver.ErrLeaseGone
		case rows[0].what == "settled":
			return driver.View{}, errors.New("the claim was given up before")
		case slices.ContainsFunc(rows, func(r row) bool { return r.isOver(!reaped) }):
			if err := l.s.reap(ctx, []string{c.Name}); err != nil {
				return driver.View{}, err
			}
			reaped = true
			continue
		}
		ahead := l.s.entries(c.Name, rows)
		switch {
		case rows[0].what == "limit":
			return driver.View{}, &driver.LimitError{Limit: rows[0].n, Ahead: ahead}
		case c.Admit == nil || !c.Admit(driver.View{Me: me, Ahead: ahead, Limit: rows[0].limit()}):
			return driver.View{}, &driver.Refused{Ahead: ahead}
		}
		seen = sightingOf(rows)
		if conflicts++; conflicts >= maxConflicts {
			seen = unseen
		}
	}
}

// judge decides over an entry that may have been made whatever the queue was, by its view. One
// that is refused leaves; the error is a refusal when it is known to have left. Who joins
// meanwhile waits for that, and a Try is refused for it.
func (l *lease) judge(ctx context.Context, c driver.Claim, v driver.View) error {
	if c.Admit == nil || c.Admit(v) {
		return nil
	}
	l.take(c.Name, c.ID).refuse()
	if err := l.Leave(ctx, v.Me); err != nil {
		return err // it may still be there
	}
	return &driver.Refused{Ahead: v.Ahead}
}

// joining is the request that a Join is. With soon, its last argument, the entry is visible
// before it is on the disk, so that the queue is not locked for as long as that takes, and on
// the disk when the request is answered.
func (s *store) joining(args []any) request {
	r := request{sql: s.sql.join, args: args, mode: s.mode}
	if session, claim, soon := args[0], args[2], args[len(args)-1]; soon == true {
		r.then = &request{sql: s.sql.flush, args: []any{session, claim}, mode: s.mode}
	}
	return r
}

// crowds are the queues where somebody was ahead when we joined them last. There it pays to
// unlock the queue before the flush; elsewhere it is a statement more.
type crowds struct {
	mu    sync.Mutex
	names map[string]struct{}
}

// maxCrowds bounds them. It is a guess whether a queue is one of them, and no more.
const maxCrowds = 10_000

func (c *crowds) has(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.names[name]
	return ok
}

func (c *crowds) note(name string, ahead int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ahead == 0 {
		delete(c.names, name)
		return
	}
	if c.names == nil || len(c.names) == maxCrowds {
		c.names = map[string]struct{}{}
	}
	c.names[name] = struct{}{}
}

// joined returns the view from an entry that was just made. Where who is ahead of it
// has to be reaped first, that is a later one.
func (l *lease) joined(ctx context.Context, sp *spot, me driver.Entry, rows []row) (driver.View, error) {
	status, ahead := &rows[0], rows[1:]
	l.s.crowds.note(me.Name, len(ahead))
	me.Token, me.Version, me.TTLLeft = uint64(status.token), uint64(status.version), left(status.left)
	if status.told {
		l.s.tell(me.Name, ofQueue)
	}
	if slices.ContainsFunc(ahead, func(r row) bool { return r.isOver(true) }) {
		if err := l.s.reap(ctx, []string{me.Name}); err != nil {
			return driver.View{}, err
		}
		v, err := l.look(ctx, me)
		v.Followed = true
		return v, err
	}
	if me.Mode == driver.Exclusive && len(ahead) > 0 {
		sp.registered(0, uint64(ahead[0].token))
	}
	v := driver.View{Me: me, Ahead: l.s.entries(me.Name, ahead)}
	if me.Mode == driver.Permit {
		v.Limit = status.limit()
	}
	return v, nil
}

// Resolve implements driver.Lease. Under the lock that a Join takes as well, it finds
// the entry or notes that the claim must not be made any more. The Join may not have come to
// judge the entry. One that was admitted is admitted again, as those ahead can but leave, unless
// the limit has become smaller: then it leaves, and the session asks anew. One that was told to
// leave is adopted in no case: that may apply late, and would take it away from who holds by it.
func (l *lease) Resolve(ctx context.Context, c driver.Claim) (driver.View, error) {
	op := "resolve the claim on " + quoted(c.Name)
	if l.take(c.Name, c.ID).isRefused() { // taken anew where the session has not given it up
		err := l.Withdraw(ctx, c)
		if err == nil {
			err = fmt.Errorf("%s: the entry was taken back: %w", op, driver.ErrEntryGone)
		}
		return driver.View{}, err
	}
	rows, err := l.s.alive(ctx, c.Name, func() ([]row, error) { return l.ask(ctx, c, false) })
	if err != nil {
		if errors.Is(err, driver.ErrEntryGone) {
			l.forget(c.ID)
		}
		return driver.View{}, l.s.failed(ctx, op, err)
	}
	v, err := l.view(c.Name, c.ID, rows)
	if err == nil {
		err = l.judge(ctx, c, v)
	}
	if errors.Is(err, driver.ErrRefused) {
		err = fmt.Errorf("the entry was taken back: %w", driver.ErrEntryGone)
	}
	return v, l.s.failed(ctx, op, err)
}

// ask settles the claim, and returns the queue up to its entry.
func (l *lease) ask(ctx context.Context, c driver.Claim, always bool) ([]row, error) {
	rows, err := l.s.rows(ctx, l.s.sql.settle, l.id, c.Name, c.ID, c.Mode == driver.Exclusive, always)
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0, rows[0].what == "gone":
		return nil, driver.ErrEntryGone
	case rows[0].what == "lease":
		return nil, driver.ErrLeaseGone
	}
	return inOrder(rows), nil
}

// Withdraw implements driver.Lease. It settles the claim, durably, and then removes
// the entry, which tells others and so must not be durable.
func (l *lease) Withdraw(ctx context.Context, c driver.Claim) error {
	op := "withdraw the claim on " + quoted(c.Name)
	rows, err := l.ask(ctx, c, true)
	if err == nil {
		me := rows[len(rows)-1]
		err = l.Leave(ctx, driver.Entry{Name: c.Name, ID: c.ID, Token: uint64(me.token)})
	}
	if err == nil || errors.Is(err, driver.ErrEntryGone) {
		l.forget(c.ID)
		return nil
	}
	return l.s.failed(ctx, op, err)
}

// view makes the view from the claim's entry, which is the last of the rows.
func (l *lease) view(name, claim string, rows []row) (driver.View, error) {
	if len(rows) == 0 || rows[len(rows)-1].id != claim {
		return driver.View{}, driver.ErrEntryGone
	}
	me := &rows[len(rows)-1]
	if me.left < 0 {
		return driver.View{}, driver.ErrLeaseGone
	}
	v := driver.View{Me: l.s.entry(name, me), Ahead: l.s.entries(name, rows[:len(rows)-1])}
	if v.Me.Mode == driver.Permit && (len(v.Ahead) == 0 || isLimited(v.Ahead)) {
		v.Limit = me.limit()
	}
	return v, nil
}

// Look implements driver.Lease.
func (l *lease) Look(ctx context.Context, e driver.Entry) (driver.View, error) {
	v, err := l.look(ctx, e)
	return v, l.s.failed(ctx, "look at queue "+quoted(e.Name), err)
}

func (l *lease) look(ctx context.Context, e driver.Entry) (driver.View, error) {
	rows, err := l.s.alive(ctx, e.Name, func() ([]row, error) {
		rows, err := l.s.rows(ctx, l.s.sql.look, e.Name, int64(e.Token), e.ID, e.Mode == driver.Exclusive,
			[]int64{}, []int64{}, int64(-1), false, []int64{}, false, false)
		rows = inOrder(rows)
		if err == nil && len(rows) > 0 && rows[len(rows)-1].left <= 0 && rows[len(rows)-1].id == e.ID {
			err = driver.ErrLeaseGone
		}
		return rows, err
	})
	if err != nil {
		return driver.View{}, err
	}
	if n := len(rows); n > 0 && rows[n-1].token != int64(e.Token) {
		return driver.View{}, driver.ErrEntryGone
	}
	return l.view(e.Name, e.ID, rows)
}
