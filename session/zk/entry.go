package zk

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

// view looks at the queue from an entry of ours: at who is ahead and, for a permit,
// then at the limit. That order is safe though it is not one look: who is ahead can
// only become less, and a limit read before could be one that is no longer in
// force.
//
// With watching, the nearest ahead of one who waits for that alone is watched. limit is that
// of a permit which need not see all, as it was known before, and else 0: see crowdAhead.
func (l *lease) view(ctx context.Context, me driver.Entry, watching bool, limit int64) (driver.View, error) {
	list, err := l.c.children(ctx, l.s.queueDir(me.Name))
	if errors.Is(err, zk.ErrNoNode) {
		return driver.View{}, driver.ErrEntryGone
	}
	if err != nil {
		return driver.View{}, err
	}
	return l.viewOf(ctx, me, list, watching, limit)
}

// viewOf makes a view of what is in the queue.
func (l *lease) viewOf(ctx context.Context, me driver.Entry, list listing, watching bool, limit int64) (v driver.View, err error) {
	places, err := l.s.ordered(ctx, l.c, me.Name, list.names)
	if err != nil {
		return driver.View{}, err
	}
	at := slices.IndexFunc(places, func(p place) bool { return p.name == path.Base(me.Key) })
	if at < 0 {
		return driver.View{}, fmt.Errorf("entry %q: %w", me.Key, driver.ErrEntryGone)
	}
	v = driver.View{Me: me, Followed: at < len(places)-1}
	if me.Mode == driver.Permit {
		return l.viewOfPermit(ctx, v, places[:at], limit)
	}
	v.Ahead, err = l.nearest(ctx, me, places[:at], watching)
	if err == nil && me.Mode == driver.Exclusive && len(v.Ahead) == 0 {
		l.isFirst(v)
	}
	return v, err
}

// viewOfPermit adds who is ahead, and then the limit.
func (l *lease) viewOfPermit(ctx context.Context, v driver.View, ps []place, limit int64) (driver.View, error) {
	if limit > 0 && int64(len(ps)) > limit {
		if crowded, err := l.crowdAhead(ctx, v, ps); err != nil || crowded.Hidden > 0 {
			return crowded, err
		}
	}
	var err error
	if v.Ahead, err = l.s.entries(ctx, l.c, v.Me.Name, ps); err == nil {
		v.Limit, err = l.s.readLimit(ctx, l.c, v.Me.Name)
	}
	// Where somebody has left since the list, or the limit was changed since the entry was
	// made, the view is later than the list, and who is behind may not be in that.
	v.Followed = v.Followed || len(v.Ahead) < len(ps) || v.Limit.Version > v.Me.Token
	return v, err
}

// crowdAhead is the view of a permit that sees the nearest ahead alone, where that has to
// wait for sure: so many are ahead of it that the limit is used up, whatever they weigh, it
// has never been stamped, and it is none of those that hold in spite of the limit. Otherwise
// nothing is hidden, and the view is of no use.
//
// Some of those may have left since the list. But an entry that is not stamped when its turn
// comes had its turn when nobody was behind it, at a time when fewer were ahead; see viewOfPermit.
func (l *lease) crowdAhead(ctx context.Context, v driver.View, ps []place) (driver.View, error) {
	if slices.ContainsFunc(ps, func(p place) bool { return p.mode != driver.Permit }) {
		return v, nil
	}
	last := len(ps) - 1
	nearest, err := l.s.entryBy(ctx, l.c.getAndWatch, v.Me.Name, ps[last])
	if errors.Is(err, driver.ErrEntryGone) {
		return v, nil
	}
	if err == nil {
		v.Limit, err = l.s.readLimit(ctx, l.c, v.Me.Name)
	}
	if n := v.Limit.N; err == nil && n > 0 && int64(last) >= n && nearest.Version == 0 && nearest.Token > v.Limit.Through {
		v.Ahead, v.Hidden = []driver.Entry{nearest}, last
	}
	return v, err
}

