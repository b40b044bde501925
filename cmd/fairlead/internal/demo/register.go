package demo

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"
)

// A register is the resource that the leader writes to. It protects itself: it
// refuses a write with an older token than the newest it has seen. That takes
// one comparison, and no knowledge of Fairlead.
type register struct {
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool // nil when closed
	newest uint64
	serial uint64
}

// A write is a request to the register, and a verdict its answer.
type write struct {
	Token uint64 `json:"token"`
}

type verdict struct {
	Accepted bool   `json:"accepted"`
	Serial   uint64 `json:"serial"` // counts all writes
	Newest   uint64 `json:"newest"` // token seen
}

func openRegister() (*register, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the register: %w", err)
	}
	r := &register{listener: l, conns: map[net.Conn]bool{}}
	r.work.Go(r.accept)
	return r, nil
}

func (r *register) address() string { return r.listener.Addr().String() }

func (r *register) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	for conn := range r.conns {
		_ = conn.Close()
	}
	r.conns = nil
	r.mu.Unlock()
	r.work.Wait()
}

func (r *register) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.mu.Lock()
		if r.conns == nil {
			_ = conn.Close()
		} else {
			r.conns[conn] = true
			r.work.Go(func() { r.serve(conn) })
		}
		r.mu.Unlock()
	}
}

// serve answers one replica until it hangs up.
func (r *register) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, conn)
	}()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var w write
		if in.Decode(&w) != nil || out.Encode(r.decide(w)) != nil {
			return
		}
	}
}

func (r *register) decide(w write) verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.serial++
	accepted := w.Token >= r.newest
	r.newest = max(r.newest, w.Token)
	return verdict{Accepted: accepted, Serial: r.serial, Newest: r.newest}
}

// A pen is a replica's connection to the register. One goroutine uses it.
type pen struct {
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
}

func openPen(address string) (*pen, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("reach the register: %w", err)
	}
	return &pen{conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}, nil
}

func (p *pen) write(token uint64) (verdict, error) {
	var v verdict
	err := p.out.Encode(write{Token: token})
	if err == nil {
		err = p.in.Decode(&v)
	}
	if err != nil {
		return v, fmt.Errorf("write to the register: %w", err)
	}
	return v, nil
}

func (p *pen) close() error { return p.conn.Close() }
