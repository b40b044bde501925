// Package register keeps what the locks protect: registers, one a name, that
// refuse a write with an older token than they have seen, and write down each.
package register

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// A Write is one that arrived.
type Write struct {
	At       int64
	Name     string
	Life     string // of the client that wrote
	Token    uint64
	Accepted bool
}

// A Register serves clients over TCP.
type Register struct {
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool // nil when closed
	newest map[string]uint64 // token seen, by name
	writes []Write
}

type request struct {
	Name  string `json:"name"`
	Life  string `json:"life"`
	Token uint64 `json:"token"`
}

type answer struct {
	Accepted bool `json:"accepted"`
}

// Listen starts a register on a free port of the loopback interface.
func Listen() (*Register, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the register: %w", err)
	}
	r := &Register{listener: l, conns: map[net.Conn]bool{}, newest: map[string]uint64{}}
	r.work.Go(r.accept)
	return r, nil
}

// Addr is where clients connect, host:port.
func (r *Register) Addr() string { return r.listener.Addr().String() }

// Writes returns the writes so far, in the order in which they were decided.
func (r *Register) Writes() []Write {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.writes)
}

// Close ends the register and all connections to it.
func (r *Register) Close() {
	_ = r.listener.Close()
	r.mu.Lock()
	for conn := range r.conns {
		_ = conn.Close()
	}
	r.conns = nil
	r.mu.Unlock()
	r.work.Wait()
}

func (r *Register) accept() {
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

// serve answers one client until it hangs up.
func (r *Register) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, conn)
	}()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var w request
		if in.Decode(&w) != nil || out.Encode(answer{r.decide(w)}) != nil {
			return
		}
	}
}

func (r *Register) decide(w request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	accepted := w.Token >= r.newest[w.Name]
	if accepted {
		r.newest[w.Name] = w.Token
	}
	r.writes = append(r.writes, Write{journal.Now(), w.Name, w.Life, w.Token, accepted})
	return accepted
}

// A Pen is a client's connection to the register. It is safe for concurrent use.
type Pen struct {
	life string
	mu   sync.Mutex
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
}

// Dial connects a life of a client to the register at addr.
func Dial(addr, life string) (*Pen, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("reach the register: %w", err)
	}
	return &Pen{life: life, conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}, nil
}

// Write writes with a token, and reports whether that was accepted.
func (p *Pen) Write(name string, token uint64) (accepted bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var a answer
	err = errors.Join(p.out.Encode(request{name, p.life, token}), p.in.Decode(&a))
	if err != nil {
		return false, fmt.Errorf("write to the register: %w", err)
	}
	return a.Accepted, nil
}

// Close hangs up.
func (p *Pen) Close() error { return p.conn.Close() }
