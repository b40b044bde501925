package drivertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// Leases that end, and entries that somebody removes.
var lossCases = []Case{
	{"ExpiryWhileHoldingIsALoss", expiryWhileHoldingIsALoss},
	{"ExpiryWhileWaitingJoinsAgainAtTheEnd", expiryWhileWaitingJoinsAgainAtTheEnd},
	{"SessionSurvivesLossAfterLoss", sessionSurvivesLossAfterLoss},
	{"EntryRemovedWhileHoldingIsALoss", entryRemovedWhileHoldingIsALoss},
	{"EntryRemovedWhileWaitingJoinsAgain", entryRemovedWhileWaitingJoinsAgain},
}

func expiryWhileHoldingIsALoss(f *fixture) {
	a, b := f.open("a"), f.open("b")
	names := []string{f.name("q1"), f.name("q2")}
	var grants []*session.Grant
	var next []*job[*session.Grant]
	for _, name := range names {
		grants = append(grants, a.lock(name))
		next = append(next, b.waiting(f.ctx, name, 2))
	}
	a.expire()
	for i, g := range grants { // all that hung on the lease
		f.lostGrant(g)
		if err := g.Confirm(f.ctx); !errors.Is(err, session.ErrLost) {
			f.Errorf("Confirm of a lost grant returned %v, want ErrLost", err)
		}
		f.release(next[i].must())
	}
	for i, name := range names { // the session survives
		g := a.lock(name)
		if g.Token() <= next[i].v.Token() {
			f.Errorf("token %d follows token %d", g.Token(), next[i].v.Token())
		}
		if err := g.Confirm(f.ctx); err != nil {
			f.Errorf("under the session's next lease: %v", err)
		}
		f.release(g)
	}
	if err := a.Check(f.ctx); err != nil {
		f.Errorf("the session after a loss: %v", err)
	}
}

func expiryWhileWaitingJoinsAgainAtTheEnd(f *fixture) {
	a, b, c, name, r := f.open("a"), f.open("b"), f.open("c"), f.name("q"), newRoom(f.TB)
	g := a.lock(name)
	r.enter("a", g)
	waits := b.waiting(f.ctx, name, 2)
	behind := c.waiting(f.ctx, name, 3)
	old := b.present()
	b.expire()
	var q []driver.Entry
	f.eventually(func() error {
		if q = f.queue(name); len(q) != 3 || q[2].Lease == old.ID() || q[2].Lease != b.present().ID() {
			return fmt.Errorf("b, whose lease %s has ended, has not joined again at the end: %v", old.ID(), brief(q))
		}
		return nil
	})
	waits.goesOn("the wait of one whose lease has ended")
	r.leave("a")
	f.release(g)
	g = behind.must()
	r.enter("c", g)
	waits.goesOn("the wait of one whose lease has ended")
	r.leave("c")
	f.release(g)
	g = waits.must()
	r.enter("b", g)
	if g.Token() != q[2].Token {
		f.Errorf("b was granted token %d, its entry has %d", g.Token(), q[2].Token)
	}
	if err := g.Confirm(f.ctx); err != nil {
		f.Errorf("%v", err)
	}
	f.release(g)
}

func sessionSurvivesLossAfterLoss(f *fixture) {
	p, name, r := f.open("p"), f.name("q"), newRoom(f.TB)
	for range 5 {
		g := p.lock(name)
		r.enter("p", g)
		p.expire()
		f.lostGrant(g)
	}
	f.eventually(func() error { return p.Check(f.ctx) })
	f.free(name)
}

// remove removes an entry as an operator would, from a lease of its own.
func (f *fixture) remove(e driver.Entry) {
	f.Helper()
	f.bare().leave(e)
}

func entryRemovedWhileHoldingIsALoss(f *fixture) {
	p, other, name := f.openShort("p"), f.open("other"), f.name("q")
	lease := p.present().ID()
	g, untouched := p.lock(name), p.lock(f.name("untouched"))
	next := other.waiting(f.ctx, name, 2)
	f.remove(f.queue(name)[0])
	f.lostGrant(g)
	f.release(next.must())
	if err := g.Release(f.ctx); !errors.Is(err, session.ErrLost) {
		f.Errorf("Release of what somebody removed returned %v, want ErrLost", err)
	}
	// It was the entry that was removed, and nothing else.
	if err := untouched.Confirm(f.ctx); err != nil && p.present().ID() == lease {
		f.Errorf("another grant of the session: %v", err)
	}
	_ = untouched.Release(f.ctx)

	// Who asks learns of it at once.
	slow := f.open("slow")
	g = slow.lock(name)
	f.remove(f.queue(name)[0])
	if err := g.Confirm(f.ctx); !errors.Is(err, session.ErrLost) {
		f.Errorf("Confirm of a grant whose entry was removed returned %v, want ErrLost", err)
	}
	f.lostGrant(g)
}

func entryRemovedWhileWaitingJoinsAgain(f *fixture) {
	a, b, c, name, r := f.open("a"), f.openShort("b"), f.open("c"), f.name("q"), newRoom(f.TB)
	g := a.lock(name)
	r.enter("a", g)
	waits := b.waiting(f.ctx, name, 2)
	behind := c.waiting(f.ctx, name, 3)
	removed := f.queue(name)[1]
	f.remove(removed)
	f.eventually(func() error {
		if q := f.queue(name); len(q) != 3 || q[2].ID == removed.ID {
			return fmt.Errorf("b, whose entry was removed, has not joined again at the end: %v", brief(q))
		}
		return nil
	})
	waits.goesOn("the wait of one whose entry was removed")
	behind.goesOn("the wait behind one whose entry was removed")
	r.leave("a")
	f.release(g)
	g = behind.must()
	r.enter("c", g)
	r.leave("c")
	f.release(g)
	g = waits.must()
	r.enter("b", g)
	if cause := context.Cause(g.Context()); cause != nil {
		f.Errorf("a fresh grant ended: %v", cause)
	}
	f.release(g)
}
