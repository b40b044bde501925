package zk

import (
	"context"
	"errors"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

// To read anything once the turn has come doubles the time that a hand-off takes where one
// comes right after the other: a server of its own answers reads in the order of commits,
// and whoever has just released joins again. So where a queue changes hands all the time,
// an exclusive entry knows from events alone that it is its turn:
//
//   - Who leaves as the first of its queue, with others behind, changes its data in the
//     step that deletes it. Nobody changes them before it is first: only who holds does.
//   - So when the data of the nearest ahead have changed and it has left, nobody is ahead.
//     One that leaves otherwise has given up or expired, and says nothing of those ahead of
//     it. Where it was the only one ahead when the queue was listed, it was first then.
//   - The entry itself is there, or the watch on it would have fired before: events come in
//     the order in which things happen, on one connection. On the next, what happened
//     between is told in any order.
//
// It takes three watches, where one that looks at the queue once more has one.

// A following is what an entry knows of the nearest ahead, and has watched.
type following struct {
	key   string // of the nearest ahead
	first bool   // that is the first of the queue
	gone  *watch // that fires when that leaves, and not before
	own   *watch // on the entry
	event int    // the latest of the connection before they were set
}

// follow sets the watches by which an entry knows that it is its turn, beside the one on
// the nearest ahead, which is set; only says that nobody else is ahead. Each is on an
// entry's children, of which it has none: it fires when the entry leaves, not when its data
// change; and where that has left, none is set.
func (l *lease) follow(me, ahead driver.Entry, only bool) {
	f := &following{key: ahead.Key, first: only, event: l.c.event()}
	var err error
	if !only {
		if ahead.Kind == "" {
			return // another program's: who knows what changes there
		}
		if _, f.gone, err = l.c.childrenW(l.c.life, ahead.Key); err != nil {
			return
		}
	}
	if _, f.own, err = l.c.childrenW(l.c.life, me.Key); err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.claims[me.ID]; ok {
		c.following = f
	}
}

// followed returns what an entry knows of its only obstacle, or nil.
func (l *lease) followed(me driver.Entry, on driver.Obstacles) *following {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.claims[me.ID]
	if !ok || c.following == nil || len(on.Entries) != 1 || on.Entries[0].Key != c.following.key {
		return nil
	}
	return c.following
}

// sameStep is how long two events of one transaction may take to arrive one after the
// other.
const sameStep = 10 * time.Millisecond

// isTurn tells, when the watch on the only obstacle has fired, whether nobody is ahead any
// more. Where it says no, anything is possible.
func (l *lease) isTurn(me driver.Entry, on driver.Obstacles, w *watch) bool {
	f := l.followed(me, on)
	switch {
	case f == nil:
		return false
	case w.left():
		if !f.first {
			return false
		}
	case !w.set() || f.gone == nil || !f.gone.firesWithin(sameStep) || !f.gone.left():
		return false
	}
	return !f.own.hasFired() && f.event == l.c.event()
}

// isFirst records a view from an entry which is the first of its queue, and so it stays.
func (l *lease) isFirst(v driver.View) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.claims[v.Me.ID]; ok {
		c.first, c.behind = true, v.Followed
	}
}

// leaving returns what removes an entry, alone or among others. See following.
func (l *lease) leaving(e driver.Entry) (ops []any, alone func(context.Context) error) {
	l.mu.Lock()
	c, ok := l.claims[e.ID]
	tell := ok && c.path == e.Key && c.first && c.behind
	l.mu.Unlock()
	remove := &zk.DeleteRequest{Path: e.Key, Version: -1}
	if !tell {
		return []any{remove}, func(ctx context.Context) error { return l.delete(ctx, e.Key) }
	}
	ops = []any{&zk.SetDataRequest{Path: e.Key, Version: -1}, remove}
	return ops, func(ctx context.Context) error {
		_, _, err := l.c.multi(ctx, ops...)
		if errors.Is(err, zk.ErrNoNode) {
			err = nil
		}
		return err
	}
}
