package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/session"
)

// checkTimeout bounds what is asked of the store for a probe: a kubelet waits for a second.
const checkTimeout = 700 * time.Millisecond

// A Leader is what /leader answers.
type Leader struct {
	Name     string    `json:"name"`
	Value    string    `json:"value"`
	Identity string    `json:"identity"` // "" when another library stands for it
	Token    uint64    `json:"token"`
	Me       bool      `json:"me"`
	Since    time.Time `json:"since"` // when this process saw it lead first
}

// A Sidecar knows who leads.
type Sidecar struct {
	s     *session.Session
	name  string
	value string // what this candidate proposes

	mu    sync.Mutex
	known bool   // seen was set
	seen  Leader // as the store has it; Token 0: nobody leads
	term  *session.Grant
	since time.Time // of term
}

// New returns a sidecar of a candidate for the election. Watch keeps it up to date.
func New(s *session.Session, name, value string) *Sidecar {
	return &Sidecar{s: s, name: name, value: value}
}

// Watch follows the election until ctx ends, the session is closed, or an error that trying again
// cannot heal: that it returns.
func (c *Sidecar) Watch(ctx context.Context) error {
	for l, err := range election.New(c.s, c.name).Observe(ctx) {
		if err != nil {
			return err
		}
		c.mu.Lock()
		since := time.Now()
		if c.known && c.seen.Token == l.Token {
			since = c.seen.Since // another value of the same term
		}
		c.known = true
		c.seen = Leader{Name: c.name, Value: l.Value, Identity: l.Identity, Token: l.Token, Since: since}
		c.mu.Unlock()
	}
	return nil
}

// Lead says that this candidate leads by the grant, for as long as its trust window is open.
func (c *Sidecar) Lead(g *session.Grant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.term, c.since = g, time.Now()
}

// leader returns who leads, and whether anything is known about it.
func (c *Sidecar) leader() (Leader, bool) {
	c.mu.Lock()
	term, since, seen, known := c.term, c.since, c.seen, c.known
	c.mu.Unlock()
	if term == nil {
		return seen, known
	}
	// Check may end the grant, and with it a command: not under the mutex.
	if term.Check() == nil {
		return Leader{Name: c.name, Value: c.value, Identity: c.s.Identity(), Token: term.Token(), Me: true, Since: since}, true
	}
	if seen.Token <= term.Token() { // what was seen is over, or was never more than the own term
		return Leader{Name: c.name}, known
	}
	return seen, known
}

// Handler answers /leader, /readyz and /healthz.
func (c *Sidecar) Handler() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /leader", c.serveLeader)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { report(w, c.check(r.Context())) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		err := c.check(r.Context())
		if !errors.Is(err, session.ErrLost) && !errors.Is(err, session.ErrClosed) {
			err = nil // the store does not answer, but the lease can still be trusted
		}
		report(w, err)
	})
	return mux
}

func (c *Sidecar) serveLeader(w http.ResponseWriter, _ *http.Request) {
	l, known := c.leader()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case !known:
		w.WriteHeader(http.StatusServiceUnavailable)
		l.Name = c.name
	case l.Token == 0:
		w.WriteHeader(http.StatusNotFound)
	}
	_ = json.NewEncoder(w).Encode(l) // who asked has gone
}

func (c *Sidecar) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return c.s.Check(ctx)
}

func report(w http.ResponseWriter, err error) {
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n")) // who asked has gone
}

// Serve answers requests at l until the function returned is called, which closes l.
func Serve(l net.Listener, h http.Handler) (stop func()) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // closed below
	}()
	return func() {
		_ = srv.Close()
		<-done
	}
}
