package zk_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/fairlead-go/fairlead/session"
)

// A room is what the lock of one name protects: whoever comes in has a higher
// token than all before, and finds nobody who has not left or been told to.
type room struct {
	mu      sync.Mutex
	inside  []*session.Grant
	trouble []error
}

func (r *room) enter(g *session.Grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.inside {
		if other.Context().Err() == nil {
			r.trouble = append(r.trouble, fmt.Errorf("token %d was granted while %d is held", g.Token(), other.Token()))
		}
		if other.Token() >= g.Token() {
			r.trouble = append(r.trouble, fmt.Errorf("token %d was granted after %d", g.Token(), other.Token()))
		}
	}
	r.inside = append(r.inside, g)
}

// visited checks that so many came in, and none at a wrong time.
func (r *room) visited(t *testing.T, times int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := errors.Join(r.trouble...); err != nil {
		t.Error(err)
	}
	if len(r.inside) != times {
		t.Errorf("%d came in, want %d", len(r.inside), times)
	}
}

// visiting starts a Lock that comes in, and leaves at once.
func (r *room) visiting(ctx context.Context, s *session.Session, name string) *call[*session.Grant] {
	return begin(func() (*session.Grant, error) {
		c := locking(ctx, s, name)
		if <-c.done; c.err != nil {
			return nil, c.err
		}
		r.enter(c.v)
		return c.v, c.v.Release(ctx)
	})
}

// A pair is a holder, and who waits for it.
type pair struct {
	name string
	room
	held *session.Grant
	next *call[*session.Grant]
}

// pair has one session hold the name, and the other wait.
func (s *site) pair(t *testing.T, holder, waiter *session.Session, name string) *pair {
	t.Helper()
	p := &pair{name: name, held: lock(t, holder, name)}
	p.enter(p.held)
	p.next = p.visiting(bounded(t), waiter, name)
	s.queued(t, name, 2)
	return p
}

// pass lets the waiter have what is held, if it is not lost already, and checks
// that it was let in then, and not before.
func (p *pair) pass(t *testing.T) {
	t.Helper()
	if err := p.held.Release(bounded(t)); err != nil && !errors.Is(err, session.ErrLost) {
		t.Errorf("%s: release: %v", p.name, err)
	}
	p.next.must(t)
	p.visited(t, 2)
}

// loses waits for the loss, and for the waiter to be let in after it.
func (p *pair) loses(t *testing.T) {
	t.Helper()
	p.next.must(t)
	p.visited(t, 2)
	if cause := context.Cause(p.held.Context()); !errors.Is(cause, session.ErrLost) {
		t.Errorf("%s: the grant ended with cause %v, want ErrLost", p.name, cause)
	}
}
