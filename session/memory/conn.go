package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A conn is one client's connection to a store.
type conn struct {
	st *Store

	// Guarded by st.mu.
	healed chan struct{} // not nil while cut; closed when healed
	leases []*lease
}

// call runs f on the store, as soon as it can be reached.
func (c *conn) call(ctx context.Context, f func() error) error {
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.st.mu.Lock()
		healed := c.healed
		if healed == nil {
			defer c.st.mu.Unlock()
			return f()
		}
		c.st.mu.Unlock()
		select {
		case <-healed:
		case <-ctx.Done():
		}
	}
}

func (c *conn) Backend() string { return "memory" }

func (c *conn) Close() error { return nil }

func (c *conn) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	sent := time.Now()
	l := &lease{conn: c, spec: spec, gone: make(chan struct{}), entries: map[string]*entry{}, marks: map[string]driver.Mark{}, settled: map[string]bool{}}
	err := c.call(ctx, func() error {
		c.st.leases++
		l.id = fmt.Sprint(c.st.leases)
		l.expires = time.Now().Add(spec.TTL)
		l.timer = time.AfterFunc(spec.TTL, l.expire)
		c.leases = append(c.leases, l)
		return nil
	})
	if err != nil {
		return nil, sent, err
	}
	return l, sent, nil
}

func (c *conn) Read(ctx context.Context, name string, n int) (q driver.Queue, err error) {
	err = c.call(ctx, func() error {
		q = c.st.read(name)
		if n > 0 {
			q.Entries = q.Entries[:min(n, len(q.Entries))]
		}
		return nil
	})
	return q, err
}

// read returns a queue. st.mu is held.
func (st *Store) read(name string) driver.Queue {
	out := driver.Queue{Name: name}
	if q, ok := st.queues[name]; ok {
		out.Limit = q.limit
		for _, x := range q.entries {
			out.Entries = append(out.Entries, x.now())
		}
	}
	return out
}

func (c *conn) SetLimit(ctx context.Context, name string, from, to driver.Limit) error {
	return c.call(ctx, func() error {
		q, ok := c.st.queues[name]
		if !ok || len(q.entries) == 0 || q.limit.Version != from.Version {
			return driver.ErrConflict
		}
		c.st.setLimit(q, to)
		c.st.touch(name, q)
		return nil
	})
}

func (c *conn) Break(ctx context.Context, e driver.Entry, m driver.Mark, force bool) error {
	return c.call(ctx, func() error {
		q, at, x := c.st.find(e)
		if x == nil {
			return driver.ErrEntryGone
		}
		x.lease.marks[m.ID] = m
		x.lease.marked.fire()
		if force {
			c.st.remove(q, at)
		}
		return nil
	})
}

func (c *conn) Watch(ctx context.Context, name string, f func(driver.Queue) error) error {
	var q *queue
	err := c.call(ctx, func() error {
		q = c.st.queue(name)
		q.watchers++
		return nil
	})
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	defer func() {
		c.st.mu.Lock()
		defer c.st.mu.Unlock()
		q.changed.unsubscribe(changed)
		if q.watchers--; q.watchers == 0 && len(q.entries) == 0 {
			delete(c.st.queues, name)
		}
	}()
	for {
		var now driver.Queue
		err := c.call(ctx, func() error {
			now = c.st.read(name)
			q.changed.subscribe(changed)
			return nil
		})
		if err != nil {
			return err
		}
		if err := f(now); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *conn) List(ctx context.Context, prefix string) (queues []driver.Queue, err error) {
	err = c.call(ctx, func() error {
		for _, name := range slices.Sorted(maps.Keys(c.st.queues)) {
			if q := c.st.read(name); strings.HasPrefix(name, prefix) && len(q.Entries) > 0 {
				queues = append(queues, q)
			}
		}
		return nil
	})
	return queues, err
}

func (c *conn) Identify(_ context.Context, e driver.Entry) (string, error) { return e.Identity, nil }
