package zk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

// The limit of a queue is a node of its own, as nothing but entries may be below
// the queue's. The last permit to leave takes it away; one that a crash has left
// behind is not taken for a limit in use, since the queue is empty.

// readLimit reads the limit of a queue; it is zero if there is none.
func (s *store) readLimit(ctx context.Context, c *conn, name string) (driver.Limit, error) {
	n, err := c.read(ctx, s.limitPath(name))
	if errors.Is(err, zk.ErrNoNode) {
		return driver.Limit{}, nil
	}
	if err != nil {
		return driver.Limit{}, err
	}
	return s.limitOf(name, n)
}

func (s *store) limitOf(name string, n node) (driver.Limit, error) {
	var r limitRecord
	if err := json.Unmarshal(n.data, &r); err != nil || r.Limit < 1 {
		return driver.Limit{}, driver.Permanent(fmt.Errorf("the limit of queue %q is garbled: delete the node %q when nobody uses the queue",
			name, s.limitPath(name)))
	}
	return driver.Limit{N: r.Limit, Through: r.Through, Stamp: r.Stamp, Version: uint64(n.stat.Mzxid)}, nil
}

// SetLimit implements driver.Store. A Join reads the limit when its entry is made,
// so there is nothing on its way that could have missed this.
//
// The version of a limit's data begins anew with the node, so to change the one that was
// seen, and not a later one, takes more: an entry that was in the queue before the limit was
// read, and still is when that changes. While anybody is in a queue its limit stays.
func (s *store) SetLimit(ctx context.Context, name string, from, to driver.Limit) error {
	op := "set the limit of queue " + quoted(name)
	c, err := s.reading(ctx)
	tries := 0
	for done := false; err == nil && !done; tries++ {
		done, err = s.changeLimit(ctx, c, name, from, to, tries < maxWitnesses)
	}
	return s.failed(ctx, op, err)
}

// maxWitnesses is how many entries may leave under a SetLimit before it goes on without one:
// where permits are held for less time than it takes, it would never end. Then it may change
// a limit that was made anew in this very moment, and permits that it adds may stay idle until
// somebody leaves.
const maxWitnesses = 5

// changeLimit is an attempt at SetLimit. It does nothing, and reports so, where it is to rely
// on an entry, and that has left: others may be there.
func (s *store) changeLimit(ctx context.Context, c *conn, name string, from, to driver.Limit, witnessed bool) (done bool, err error) {
	witness, err := s.newest(ctx, c, name)
	if err != nil {
		return false, err
	}
	now, err := c.read(ctx, s.limitPath(name))
	if errors.Is(err, zk.ErrNoNode) || err == nil && uint64(now.stat.Mzxid) != from.Version {
		return false, driver.ErrConflict
	}
	if err != nil {
		return false, err
	}
	var ops []any
	if witnessed {
		ops = append(ops, &zk.CheckVersionRequest{Path: witness, Version: -1})
	}
	_, failed, err := c.multi(ctx, append(ops, &zk.SetDataRequest{
		Path: s.limitPath(name), Data: limitRecord{to.N, to.Through, to.Stamp}.encode(), Version: now.stat.Version,
	})...)
	switch {
	case witnessed && failed == 0 && errors.Is(err, zk.ErrNoNode):
		return false, nil
	case errors.Is(err, zk.ErrBadVersion), errors.Is(err, zk.ErrNoNode):
		err = driver.ErrConflict
	}
	return err == nil, err
}

// newest returns the path of the entry at the end of a queue, which is likely to stay for
// longer than the others. The error is ErrConflict where there is none, and so no limit in use.
func (s *store) newest(ctx context.Context, c *conn, name string) (string, error) {
	list, err := c.children(ctx, s.queueDir(name))
	if errors.Is(err, zk.ErrNoNode) {
		return "", driver.ErrConflict
	}
	if err != nil {
		return "", err
	}
	places, err := s.ordered(ctx, c, name, list.names)
	if err != nil {
		return "", err
	}
	for _, p := range slices.Backward(places) {
		e, err := s.entry(ctx, c, name, p)
		if !errors.Is(err, driver.ErrEntryGone) {
			return e.Key, err
		}
	}
	return "", driver.ErrConflict
}

// ensureLimit sees to it that the queue has the claim's limit, before its entry is
// made or, where the last one to leave has just taken it away, after; as long as the claim
// is wanted.
func (l *lease) ensureLimit(ctx context.Context, c driver.Claim, wanted func() error) error {
	path := l.s.limitPath(c.Name)
	data := limitRecord{Limit: c.Limit}.encode()
	for {
		n, err := l.c.read(ctx, path)
		if errors.Is(err, zk.ErrNoNode) {
			err = l.makeLimit(ctx, &zk.CreateRequest{Path: path, Data: data, Acl: l.s.acl, Flags: zk.FlagPersistent}, wanted)
			if errors.Is(err, zk.ErrNodeExists) {
				continue
			}
			return err
		}
		if err != nil {
			return err
		}
		limit, err := l.s.limitOf(c.Name, n)
		if err != nil {
			return err
		}
		q, err := l.s.readEntries(ctx, l.c, c.Name, 1)
		switch {
		case err != nil:
			return err
		case len(q.Entries) > 0 && limit.N == c.Limit:
			return nil
		case len(q.Entries) > 0:
			return &driver.LimitError{Limit: limit.N, Ahead: q.Entries}
		}
		done, err := l.s.whileEmpty(ctx, l.c, c.Name, &zk.SetDataRequest{Path: path, Data: data, Version: n.stat.Version})
		if done || err != nil {
			return err
		}
	}
}

