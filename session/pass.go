package session

import (
	"context"
	"errors"
)

// OnRelease has Release call f first, each time. If f passes the grant on, with Pass,
// that was all. It is for those who write primitives, before they give the grant to its
// owner.
func (g *Grant) OnRelease(f func()) { g.onRelease = f }

// errPinned is why a grant is not passed on.
var errPinned = errors.New("something in the store is tied to it")

// Pin has every later Pass of the grant fail. It is for stores that tie something to the
// entry which may outlast the grant, such as an open transaction, or a request that is on its
// way: only the store can tell who is next then. Where a Pass was first, Check tells.
func (g *Grant) Pin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pinned = true
}

// Pass ends the grant, with cause ErrReleased, and returns another one on the same
// entry: with the same token, the values of ctx, and a context of its own. The store
// is not asked. The first one's Release does nothing any more. It is for those who write
// primitives.
//
// It fails when the grant had ended, while a function runs under it, in Do, and after
// Pin: then nothing has changed. It also fails when the lease, the entry or the session ends just
// then: the grant has ended, nobody has another one, and the entry is removed.
func (g *Grant) Pass(ctx context.Context) (*Grant, error) {
	const verb = "pass on"
	_ = g.p.t.trusted() // ends the grant when it is not
	// First: whoever has the next one must not run beside the owner of this one.
	if err := g.passOn(errPinned); err != nil {
		return nil, g.fail(verb, err)
	}
	var next *Grant
	defer g.giveBack()
	defer func() {
		if next == nil { // also after a panic, of a tracer say
			g.p.depart()
		}
	}()
	g.report()
	var err error
	if next, err = g.p.grantAs(ctx, g.mode); err != nil {
		return nil, g.fail(verb, err)
	}
	return next, nil
}