// nearest returns the last of the places that is an entry and, to a shared one, not
// shared itself, as their names tell. One with a value may have become so: then who
// is ahead of it counts as well.
func (l *lease) nearest(ctx context.Context, me driver.Entry, ps []place, watching bool) (ahead []driver.Entry, err error) {
	following := watching && me.Mode == driver.Exclusive && l.isBack(me.Name)
	for i, p := range slices.Backward(ps) {
		if me.Mode == driver.Shared && p.mode == driver.Shared {
			continue
		}
		e, err := l.s.entryBy(ctx, func(ctx context.Context, key string) (node, error) {
			switch {
			case following:
				return l.follow(ctx, me, key, i == 0)
			case watching:
				return l.c.getAndWatch(ctx, key)
			}
			return l.c.get(ctx, key)
		}, me.Name, p)
		if errors.Is(err, driver.ErrEntryGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ahead = append(ahead, e)
		if me.Mode == driver.Exclusive {
			l.sawAhead(me.Name, e)
			break
		}
		if e.Value == "" {
			break
		}
	}
	slices.Reverse(ahead)
	return ahead, nil
}

// Look implements driver.Lease.
func (l *lease) Look(ctx context.Context, e driver.Entry) (driver.View, error) {
	op := "look at queue " + quoted(e.Name)
	if err := l.c.catchUp(ctx); err != nil {
		return driver.View{}, l.failed(ctx, op, err)
	}
	me, err := l.own(ctx, e)
	if err != nil {
		return driver.View{}, l.failed(ctx, op, err)
	}
	v, err := l.view(ctx, me, false, 0)
	return v, l.failed(ctx, op, err)
}

// own reads an entry, which has to be the one that is meant.
func (l *lease) own(ctx context.Context, e driver.Entry) (driver.Entry, error) {
	at, ok := parseNode(path.Base(e.Key))
	if !ok {
		return e, driver.ErrEntryGone
	}
	now, err := l.s.entry(ctx, l.c, e.Name, place{at, path.Base(e.Key)})
	if err == nil && now.Token != e.Token {
		err = driver.ErrEntryGone
	}
	return now, err
}

// Update implements driver.Lease. The version that we know may be out of date,
// because an earlier Update of ours took effect and its reply was lost.
func (l *lease) Update(ctx context.Context, e driver.Entry, value string) (driver.Entry, error) {
	op := "update an entry of queue " + quoted(e.Name)
	for {
		data := encodeEntry(e.Kind, e.Info, value)
		stat, err := call(ctx, l.c, func() (*zk.Stat, error) { return l.c.Set(e.Key, data, int32(e.Version)) })
		switch {
		case err == nil && uint64(stat.Czxid) != e.Token, errors.Is(err, zk.ErrNoNode):
			return driver.Entry{}, fmt.Errorf("%s: %w", op, driver.ErrEntryGone)
		case err == nil:
			e.Version, e.Value = uint64(stat.Version), value
			return e, nil
		case !errors.Is(err, zk.ErrBadVersion):
			return driver.Entry{}, l.failed(ctx, op, mayBeTooLarge(err, len(data)))
		}
		now, err := l.own(ctx, e)
		if err != nil {
			return driver.Entry{}, l.failed(ctx, op, err)
		}
		if e.Version = now.Version; now.Value == value {
			return now, nil
		}
	}
}

// Leave implements driver.Lease. No two entries ever have the same path, so whatever
// arrives late finds its own or none.
func (l *lease) Leave(ctx context.Context, e driver.Entry) error {
	op := "leave queue " + quoted(e.Name)
	if e.Token != 0 && !l.hasMade(e) { // not one that we know: is it the one that is meant?
		if _, err := l.own(ctx, e); errors.Is(err, driver.ErrEntryGone) {
			return nil
		} else if err != nil {
			return l.failed(ctx, op, err)
		}
	}
	var err error
	if e.Mode == driver.Permit {
		err = l.leavePermit(ctx, e)
	} else {
		ops, alone := l.leaving(e)
		_, err = l.leaves.do(ctx, e.Name, len(ops)*len(e.Key)+overhead, ops, nil, func() ([]zk.MultiResponse, error) { return nil, alone(ctx) })
	}
	if err == nil {
		l.hasLeft(e)
	}
	return l.failed(ctx, op, err)
}

func (l *lease) hasMade(e driver.Entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.claims[e.ID]
	return ok && c.path == e.Key && c.token == e.Token
}

// delete deletes a node, which may be gone.
func (l *lease) delete(ctx context.Context, path string) error {
	_, err := call(ctx, l.c, func() (struct{}, error) { return struct{}{}, l.c.Delete(path, -1) })
	if errors.Is(err, zk.ErrNoNode) {
		return nil
	}
	return err
}
