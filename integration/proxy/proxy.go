package proxy

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Direction is a way that bytes flow, or both.
type Direction uint8

// The directions.
const (
	Up   Direction = 1 << iota // from clients to the server
	Down                       // from the server to clients
	Both = Up | Down
)

// A Proxy forwards TCP connections to one server. Its methods are safe for
// concurrent use.
type Proxy struct {
	target   string
	listener net.Listener
	up, down lane
	accepted atomic.Int64

	mu     sync.Mutex
	links  map[*link]struct{}
	closed bool
	wg     sync.WaitGroup // the accept loop and every link
}

// Counts tells what a proxy has done so far.
type Counts struct {
	Accepted int64 // connections, hanging ones included
	Open     int
	Up, Down int64 // bytes handed on
}

// Listen starts a proxy for the server at target, host:port, on a free port of
// the loopback interface.
func Listen(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the proxy of %s: %w", target, err)
	}
	p := &Proxy{target: target, listener: l, links: map[*link]struct{}{}}
	p.up.gate.open()
	p.down.gate.open()
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where clients connect, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Freeze stops the flow in direction d, as a switch that drops all packets
// would: nothing is closed, and what either side sends or closes is noticed by
// the other only after [Proxy.Thaw]. New connections hang while either
// direction is frozen. When Freeze returns, no further byte passes.
func (p *Proxy) Freeze(d Direction) {
	for _, l := range p.lanes(d) {
		l.gate.shut()
	}
}

// Thaw ends a Freeze. What was held back flows on, in order.
func (p *Proxy) Thaw(d Direction) {
	for _, l := range p.lanes(d) {
		l.gate.open()
	}
}

// Delay holds every chunk that arrives from now on for hold before it is handed
// on in direction d. Bytes keep their order. Connecting is not delayed.
func (p *Proxy) Delay(d Direction, hold time.Duration) {
	for _, l := range p.lanes(d) {
		l.hold.Store(int64(hold))
	}
}

// Cut resets all present connections, whatever they still carry, and returns
// how many there were. New ones are accepted.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
	return len(p.links)
}

// Counts returns what the proxy has done so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Counts{
		Accepted: p.accepted.Load(),
		Open:     len(p.links),
		Up:       p.up.bytes.Load(),
		Down:     p.down.bytes.Load(),
	}
}

// Close stops accepting, resets all connections and waits for their end.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	for l := range p.links {
		l.reset()
	}
	p.mu.Unlock()
	err := p.listener.Close()
	p.wg.Wait()
	return err
}

func (p *Proxy) lanes(d Direction) []*lane {
	var ls []*lane
	if d&Up != 0 {
		ls = append(ls, &p.up)
	}
	if d&Down != 0 {
		ls = append(ls, &p.down)
	}
	return ls
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		l := newLink(p, conn.(*net.TCPConn))
		if !p.add(l) {
			l.reset()
			return
		}
		p.accepted.Add(1)
		p.wg.Go(func() {
			defer p.remove(l)
			l.run()
		})
	}
}

// add reports whether the proxy still takes links.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}