// makeLimit makes a limit's node. Like an entry's, this does not apply any more once the claim
// was given up and the epoch moved on: who does that then takes the limit away, if there is one.
func (l *lease) makeLimit(ctx context.Context, limit *zk.CreateRequest, wanted func() error) error {
	for {
		check := &zk.CheckVersionRequest{Path: l.s.sessionPath(l.id), Version: l.epoch.Load()}
		if err := wanted(); err != nil {
			return err
		}
		var failed int
		err := l.s.withDir(ctx, l.c, l.s.root+limits, func() (err error) {
			if _, failed, err = l.c.multi(ctx, check, limit); failed == 0 && errors.Is(err, zk.ErrNoNode) {
				err = driver.ErrLeaseGone
			}
			return err
		})
		if failed != 0 || !errors.Is(err, zk.ErrBadVersion) {
			return err
		}
		if err := l.readEpoch(ctx); err != nil {
			return err
		}
	}
}

// whileEmpty applies an operation if nobody is in the queue, in one step with seeing
// that, and reports whether it did. If the queue has a node, that goes too: who
// joins makes another one.
func (s *store) whileEmpty(ctx context.Context, c *conn, name string, op any) (bool, error) {
	dir := s.queueDir(name)
	list, err := c.children(ctx, dir)
	ops := []any{&zk.DeleteRequest{Path: dir, Version: -1}, op}
	switch {
	case errors.Is(err, zk.ErrNoNode): // which only a create can ascertain
		ops = append([]any{&zk.CreateRequest{Path: dir, Acl: s.acl}}, ops...)
	case err != nil:
		return false, err
	case len(list.names) > 0:
		entries, err := s.entries(ctx, c, name, s.places(name, list.names))
		if err != nil || len(entries) > 0 {
			return false, err
		}
		// There is what is no entry. Who joins sets the node.
		ops[0] = &zk.CheckVersionRequest{Path: dir, Version: list.stat.Version}
	}
	_, _, err = c.multi(ctx, ops...)
	if errors.Is(err, zk.ErrNoNode) || errors.Is(err, zk.ErrNodeExists) || errors.Is(err, zk.ErrNotEmpty) || errors.Is(err, zk.ErrBadVersion) {
		return false, nil
	}
	return err == nil, err
}

// leavePermit deletes an entry and, if nobody else is in the queue, the limit. The
// queue's node has another version when somebody joins meanwhile.
func (l *lease) leavePermit(ctx context.Context, e driver.Entry) error {
	dir := l.s.queueDir(e.Name)
	list, err := l.c.children(ctx, dir)
	if err == nil && len(list.names) == 1 && dir+"/"+list.names[0] == e.Key {
		_, _, err = l.c.multi(ctx,
			&zk.CheckVersionRequest{Path: dir, Version: list.stat.Version},
			&zk.DeleteRequest{Path: e.Key, Version: -1},
			&zk.DeleteRequest{Path: l.s.limitPath(e.Name), Version: -1},
		)
		if err == nil {
			return nil
		}
	}
	if err != nil && !errors.Is(err, zk.ErrBadVersion) && !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	// Several may leave at once, none of whom was alone: the last one finds nobody left.
	_, left, _, err := l.c.multiAndList(ctx, dir, &zk.DeleteRequest{Path: e.Key, Version: -1})
	switch {
	case err != nil && !errors.Is(err, zk.ErrNoNode):
		return err
	case err == nil && len(left.names) > 0 && !slices.Contains(left.names, path.Base(e.Key)):
		return nil // who is left does it
	}
	return l.s.tidy(ctx, l.c, e.Name)
}

// tidy removes the limit of a queue that has no entries.
func (s *store) tidy(ctx context.Context, c *conn, name string) error {
	for {
		_, err := c.exists(ctx, s.limitPath(name))
		if errors.Is(err, zk.ErrNoNode) {
			return nil
		}
		var q driver.Queue
		if err == nil {
			q, err = s.readEntries(ctx, c, name, 1)
		}
		if err != nil || len(q.Entries) > 0 {
			return err
		}
		done, err := s.whileEmpty(ctx, c, name, &zk.DeleteRequest{Path: s.limitPath(name), Version: -1})
		if done || err != nil {
			return err
		}
	}
}

// maxSwept bounds the limits that a sweep looks at.
const maxSwept = 20

// sweep tidies up queues whose last holders have crashed. It looks at some of the
// limits, others each time; what it does not come to, a later session does.
func (s *store) sweep(ctx context.Context, c *conn) error {
	list, err := c.children(ctx, s.root+limits)
	if errors.Is(err, zk.ErrNoNode) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, i := range rand.Perm(len(list.names))[:min(len(list.names), maxSwept)] {
		name, ok := decodeName(list.names[i])
		if !ok {
			continue
		}
		if err := s.tidy(ctx, c, name); err != nil {
			return err
		}
	}
	return nil
}
