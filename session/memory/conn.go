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
	l := &lease{conn: c, spec: spec, gone: make(chan struct{}), entries: map[string]*entry{}, settled: map[string]bool{}}
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

func (c *conn) Read(ctx context.Context, name string, limit int) (entries []driver.Entry, err error) {
	err = c.call(ctx, func() error {
		entries = c.st.read(name)
		if limit > 0 {
			entries = entries[:min(limit, len(entries))]
		}
		return nil
	})
	return entries, err
}

// read returns the entries of a queue. st.mu is held.
func (st *Store) read(name string) (entries []driver.Entry) {
	if q, ok := st.queues[name]; ok {
		for _, x := range q.entries {
			entries = append(entries, x.now())
		}
	}
	return entries
}

func (c *conn) Watch(ctx context.Context, name string, f func([]driver.Entry) error) error {
	var q *queue
	err := c.call(ctx, func() error {
		q = c.st.queue(name)
		q.watchers++
		return nil
	})
	if err != nil {
		return err
	}
	defer func() {
		c.st.mu.Lock()
		defer c.st.mu.Unlock()
		if q.watchers--; q.watchers == 0 && len(q.entries) == 0 {
			delete(c.st.queues, name)
		}
	}()
	for {
		var entries []driver.Entry
		var changed chan struct{}
		err := c.call(ctx, func() error {
			entries, changed = c.st.read(name), q.changed
			return nil
		})
		if err != nil {
			return err
		}
		if err := f(entries); err != nil {
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
			if entries := c.st.read(name); strings.HasPrefix(name, prefix) && len(entries) > 0 {
				queues = append(queues, driver.Queue{Name: name, Entries: entries})
			}
		}
		return nil
	})
	return queues, err
}

func (c *conn) Identify(_ context.Context, e driver.Entry) (string, error) { return e.Identity, nil }
