package zk

import (
	"context"
	"errors"
	"sync"

	"github.com/go-zookeeper/zk"
)

// watches are the watches that a session has set. A server tells of each once, and
// the client library can take none back: so there is one a path, for all who want
// it, which stays until it fires. They are told by the callback for all events, and
// not by the library's channels: those would need a goroutine each.
type watches struct {
	mu sync.Mutex
	of map[target]*watch
}

// A target is what a watch is on: a node and its data, or its children.
type target struct {
	path     string
	children bool
}

// A cause is what a watch fires for.
type cause int

const (
	doubt cause = iota // whatever has happened: it has to be looked at
	created
	changed // the node's data, or its children
	deleted
)

// A watch is one of them.
type watch struct {
	fired chan struct{}
	why   cause // it has fired; valid when fired is closed
	armed bool  // the server knows of it
	seen  node  // as it was then, and is until the watch fires, if it was read
}

func (w *watch) hasFired() bool {
	select {
	case <-w.fired:
		return true
	default:
		return false
	}
}

// left tells that the node is known to be gone.
func (w *watch) left() bool { return w.hasFired() && w.why == deleted }

// made tells that the node is known to have been made.
func (w *watch) made() bool { return w.hasFired() && w.why == created }

// told tells that something is known to have happened.
func (w *watch) told() bool { return w.hasFired() && w.why != doubt }

func newWatches() *watches { return &watches{of: map[target]*watch{}} }

// on returns the watch on a target, and whether the server has to be told of it.
func (ws *watches) on(t target) (w *watch, arm bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w, ok := ws.of[t]
	if !ok {
		w = &watch{fired: make(chan struct{})}
		ws.of[t] = w
	}
	return w, !w.armed
}

// arm records that the server knows of the watch.
func (ws *watches) arm(t target, w *watch, seen node) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.of[t] == w {
		w.armed, w.seen = true, seen
	}
}

// seen returns a node that is watched already, if it was read then.
func (ws *watches) seen(path string) (node, *watch, bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w, ok := ws.of[target{path, false}]
	if !ok || !w.armed || w.seen.data == nil {
		return node{}, nil, false
	}
	return w.seen, w, true
}

// happened tells those whom an event concerns.
func (ws *watches) happened(ev zk.Event) {
	switch ev.Type {
	case zk.EventNodeChildrenChanged:
		ws.fire(target{ev.Path, true}, changed)
	case zk.EventNodeCreated:
		ws.fire(target{ev.Path, false}, created)
	case zk.EventNodeDataChanged:
		ws.fire(target{ev.Path, false}, changed)
	case zk.EventNodeDeleted:
		ws.fire(target{word(ev.Path), false}, doubt) // first: what comes now is no word of the one that has left
		ws.fire(target{ev.Path, true}, deleted)
		ws.fire(target{ev.Path, false}, deleted)
	default: // the watch is gone
		ws.fire(target{ev.Path, true}, doubt)
		ws.fire(target{ev.Path, false}, doubt)
	}
}

// fire tells all who watch the target.
func (ws *watches) fire(t target, why cause) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w, ok := ws.of[t]; ok {
		delete(ws.of, t)
		w.why = why
		close(w.fired)
	}
}

func (ws *watches) fireAll() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for t, w := range ws.of {
		delete(ws.of, t)
		close(w.fired)
	}
}

// watched makes a call that sets a watch on the target. The watch is known here
// before the server is asked, so that no event comes too early. If the call fails,
// whoever shares the watch has to look again.
func watched[T any](ctx context.Context, c *conn, t target, plain, set func() (T, error)) (T, *watch, error) {
	w, arm := c.watches.on(t)
	if !arm {
		v, err := call(ctx, c, plain)
		return v, w, err
	}
	v, err := call(ctx, c, func() (T, error) {
		v, err := set()
		if err == nil {
			n, _ := any(v).(node)
			c.watches.arm(t, w, n)
		}
		return v, err
	})
	if err != nil {
		c.watches.fire(t, doubt)
	}
	return v, w, err
}

// getW is get with a watch on the node. Where that is not there, there is none. What
// is watched already need not be read again.
func (c *conn) getW(ctx context.Context, path string) (node, *watch, error) {
	if n, w, ok := c.watches.seen(path); ok {
		return n, w, ctx.Err()
	}
	n, w, err := watched(ctx, c, target{path, false}, func() (node, error) {
		data, stat, err := c.Get(path)
		return node{data, stat}, err
	}, func() (node, error) {
		data, stat, _, err := c.GetW(path)
		return node{data, stat}, err
	})
	if errors.Is(err, zk.ErrNoNode) {
		c.unwatchWord(path)
	}
	return n, w, err
}

// getAndWatch is get, and leaves a watch for whoever is going to ask for it.
func (c *conn) getAndWatch(ctx context.Context, path string) (node, error) {
	n, _, err := c.getW(ctx, path)
	return n, err
}

// existsW looks for a node and watches for its creation or end. A node without
// stat is not there.
func (c *conn) existsW(ctx context.Context, path string) (node, *watch, error) {
	look := func(ok bool, stat *zk.Stat, err error) (node, error) {
		if err != nil || !ok {
			return node{}, err
		}
		return node{stat: stat}, nil
	}
	return watched(ctx, c, target{path, false}, func() (node, error) { return look(c.Exists(path)) }, func() (node, error) {
		ok, stat, _, err := c.ExistsW(path)
		return look(ok, stat, err)
	})
}

// childrenW is children with a watch on them.
func (c *conn) childrenW(ctx context.Context, path string) (listing, *watch, error) {
	return watched(ctx, c, target{path, true}, func() (listing, error) {
		names, stat, err := c.Children(path)
		return listing{names, stat}, err
	}, func() (listing, error) {
		names, stat, _, err := c.ChildrenW(path)
		return listing{names, stat}, err
	})
}
