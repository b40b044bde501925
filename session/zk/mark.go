package zk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

// The marks for entries of a session are in the data of its node: so they go with it,
// and one watch tells of both. To leave one moves the epoch, as Resolve does.

// Break implements driver.Store. It is one transaction: set the session's node, at the
// version that was read, and look for the entry's, or delete it. That of one of ours
// never comes again; one of others is looked at just before.
func (s *store) Break(ctx context.Context, e driver.Entry, m driver.Mark, force bool) error {
	op := "break an entry of queue " + quoted(e.Name)
	if m.ID == "" && !force {
		return driver.Permanent(fmt.Errorf("%s: the owner of %q looks for no mark", op, e.Key))
	}
	c, err := s.reading(ctx)
	if err == nil {
		err = c.catchUp(ctx)
	}
	if err == nil {
		err = s.breakOn(ctx, c, e, m, force)
	}
	gone := errors.Is(err, driver.ErrEntryGone)
	if force && e.Mode == driver.Permit && (err == nil || gone) { // also where an attempt before has removed it
		if err := s.tidy(ctx, c, e.Name); err != nil {
			return s.failed(ctx, op, err)
		}
	}
	return s.failed(ctx, op, err)
}

func (s *store) breakOn(ctx context.Context, c *conn, e driver.Entry, m driver.Mark, force bool) error {
	at, ok := parseNode(path.Base(e.Key))
	if !ok {
		return driver.ErrEntryGone
	}
	var last any = &zk.CheckVersionRequest{Path: e.Key, Version: -1}
	if force {
		last = &zk.DeleteRequest{Path: e.Key, Version: -1}
	}
	for {
		now, err := s.entry(ctx, c, e.Name, place{at, path.Base(e.Key)})
		if err == nil && now.Token != e.Token {
			err = driver.ErrEntryGone
		}
		if err != nil {
			return err
		}
		ops := []any{last}
		if m.ID != "" {
			n, r, err := s.readSession(ctx, c, e.Lease)
			if errors.Is(err, driver.ErrLeaseGone) {
				err = driver.ErrEntryGone // in this moment, if it was there
			}
			if err != nil {
				return err
			}
			if r.Marks == nil {
				r.Marks = map[string]driver.Mark{}
			}
			r.Marks[m.ID] = m
			ops = []any{&zk.SetDataRequest{Path: s.sessionPath(e.Lease), Data: r.encode(), Version: n.stat.Version}, last}
		}
		switch _, failed, err := c.multi(ctx, ops...); {
		case err == nil:
			return nil
		case errors.Is(err, zk.ErrNoNode):
			return driver.ErrEntryGone
		case failed != 0 || !errors.Is(err, zk.ErrBadVersion):
			return err
		}
		if err := c.catchUp(ctx); err != nil { // what was read was old, or somebody else was faster
			return err
		}
	}
}

// readSession reads a session's node.
func (s *store) readSession(ctx context.Context, c *conn, lease string) (node, sessionRecord, error) {
	n, err := c.read(ctx, s.sessionPath(lease))
	if errors.Is(err, zk.ErrNoNode) {
		err = driver.ErrLeaseGone
	}
	var r sessionRecord
	if err == nil {
		r = decodeSession(n.data)
	}
	return n, r, err
}

// setSession replaces what the session's own node says, and moves the epoch.
func (l *lease) setSession(ctx context.Context, change func(*sessionRecord)) error {
	path := l.s.sessionPath(l.id)
	for {
		n, r, err := l.s.readSession(ctx, l.c, l.id)
		if err != nil {
			return err
		}
		change(&r)
		stat, err := call(ctx, l.c, func() (*zk.Stat, error) { return l.c.Set(path, r.encode(), n.stat.Version) })
		switch {
		case err == nil:
			l.advance(stat.Version)
			return nil
		case errors.Is(err, zk.ErrNoNode):
			return driver.ErrLeaseGone
		case !errors.Is(err, zk.ErrBadVersion):
			return err
		}
		if err := l.c.catchUp(ctx); err != nil {
			return err
		}
	}
}

// Marks implements driver.Lease. As long as the watch on a node that had no marks is
// silent, nobody needs to ask: a server tells of a change before it shows it. For the
// same reason what is read from the server that the session is on is new enough.
func (l *lease) Marks(ctx context.Context) ([]driver.Mark, error) {
	const op = "list the session's marks"
	if w := l.unmarked.Load(); w != nil && !w.hasFired() {
		return nil, ctx.Err()
	}
	_, r, err := l.s.readSession(ctx, l.c, l.id)
	if err != nil {
		return nil, l.failed(ctx, op, err)
	}
	var marks []driver.Mark
	for _, id := range slices.Sorted(maps.Keys(r.Marks)) {
		m := r.Marks[id]
		m.ID = id
		marks = append(marks, m)
	}
	return marks, nil
}

// Clear implements driver.Lease.
func (l *lease) Clear(ctx context.Context, m driver.Mark) error {
	const op = "clear a mark"
	_, r, err := l.s.readSession(ctx, l.c, l.id)
	if _, there := r.Marks[m.ID]; err == nil && there {
		err = l.setSession(ctx, func(r *sessionRecord) { delete(r.Marks, m.ID) })
	}
	return l.failed(ctx, op, err)
}

// decodeSession reads the data of a session's node.
func decodeSession(data []byte) sessionRecord {
	var r sessionRecord
	_ = json.Unmarshal(data, &r) // whoever wrote it: then the owner is not known
	return r
}
