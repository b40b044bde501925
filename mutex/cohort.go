package mutex

import (
	"container/list"
	"context"
	"sync"

	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// A cohort is the goroutines that ask for a Mutex with LocalHandoff. One of them leads:
// it stands in the store's queue, or holds. The others wait here, first come, first
// served, for the lock or for the lead.
//
// While anybody waits here, somebody leads. Whoever stops to lead without passing the
// lock on gives the lead to the first who waits.
//
// A waiter is taken from the line once, under mu, by whoever has a word for it, which
// comes whatever happens. So one that gives up is either still in the line, and
// nobody counts on it, or has a word coming, and hears it.
type cohort struct {
	limit int // how often in a row the lock is passed on

	mu     sync.Mutex
	led    bool           // somebody leads
	line   list.List      // of *waiter
	grant  *session.Grant // of the one who leads, when it holds
	passes int            // of the lock, since the store granted it
	forget func() bool    // ends the wait for grant's end
}

// A waiter is a goroutine in the line.
type waiter struct {
	holding context.Context     // whose values its grant carries
	taken   bool                // out of the line: a word comes
	word    chan *session.Grant // holds one: the lock, or nil, which is the lead
}

// acquire is watch.Turn for a member of the cohort.
func (c *cohort) acquire(ctx context.Context, s *session.Session, claim watch.Claim) (*session.Grant, error) {
	leads := false
	claim.Local = func(wait, holding context.Context, waits func(trace.SpanContext)) (*session.Grant, error) {
		if claim.Try {
			if !c.volunteer() {
				return nil, session.ErrHeld
			}
			leads = true
			return nil, nil
		}
		g, err := c.await(wait, holding, waits)
		leads = g == nil && err == nil
		return g, err
	}
	defer func() {
		if leads { // also after a panic, in Queued say
			c.lead()
		}
	}()
	g, err := watch.Turn(ctx, s, claim, watch.Exclusive)
	if leads && err == nil {
		leads = false
		c.hold(g, 0)
	}
	return g, err
}

// volunteer takes the lead if nobody has it.
func (c *cohort) volunteer() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.led {
		return false
	}
	c.led = true
	return true
}

// await blocks until somebody passes the lock on, or until the caller leads, which it
// does at once if nobody else does: then the grant is nil. It ends with wait's error.
func (c *cohort) await(wait, holding context.Context, waits func(trace.SpanContext)) (*session.Grant, error) {
	holder, led := c.holder()
	if led {
		waits(holder) // while nobody counts on this one: it calls others' code, which may panic
	}
	c.mu.Lock()
	if !c.led {
		c.led = true
		c.mu.Unlock()
		return nil, nil
	}
	w := &waiter{holding: holding, word: make(chan *session.Grant, 1)}
	place := c.line.PushBack(w)
	c.mu.Unlock()

	select {
	case g := <-w.word:
		return g, nil
	case <-wait.Done():
	}
	c.mu.Lock()
	if !w.taken {
		c.line.Remove(place)
		c.mu.Unlock()
		return nil, wait.Err()
	}
	c.mu.Unlock()
	return <-w.word, nil // no later than without the option: passing on asks nobody
}

// holder returns the trace of who holds, if anybody does, and whether anybody leads.
func (c *cohort) holder() (holder trace.SpanContext, led bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.grant != nil {
		holder = trace.SpanContextFromContext(c.grant.Context())
	}
	return holder, c.led
}

// succeed takes the first from the line, for the one who has the lead to give it on; with
// nobody there, nobody leads.
func (c *cohort) succeed() *waiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.line.Front()
	c.led = first != nil
	if !c.led {
		return nil
	}
	w := c.line.Remove(first).(*waiter)
	w.taken = true
	return w
}

// lead gives the lead to the first in the line, which goes to the store. The caller has
// it, and neither holds nor waits any more.
func (c *cohort) lead() {
	if w := c.succeed(); w != nil {
		w.word <- nil
	}
}

// hold records that who leads holds, after so many passes.
func (c *cohort) hold(g *session.Grant, passes int) {
	g.OnRelease(func() { c.release(g) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grant, c.passes = g, passes
	// Lost: its owner may take long to stop, and nobody waits for that here.
	c.forget = context.AfterFunc(g.Context(), func() {
		if _, mine := c.part(g); mine {
			c.lead()
		}
	})
}

// part records that the grant is not held any more. mine is false when somebody else
// has seen to that: of Release and loss, one gives the lead on, or the lock.
func (c *cohort) part(g *session.Grant) (passes int, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.grant != g {
		return 0, false
	}
	c.grant = nil
	c.forget()
	return c.passes, true
}

// release is what the grant's Release does first: it passes the lock on if it may, and
// if anybody waits.
func (c *cohort) release(g *session.Grant) {
	passes, mine := c.part(g)
	if !mine {
		return
	}
	if passes >= c.limit {
		c.lead()
		return
	}
	w := c.succeed()
	if w == nil {
		return
	}
	var word *session.Grant
	defer func() { w.word <- word }() // also after a panic, of a tracer say
	next, err := g.Pass(w.holding)
	if err != nil { // the lease ended, a function still runs under the grant, or it is pinned
		return
	}
	c.hold(next, passes+1)
	word = next
}
