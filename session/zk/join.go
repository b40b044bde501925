package zk

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Join implements driver.Lease. It is one transaction, and then a look where that shows
// that somebody else is in the queue:
//
//	check   that the session's node is there, at the epoch that we know
//	create  the entry
//	set     the queue's node: that tells the entry's number in the order of all
//	        changes, which is its token, how many there are in the queue, and
//	        that somebody has joined
//
// With Admit, the last is guarded on the version at which Admit has seen the queue; but where
// others have joined meanwhile again and again, it is guarded no more. Those of other libraries
// do not set the node. So who came meanwhile may show in the look alone: then the entry
// is taken back, after a moment in the queue.
func (l *lease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	op := "join queue " + quoted(c.Name)
	name, err := nodeName(c)
	if err != nil {
		return driver.View{}, fmt.Errorf("%s: %w", op, err)
	}
	known := l.claim(c)
	wanted := func() error { return l.wanted(known) }
	if c.Limit > 0 {
		if err := l.unlessStale(ctx, func() error { return l.ensureLimit(ctx, c, wanted) }); err != nil {
			return driver.View{}, l.refused(ctx, op, c, err)
		}
	}
	me, alone, err := l.create(ctx, c, name, wanted)
	if errors.Is(err, errUnsent) {
		l.unsent(known)
	}
	if err != nil {
		return driver.View{}, l.refused(ctx, op, c, err)
	}
	l.made(c.ID, me.Key, me.Token)
	v, err := l.settleIn(ctx, c, me, alone, wanted)
	if err != nil {
		return driver.View{}, l.refused(ctx, op, c, err)
	}
	return v, nil
}

// refused forgets a claim that is known to have no entry.
func (l *lease) refused(ctx context.Context, op string, c driver.Claim, err error) error {
	if isRefusal(err) {
		l.drop(c.ID)
	}
	return l.failed(ctx, op, err)
}

// create makes the entry, and tells whether it is alone in the queue: the operations of a
// transaction apply in their order, and nothing between them, so that the last one counts
// what there is with the entry.
func (l *lease) create(ctx context.Context, c driver.Claim, name string, wanted func() error) (me driver.Entry, alone bool, err error) {
	dir := l.s.queueDir(c.Name)
	entry := &zk.CreateRequest{
		Path: dir + "/" + name, Data: encodeEntry(c.Kind, c.Info, c.Value), Acl: l.s.acl, Flags: zk.FlagEphemeral | zk.FlagSequence,
	}
	done, err := l.make(ctx, c, dir, entry, wanted)
	if err != nil {
		return me, false, err
	}
	me = driver.Entry{
		Name: c.Name, Key: done[0].String, ID: c.ID, Token: uint64(done[1].Stat.Mzxid), Lease: l.id,
		Kind: c.Kind, Mode: c.Mode, Value: c.Value, Info: c.Info,
	}
	return me, done[1].Stat.NumChildren == 1, nil
}

// make makes the entry, perhaps together with others. It returns the answers to what makes
// it, and to what sets the queue's node. A join that may be refused for what is in its
// queue goes alone: others have nothing to do with that.
func (l *lease) make(ctx context.Context, c driver.Claim, dir string, entry *zk.CreateRequest, wanted func() error) ([]zk.MultiResponse, error) {
	alone := func() ([]zk.MultiResponse, error) { return l.makeAlone(ctx, c, dir, entry, wanted) }
	if c.Admit != nil || c.Limit > 0 {
		return alone()
	}
	ops := []any{entry, &zk.SetDataRequest{Path: dir, Version: -1}}
	size := len(entry.Path) + len(entry.Data) + len(dir) + overhead
	return l.joins.do(ctx, c.Name, size, ops, wanted, alone)
}

// maxConflicts is how often a conditional Join finds that others have joined since it looked,
// before it joins whoever is there. Then settleIn decides, and so does Resolve.
const maxConflicts = 5

