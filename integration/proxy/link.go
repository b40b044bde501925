package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	chunkSize = 32 << 10
	queued    = 256 // chunks held a lane and link; beyond that, the sender feels back pressure

	// writeSlice bounds a single write, and with it how long Freeze may have to
	// wait for a peer that does not read.
	writeSlice = 50 * time.Millisecond
)

// A lane is what all links share for one direction.
type lane struct {
	gate  gate
	hold  atomic.Int64 // a time.Duration
	bytes atomic.Int64
}

// A gate lets writes pass while it is open.
type gate struct {
	mu     sync.RWMutex  // read-locked during a write, so that shut waits for it
	opened chan struct{} // closed while the gate is open; nil before first use
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
	if !g.isOpen() {
		close(g.opened)
	}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isOpen() {
		g.opened = make(chan struct{})
	}
}

func (g *gate) isOpen() bool {
	select {
	case <-g.opened:
		return true
	default:
		return false
	}
}

// pass calls f once the gate is open, and the gate stays open until f returns.
// It returns false, without calling f, when done is closed first.
func (g *gate) pass(done <-chan struct{}, f func()) bool {
	for {
		g.mu.RLock()
		if g.isOpen() {
			f()
			g.mu.RUnlock()
			return true
		}
		opened := g.opened
		g.mu.RUnlock()
		select {
		case <-opened:
		case <-done:
			return false
		}
	}
}

// A link is one client's connection and its continuation to the server.
type link struct {
	proxy  *Proxy
	client *net.TCPConn

	mu     sync.Mutex
	server *net.TCPConn // nil until dialled

	ctx    context.Context // done when the link was reset: stop waiting for gates and clocks
	cancel context.CancelFunc
}

func newLink(p *Proxy, client *net.TCPConn) *link {
	l := &link{proxy: p, client: client}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// run makes the connection to the server, and then moves bytes until both sides
// have closed or the link is reset.
func (l *link) run() {
	defer l.reset()
	server, ok := l.dial()
	if !ok {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { l.flow(&l.proxy.up, l.client, server) })
	wg.Go(func() { l.flow(&l.proxy.down, server, l.client) })
	wg.Wait()
}

// dial waits until the network is whole: a frozen one makes no connections.
func (l *link) dial() (*net.TCPConn, bool) {
	whole := l.proxy.up.gate.pass(l.ctx.Done(), func() {}) && l.proxy.down.gate.pass(l.ctx.Done(), func() {})
	if !whole {
		return nil, false
	}
	var d net.Dialer
	conn, err := d.DialContext(l.ctx, "tcp", l.proxy.target)
	if err != nil {
		return nil, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = conn.(*net.TCPConn)
	if l.ctx.Err() != nil { // reset did not see the server's side
		_ = l.server.Close()
		return nil, false
	}
	return l.server, true
}

// reset ends the link at once; both sides see a reset connection. It is
// idempotent.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return
	}
	l.cancel()
	for _, c := range []*net.TCPConn{l.client, l.server} {
		if c != nil {
			_ = c.SetLinger(0) // best effort: without it the peer sees a clean end instead
			_ = c.Close()
		}
	}
}

// A chunk is some bytes and when they are due; no bytes mean that the sender
// has closed.
type chunk struct {
	bytes []byte
	due   time.Time
}

// flow moves bytes one way until the sender closes or the link is reset.
func (l *link) flow(ln *lane, from, to *net.TCPConn) {
	chunks := make(chan chunk, queued)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(chunks)
		l.collect(ln, from, chunks)
	})
	for c := range chunks {
		if !l.deliver(ln, c, to) {
			l.reset() // unblocks collect
			break
		}
	}
	wg.Wait()
}

func (l *link) collect(ln *lane, from *net.TCPConn, chunks chan<- chunk) {
	for {
		buf := make([]byte, chunkSize)
		n, err := from.Read(buf)
		due := time.Now().Add(time.Duration(ln.hold.Load()))
		if n > 0 && !l.queue(chunks, chunk{buf[:n], due}) {
			return
		}
		if err != nil {
			// io.EOF or a reset: the other side learns it in its turn, when
			// everything before it has arrived.
			l.queue(chunks, chunk{nil, due})
			return
		}
	}
}

func (l *link) queue(chunks chan<- chunk, c chunk) bool {
	select {
	case chunks <- c:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// deliver hands c on when it is due and the lane's gate is open. It returns
// false when the link is of no more use.
func (l *link) deliver(ln *lane, c chunk, to *net.TCPConn) bool {
	if !l.waitUntil(c.due) {
		return false
	}
	if c.bytes == nil {
		return ln.gate.pass(l.ctx.Done(), func() { _ = to.CloseWrite() }) // the peer may be gone: then nothing is left to say
	}
	for rest := c.bytes; len(rest) > 0; {
		var n int
		var err error
		passed := ln.gate.pass(l.ctx.Done(), func() {
			if err = to.SetWriteDeadline(time.Now().Add(writeSlice)); err == nil {
				n, err = to.Write(rest)
				ln.bytes.Add(int64(n))
			}
		})
		rest = rest[n:]
		if !passed || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
	}
	return true
}

func (l *link) waitUntil(due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return true
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.ctx.Done():
		return false
	}
}
