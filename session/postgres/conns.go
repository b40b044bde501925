package postgres

import (
	"net"
	"sync"
)

// tracked are the connections that are open.
type tracked struct {
	mu     sync.Mutex
	open   map[*trackedConn]struct{}
	closed bool
}

// A trackedConn leaves the set when it is closed.
type trackedConn struct {
	net.Conn
	set *tracked
}

// add reports false when all were closed already.
func (t *tracked) add(c *trackedConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if t.open == nil {
		t.open = map[*trackedConn]struct{}{}
	}
	t.open[c] = struct{}{}
	return true
}

func (t *tracked) closeAll() {
	t.mu.Lock()
	t.closed = true
	open := t.open
	t.open = nil
	t.mu.Unlock()
	for c := range open {
		_ = c.Conn.Close()
	}
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.set.mu.Lock()
	delete(c.set.open, c)
	c.set.mu.Unlock()
	return c.Conn.Close()
}
