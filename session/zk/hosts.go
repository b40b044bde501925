package zk

import (
	"math/rand/v2"
	"sync"
)

// hosts tells the client library where to connect next. Its own way waits for a
// second before it goes back to an only server, and resolves names but once.
type hosts struct {
	mu      sync.Mutex
	servers []string
	next    int
	failed  int // attempts since the last connection
}

// Init implements zk.HostProvider.
func (h *hosts) Init(servers []string) error {
	h.servers, h.next = servers, rand.IntN(len(servers))
	return nil
}

// Len implements zk.HostProvider.
func (h *hosts) Len() int { return len(h.servers) }

// Next implements zk.HostProvider. The library waits when all have been tried.
func (h *hosts) Next() (server string, wait bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server = h.servers[h.next]
	h.next = (h.next + 1) % len(h.servers)
	h.failed++
	return server, h.failed > 1 && (h.failed-1)%len(h.servers) == 0
}

// Connected implements zk.HostProvider.
func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = 0
}
