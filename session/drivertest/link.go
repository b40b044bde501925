package drivertest

import (
	"context"
	"net"
	"sync"
	"time"
)

// grace is how long a connection whose reply is to be lost stays up, so that
// the server has read and served the request by the time it is cut.
const grace = 50 * time.Millisecond

// A Link is a network path between a client and a server that breaks on
// demand. The client dials through it. What is frozen is frozen to the byte:
// nothing passes after Freeze has returned. The zero value lets all pass.
type Link struct {
	// gate is held for reading while bytes pass, and for writing to change what
	// it protects; so Freeze waits for what is passing.
	gate   sync.RWMutex
	thawed chan struct{} // nil unless frozen; closed by Heal

	mu     sync.Mutex
	conns  map[*linkConn]struct{}
	delay  time.Duration
	writes int
	last   int // the write after which a connection hears nothing more; 0: none
	detain int // the write from which on a connection's bytes are kept back; 0: none
}

var _ Faults = (*Link)(nil)

// Dial connects to addr through the link. While the link is frozen it blocks.
func (l *Link) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := l.pass(ctx.Done(), func() error { return nil }); err != nil {
		return nil, context.Cause(ctx)
	}
	var d net.Dialer
	server, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := newLinkConn(l, server)
	l.mu.Lock()
	if l.conns == nil {
		l.conns = map[*linkConn]struct{}{}
	}
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	c.start()
	return c, nil
}

// LoseReply implements Faults. A request is a write of the client: it is the
// last on its connection to reach the server, of which the client hears nothing
// from then on, until the connection is cut a moment later.
func (l *Link) LoseReply(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = l.writes + n
}

// Detain keeps back the n-th write from now and all that follow it on the same
// connection, which breaks for the client a moment later. Deliver sends them on.
func (l *Link) Detain(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.detain = l.writes + n
}

// Deliver lets the server have what was detained, as a network may do long
// after the client has given the connection up. It returns when the server has
// had time to serve it.
func (l *Link) Deliver() {
	for _, c := range l.open() {
		c.deliver()
	}
}

// Delay implements Faults.
func (l *Link) Delay(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = d
}

// Freeze implements Faults.
func (l *Link) Freeze() {
	l.gate.Lock()
	defer l.gate.Unlock()
	if l.thawed == nil {
		l.thawed = make(chan struct{})
	}
}

// Heal implements Faults.
func (l *Link) Heal() {
	l.gate.Lock()
	defer l.gate.Unlock()
	if l.thawed != nil {
		close(l.thawed)
		l.thawed = nil
	}
}

// Cut implements Faults.
func (l *Link) Cut() {
	for _, c := range l.open() {
		c.cut(errConnCut)
	}
}

// Requests implements Faults: it counts the writes of the client.
func (l *Link) Requests() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writes
}

func (l *Link) open() []*linkConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	conns := make([]*linkConn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	return conns
}

// A fate is what becomes of a write.
type fate int

const (
	passes   fate = iota
	lastOne       // passes, and is the last to do so
	detained      // is kept back
)

// count counts a write and says what becomes of it.
func (l *Link) count() fate {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	switch l.writes {
	case l.last:
		return lastOne
	case l.detain:
		return detained
	}
	return passes
}

// due is when a reply that arrives now may be read.
func (l *Link) due() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Add(l.delay)
}

// pass runs f once nothing is frozen, and keeps it from being frozen meanwhile.
func (l *Link) pass(done <-chan struct{}, f func() error) error {
	for {
		l.gate.RLock()
		thawed := l.thawed
		if thawed == nil {
			defer l.gate.RUnlock()
			return f()
		}
		l.gate.RUnlock()
		select {
		case <-done:
			return errConnCut
		case <-thawed:
		}
	}
}

func (l *Link) forget(c *linkConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}
