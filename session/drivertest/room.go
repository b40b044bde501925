package drivertest

import (
	"context"
	"slices"
	"sync"

	"github.com/fairlead-go/fairlead/session"
)

// A room is what a lock is to protect: one is in it at a time, and whoever comes
// has a higher token than all before. It reports who breaks that.
type room struct {
	tb TB

	mu     sync.Mutex
	inside map[string]*session.Grant
	last   uint64
	visits []string // in order of arrival
}

func newRoom(tb TB) *room { return &room{tb: tb, inside: map[string]*session.Grant{}} }

// enter is called with what was granted. Whoever is in must have left, or have
// been told by its grant's context to get out.
func (r *room) enter(who string, g *session.Grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for other, held := range r.inside {
		if held.Context().Err() == nil {
			r.tb.Errorf("%s was let in with token %d while %s holds with token %d", who, g.Token(), other, held.Token())
		}
	}
	if g.Token() <= r.last {
		r.tb.Errorf("%s was let in with token %d after token %d", who, g.Token(), r.last)
	}
	r.inside[who] = g
	r.last = g.Token()
	r.visits = append(r.visits, who)
}

func (r *room) leave(who string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.inside, who)
}

// arrivals returns who was in the room, in order.
func (r *room) arrivals() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.visits)
}

// visit locks, enters, looks at the queue, leaves and unlocks.
func (r *room) visit(ctx context.Context, p *peer, name, who string) error {
	g, err := p.mutex(name).Lock(ctx)
	if err != nil {
		return err
	}
	r.enter(who, g)
	defer r.leave(who)
	// A visit is too short to be met by another one often: the queue shows
	// whether it was the visitor's turn.
	q, err := p.f.admin.Read(ctx, name, 1)
	if err != nil {
		return err
	}
	if len(q.Entries) == 0 || q.Entries[0].Token != g.Token() {
		r.tb.Errorf("%s was let in with token %d while the queue begins with %v", who, g.Token(), brief(q.Entries))
	}
	r.leave(who)
	return g.Release(ctx)
}
