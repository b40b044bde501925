package session

import "sync"

// A gate counts what is under way.
type gate struct {
	mu    sync.Mutex
	n     int
	empty chan struct{} // made on demand, closed when n reaches 0
}

func (g *gate) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
}

func (g *gate) exit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// idle returns a channel that is closed once nothing is under way.
func (g *gate) idle() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n == 0 {
		return nothing
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	return g.empty
}

// nothing is closed from the start.
var nothing = func() chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}()
