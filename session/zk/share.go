package zk

import (
	"context"
	"sync"
)

// A shared is work that is done once for all who ask for it while it is being done, after
// they have asked: what is under way is too early for them.
type shared struct {
	mu   sync.Mutex
	busy bool
	next *outcome // nil: nobody waits for it
}

type outcome struct {
	done chan struct{}
	err  error // valid when done is closed
}

// do has the work done, and returns when it was or ctx ends. It goes on then.
func (s *shared) do(ctx context.Context, work func() error) error {
	s.mu.Lock()
	if s.next == nil {
		s.next = &outcome{done: make(chan struct{})}
	}
	mine := s.next
	if !s.busy {
		s.busy = true
		go s.run(work)
	}
	s.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *shared) run(work func() error) {
	for {
		s.mu.Lock()
		o := s.next
		s.next = nil
		s.busy = o != nil
		s.mu.Unlock()
		if o == nil {
			return
		}
		o.err = work()
		close(o.done)
	}
}
