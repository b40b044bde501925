package drivertest

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

var errConnCut = errors.New("drivertest: the connection was cut")

// A linkConn is the client's end of a connection through a Link. Three
// goroutines carry its bytes: outward, inward and onward from the inbox to the
// reader. They end when the connection is cut or closed.
type linkConn struct {
	link   *Link
	server net.Conn
	done   chan struct{} // closed when the connection is over, on both sides

	out parcels // written by the client, not yet sent to the server
	in  parcels // sent by the server, not yet due

	mu       sync.Mutex
	more     *sync.Cond // broadcast when inbox, broken or deadline change
	inbox    []byte     // for the client to read
	broken   error      // what the client gets, once it is set
	deadline time.Time
	alarm    *time.Timer // wakes the reader at the deadline
	deaf     bool        // what the server sends is dropped
	mute     bool        // what the client writes is dropped
	keeping  bool        // what the client writes is kept
	kept     []byte
	heard    time.Time // when the server last sent something
	over     bool
	timers   []*time.Timer
}

func newLinkConn(l *Link, server net.Conn) *linkConn {
	c := &linkConn{link: l, server: server, done: make(chan struct{})}
	c.more = sync.NewCond(&c.mu)
	return c
}

func (c *linkConn) start() {
	go c.outward()
	go c.inward()
	go c.onward()
}

// outward sends the client's writes to the server.
func (c *linkConn) outward() {
	for {
		p, ok := c.out.take(c.done)
		if !ok {
			return
		}
		err := c.link.pass(c.done, func() error {
			_, err := c.server.Write(p.data)
			return err
		})
		if err != nil {
			c.cut(err)
			return
		}
	}
}

// inward takes what the server sends.
func (c *linkConn) inward() {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.server.Read(buf)
		if n > 0 {
			c.in.put(parcel{slices.Clone(buf[:n]), c.link.due()})
		}
		if err != nil {
			c.in.put(parcel{nil, c.link.due()}) // the end, behind what was sent before it
			return
		}
	}
}

// onward hands the client what the server sent, once it is due.
func (c *linkConn) onward() {
	for {
		p, ok := c.in.take(c.done)
		if !ok {
			return
		}
		late := time.NewTimer(time.Until(p.due))
		select {
		case <-c.done:
			late.Stop()
			return
		case <-late.C:
		}
		if c.link.pass(c.done, func() error { c.hear(p.data); return nil }) != nil {
			return
		}
		if p.data == nil {
			c.cut(io.EOF)
			return
		}
	}
}

func (c *linkConn) hear(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = time.Now()
	if !c.deaf {
		c.inbox = append(c.inbox, data...)
		c.more.Broadcast()
	}
}

func (c *linkConn) Write(p []byte) (int, error) {
	f := c.link.count()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return 0, c.broken
	}
	if f == detained {
		c.keeping, c.deaf = true, true
		c.later(func() { c.sever(errConnCut) })
	}
	switch {
	case c.keeping:
		c.kept = append(c.kept, p...)
	case !c.mute:
		c.out.put(parcel{data: slices.Clone(p)})
	}
	if f == lastOne {
		c.mute, c.deaf = true, true
		c.later(func() { c.cut(errConnCut) })
	}
	return len(p), nil
}

func (c *linkConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case len(c.inbox) > 0:
			n := copy(p, c.inbox)
			c.inbox = c.inbox[n:]
			return n, nil
		case c.broken != nil:
			return 0, c.broken
		case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		c.more.Wait()
	}
}

// later runs f after a moment, unless the connection is over by then. The
// caller holds c.mu.
func (c *linkConn) later(f func()) { c.timers = append(c.timers, time.AfterFunc(grace, f)) }

// sever breaks the connection for the client alone: the server's side stays up.
func (c *linkConn) sever(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		c.broken = err
	}
	c.more.Broadcast()
}

// cut ends the connection on both sides.
func (c *linkConn) cut(err error) {
	c.sever(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.over = true
	close(c.done)
	for _, t := range append(c.timers, c.alarm) {
		if t != nil {
			t.Stop()
		}
	}
	_ = c.server.Close()
	c.link.forget(c)
}

// deliver sends the server what was kept back, and returns when it has gone
// quiet after it, or after a second.
func (c *linkConn) deliver() {
	c.mu.Lock()
	if !c.keeping {
		c.mu.Unlock()
		return
	}
	c.out.put(parcel{data: c.kept})
	c.keeping, c.kept, c.mute, c.heard = false, nil, true, time.Now()
	c.mu.Unlock()
	quiet := time.NewTicker(10 * time.Millisecond)
	defer quiet.Stop()
	for begun := time.Now(); time.Since(begun) < time.Second; <-quiet.C {
		c.mu.Lock()
		heard := c.heard
		c.mu.Unlock()
		if time.Since(heard) > 2*grace {
			break
		}
	}
	c.cut(errConnCut)
}

// Close ends the connection for the client. Where its bytes were detained, the
// server's side stays up until they were delivered, or the link is cut.
func (c *linkConn) Close() error {
	c.mu.Lock()
	keeping := c.keeping
	c.mu.Unlock()
	if keeping {
		c.sever(net.ErrClosed)
	} else {
		c.cut(net.ErrClosed)
	}
	return nil
}

func (c *linkConn) LocalAddr() net.Addr  { return c.server.LocalAddr() }
func (c *linkConn) RemoteAddr() net.Addr { return c.server.RemoteAddr() }

func (c *linkConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writes never block.
func (c *linkConn) SetWriteDeadline(time.Time) error { return nil }

func (c *linkConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if c.alarm != nil {
		c.alarm.Stop()
		c.alarm = nil
	}
	if !t.IsZero() {
		c.alarm = time.AfterFunc(time.Until(t), func() {
			c.mu.Lock() // so that a reader is either before its look at the clock or in Wait
			defer c.mu.Unlock()
			c.more.Broadcast()
		})
	}
	c.more.Broadcast()
	return nil
}

// A parcel is a chunk of bytes and when they are due.
type parcel struct {
	data []byte
	due  time.Time
}

// parcels is a queue without a bound: a frozen peer must not block a writer.
type parcels struct {
	mu    sync.Mutex
	queue []parcel
	ready chan struct{} // has room for one; holds one when queue may not be empty
}

func (q *parcels) put(p parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = append(q.queue, p)
	select {
	case q.signal() <- struct{}{}:
	default:
	}
}

// take returns the next parcel, or false when done is closed first.
func (q *parcels) take(done <-chan struct{}) (parcel, bool) {
	for {
		q.mu.Lock()
		if len(q.queue) > 0 {
			p := q.queue[0]
			q.queue = q.queue[1:]
			q.mu.Unlock()
			return p, true
		}
		ready := q.signal()
		q.mu.Unlock()
		select {
		case <-done:
			return parcel{}, false
		case <-ready:
		}
	}
}

// signal returns the channel, which the zero value lacks. The caller holds q.mu.
func (q *parcels) signal() chan struct{} {
	if q.ready == nil {
		q.ready = make(chan struct{}, 1)
	}
	return q.ready
}