// makeAlone is make in a transaction of the entry's own.
func (l *lease) makeAlone(ctx context.Context, c driver.Claim, dir string, entry *zk.CreateRequest, wanted func() error) ([]zk.MultiResponse, error) {
	for conflicts := 0; ; {
		epoch := l.epoch.Load()
		if err := wanted(); err != nil {
			return nil, err
		}
		set := &zk.SetDataRequest{Path: dir, Version: -1}
		if c.Admit != nil {
			err := l.unlessStale(ctx, func() (err error) {
				set.Version, err = l.admit(ctx, c, dir, wanted)
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		if conflicts >= maxConflicts {
			set.Version = -1
		}
		done, failed, err := l.c.multi(ctx, &zk.CheckVersionRequest{Path: l.s.sessionPath(l.id), Version: epoch}, entry, set)
		switch {
		case err == nil:
			return done[1:], nil
		case failed == 0 && errors.Is(err, zk.ErrNoNode):
			return nil, driver.ErrLeaseGone
		case failed == 0 && errors.Is(err, zk.ErrBadVersion):
			err = l.readEpoch(ctx)
		case failed == 1 && errors.Is(err, zk.ErrNoNode):
			err = l.s.makeDirs(ctx, l.c, dir)
		case failed == 2 && (errors.Is(err, zk.ErrBadVersion) || errors.Is(err, zk.ErrNoNode)):
			conflicts++ // somebody has joined, or the node was made anew: Admit has to look again
			err = nil
		default:
			err = mayBeTooLarge(err, len(entry.Data))
		}
		if err != nil {
			return nil, err
		}
	}
}

// unlessStale makes a call that looks at a queue, and may refuse a claim for what is in it.
// A server may lag behind what the claimant has been told of, a release say. So a refusal
// counts once it was found in what is as new as the claim: only who is refused pays for that.
func (l *lease) unlessStale(ctx context.Context, look func() error) error {
	err := look()
	if !isRefusal(err) {
		return err
	}
	if err := l.c.catchUp(ctx); err != nil {
		return err
	}
	return look()
}

// admit asks Admit about the queue as it is, and returns the version of its node.
func (l *lease) admit(ctx context.Context, c driver.Claim, dir string, wanted func() error) (int32, error) {
	for {
		n, err := l.c.exists(ctx, dir)
		if errors.Is(err, zk.ErrNoNode) {
			if err := l.s.makeDirs(ctx, l.c, dir); err != nil {
				return 0, err
			}
			continue
		}
		if err != nil {
			return 0, err
		}
		q, err := l.visible(ctx, c)
		if err != nil {
			return 0, err
		}
		if len(q.Entries) == 0 { // it is ours, as ensureLimit saw
			q.Limit = driver.Limit{N: c.Limit}
		}
		if c.Limit > 0 && q.Limit.N == 0 && q.Entries[0].Mode == driver.Permit {
			// The last one has just taken it away, while that one joined, who has yet to
			// put it back.
			if err := l.ensureLimit(ctx, c, wanted); err != nil {
				return 0, err
			}
			continue
		}
		me := driver.Entry{Name: c.Name, ID: c.ID, Lease: l.id, Kind: c.Kind, Mode: c.Mode, Value: c.Value, Info: c.Info}
		if err := limitIs(c, q.Entries, q.Limit); err != nil {
			return 0, err
		}
		if !c.Admit(driver.View{Me: me, Ahead: q.Entries, Limit: q.Limit}) {
			return 0, &driver.Refused{Ahead: q.Entries}
		}
		return n.stat.Version, nil
	}
}

// visible returns what the view of a claim has to show of its queue: all to a permit, with the
// limit. For who is ahead of a shared one see nearest; an exclusive one sees the first as
// well, which has its turn, and is who holds.
func (l *lease) visible(ctx context.Context, c driver.Claim) (driver.Queue, error) {
	if c.Mode == driver.Permit || c.Limit > 0 {
		return l.s.readQueue(ctx, l.c, c.Name, 0)
	}
	q := driver.Queue{Name: c.Name}
	ps, err := l.places(ctx, c.Name)
	if err == nil {
		q.Entries, err = l.nearest(ctx, driver.Entry{Name: c.Name, Mode: c.Mode}, ps, false)
	}
	if err == nil && c.Mode == driver.Exclusive {
		q.Entries, err = l.withFirst(ctx, q.Entries, ps)
	}
	return q, err
}

// places lists a queue, in its order.
func (l *lease) places(ctx context.Context, name string) ([]place, error) {
	list, err := l.c.children(ctx, l.s.queueDir(name))
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return l.s.ordered(ctx, l.c, name, list.names)
}

// withFirst adds the first entry of the places to the one that is nearest, if any is.
func (l *lease) withFirst(ctx context.Context, nearest []driver.Entry, ps []place) ([]driver.Entry, error) {
	for _, p := range ps {
		if len(nearest) == 0 || p.name == path.Base(nearest[0].Key) {
			break
		}
		e, err := l.s.entry(ctx, l.c, nearest[0].Name, p)
		switch {
		case errors.Is(err, driver.ErrEntryGone):
			continue
		case err == nil && e.Token < nearest[0].Token:
			nearest = []driver.Entry{e, nearest[0]}
		}
		return nearest, err // where the nearest has left, the first may be who is behind it
	}
	return nearest, nil
}

// limitIs returns an error if the queue of a permit has another limit, or none.
func limitIs(c driver.Claim, ahead []driver.Entry, limit driver.Limit) error {
	switch {
	case c.Limit == 0:
		return nil
	case len(ahead) > 0 && ahead[0].Mode != driver.Permit:
		return &driver.LimitError{Ahead: ahead}
	case limit.N != c.Limit:
		return &driver.LimitError{Limit: limit.N, Ahead: ahead}
	}
	return nil
}

// settleIn looks at the queue from an entry that was just made. It takes the entry
// back where it should not be there: ahead of it are those whom we could not see
// before, or others give the queue another limit in the same moment. One that was alone
// then need not look who is ahead.
func (l *lease) settleIn(ctx context.Context, c driver.Claim, me driver.Entry, alone bool, wanted func() error) (v driver.View, err error) {
	limit := c.Limit
	if c.Admit != nil { // which sees all
		limit = 0
	}
	if alone {
		v, err = l.viewOf(ctx, me, listing{names: []string{path.Base(me.Key)}}, true, limit)
	} else {
		v, err = l.view(ctx, me, true, limit)
	}
	if err == nil && c.Limit > 0 && v.Limit.N == 0 { // the last one has just taken it away
		if err = l.ensureLimit(ctx, c, wanted); err == nil {
			v, err = l.view(ctx, me, true, limit)
		}
	}
	if err == nil {
		err = limitIs(c, v.Ahead, v.Limit)
	}
	refused := err == nil && c.Admit != nil && !c.Admit(v)
	if refused {
		err = &driver.Refused{Ahead: v.Ahead}
	}
	if isRefusal(err) {
		if e := l.Leave(ctx, me); e != nil {
			return v, e // it may still be there
		}
	}
	if refused && c.Mode == driver.Exclusive { // which sees the nearest, where who holds is to be told of
		if ps, e := l.places(ctx, c.Name); e == nil {
			if ahead, e := l.withFirst(ctx, v.Ahead, ps); e == nil {
				err = &driver.Refused{Ahead: ahead}
			}
		}
	}
	return v, err
}

// readEpoch takes up the epoch as it is.
func (l *lease) readEpoch(ctx context.Context) error {
	n, err := l.c.exists(ctx, l.s.sessionPath(l.id))
	if errors.Is(err, zk.ErrNoNode) {
		return driver.ErrLeaseGone
	}
	if err == nil {
		l.advance(n.stat.Version)
	}
	return err
}

// advance moves the epoch on, never back.
func (l *lease) advance(version int32) {
	for {
		epoch := l.epoch.Load()
		if version <= epoch || l.epoch.CompareAndSwap(epoch, version) {
			return
		}
	}
}

// fence moves the session's node to a new epoch: no Join from before can apply any
// more. Where many ask, as after a connection was lost, one does for all.
func (l *lease) fence(ctx context.Context) error {
	return l.fences.do(ctx, func() error {
		return l.setSession(l.c.life, func(r *sessionRecord) { r.Identity = l.identity })
	})
}

// find returns the entry of a claim, by its ID. What it reads is at least as new as
// the fence.
func (l *lease) find(ctx context.Context, c driver.Claim) (driver.Entry, bool, error) {
	list, err := l.c.children(ctx, l.s.queueDir(c.Name))
	if errors.Is(err, zk.ErrNoNode) {
		return driver.Entry{}, false, nil
	}
	if err != nil {
		return driver.Entry{}, false, err
	}
	for _, p := range l.s.places(c.Name, list.names) {
		if p.id != c.ID {
			continue
		}
		e, err := l.s.entry(ctx, l.c, c.Name, p)
		if errors.Is(err, driver.ErrEntryGone) {
			return e, false, nil
		}
		return e, err == nil && e.Lease == l.id, err
	}
	return driver.Entry{}, false, nil
}

// Resolve implements driver.Lease.
func (l *lease) Resolve(ctx context.Context, c driver.Claim) (driver.View, error) {
	op := "resolve the claim on " + quoted(c.Name)
	gone := fmt.Errorf("%s: %w", op, driver.ErrEntryGone)
	if _, err := nodeName(c); err != nil || l.giveUp(c.ID) {
		return driver.View{}, gone
	}
	if err := l.fence(ctx); err != nil {
		return driver.View{}, l.failed(ctx, op, err)
	}
	e, ok, err := l.find(ctx, c)
	if err != nil {
		return driver.View{}, l.failed(ctx, op, err)
	}
	if !ok {
		l.drop(c.ID)
		return driver.View{}, gone
	}
	known := l.claim(c)
	l.made(c.ID, e.Key, e.Token)
	v, err := l.settleIn(ctx, c, e, false, func() error { return l.wanted(known) })
	if isRefusal(err) { // it was taken back, also where the limit has changed only since it was made
		return driver.View{}, gone
	}
	return v, l.failed(ctx, op, err)
}

// Withdraw implements driver.Lease.
func (l *lease) Withdraw(ctx context.Context, c driver.Claim) error {
	op := "withdraw the claim on " + quoted(c.Name)
	if _, err := nodeName(c); err != nil || l.giveUp(c.ID) {
		return nil // never asked for
	}
	if err := l.fence(ctx); err != nil {
		return l.failed(ctx, op, err)
	}
	e, ok, err := l.find(ctx, c)
	if err == nil && ok {
		err = l.delete(ctx, e.Key)
	}
	if err == nil && c.Limit > 0 {
		err = l.s.tidy(ctx, l.c, c.Name)
	}
	if err == nil {
		l.drop(c.ID)
	}
	return l.failed(ctx, op, err)
}
