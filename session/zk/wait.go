package zk

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Wait implements driver.Lease. It watches each of the obstacles: first it sets the
// watches, then it sees whether all are still there, and only then it waits. After a
// reconnection all watches count as fired.
func (l *lease) Wait(ctx context.Context, v driver.View, on driver.Obstacles) (driver.View, error) {
	op := "wait in queue " + quoted(v.Me.Name)
	for {
		ws, blocked, err := l.guard(ctx, v, on)
		if err == nil && blocked {
			err = anyFires(ctx, l.c, ws)
			blocked = err == nil && !slices.ContainsFunc(ws, (*watch).told)
			if err == nil && l.isTurn(v.Me, on) {
				v = driver.View{Me: v.Me, Followed: true}
				l.isFirst(v)
				return v, nil
			}
		}
		if err == nil && !blocked {
			var next driver.View
			next, err = l.view(ctx, v.Me, true, v.Limit.N)
			return next, l.failed(ctx, op, err)
		}
		if err != nil {
			return driver.View{}, l.failed(ctx, op, err)
		}
	}
}

// guard sets the watches, and tells whether all obstacles are as the view shows
// them.
func (l *lease) guard(ctx context.Context, v driver.View, on driver.Obstacles) (ws []*watch, blocked bool, err error) {
	if f := l.followed(v.Me, on); f != nil && (f.left.left() || !f.left.hasFired()) {
		return []*watch{f.left}, true, nil // which may have left since the view
	}
	found := make([]*watch, len(on.Entries))
	same := make([]bool, len(on.Entries))
	errs := make([]error, len(on.Entries))
	look := func(i int) {
		n, w, err := l.c.getW(ctx, on.Entries[i].Key)
		if errors.Is(err, zk.ErrNoNode) {
			return
		}
		if found[i], errs[i] = w, err; err == nil {
			same[i] = uint64(n.stat.Czxid) == on.Entries[i].Token && uint64(n.stat.Version) == on.Entries[i].Version
		}
	}
	if len(found) == 1 {
		look(0)
	} else {
		var wg sync.WaitGroup
		for i := range found {
			wg.Go(func() { look(i) })
		}
		wg.Wait()
	}
	for i := range found {
		if errs[i] != nil || !same[i] {
			return nil, false, errs[i]
		}
	}
	if !on.Limit {
		return found, true, nil
	}
	n, w, err := l.c.existsW(ctx, l.s.limitPath(v.Me.Name))
	if err != nil {
		return nil, false, err
	}
	version := uint64(0)
	if n.stat != nil {
		version = uint64(n.stat.Mzxid)
	}
	return append(found, w), version == v.Limit.Version, nil
}

// anyFires blocks until one of the watches fires, ctx ends, or the session does.
func anyFires(ctx context.Context, c *conn, ws []*watch) error {
	if len(ws) == 1 {
		select {
		case <-ws[0].fired:
		case <-ctx.Done():
		case <-c.gone:
		}
	} else {
		cases := []reflect.SelectCase{
			{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
			{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c.gone)},
		}
		for _, w := range ws {
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(w.fired)})
		}
		reflect.Select(cases)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case c.isGone():
		return errGone
	}
	return nil
}
