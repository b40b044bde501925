package drivertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// What somebody breaks ends, and nothing else does.
var breakCases = []Case{
	{"BreakMarksThatEntryAlone", breakMarksThatEntryAlone},
	{"BreakOfAnEntryThatIsGoneLeavesNoMark", breakOfAnEntryThatIsGoneLeavesNoMark},
	{"LeaseWatchTellsOfMarks", leaseWatchTellsOfMarks},
	{"BrokenHolderLearnsWhoBrokeIt", brokenHolderLearnsWhoBrokeIt},
	{"LostWordOfABreakIsMadeGood", lostWordOfABreakIsMadeGood},
	{"MarksAreClearedOnceObeyed", marksAreClearedOnceObeyed},
	{"BrokenFunctionIsWaitedFor", brokenFunctionIsWaitedFor},
	{"BrokenOwnerHasTheMarginToStop", brokenOwnerHasTheMarginToStop},
	{"BrokenWaiterDoesNotJoinAgain", brokenWaiterDoesNotJoinAgain},
	{"ForceRemovesExactlyThatEntry", forceRemovesExactlyThatEntry},
	{"BreakThatGivesUpSaysWhatForceWouldDo", breakThatGivesUpSaysWhatForceWouldDo},
	{"BreakOfWhatIsNotHeldNamesTheHolder", breakOfWhatIsNotHeldNamesTheHolder},
	{"BreakNeverTakesTheNewerGrant", breakNeverTakesTheNewerGrant},
	{"BreakEndsATermOfLeadership", breakEndsATermOfLeadership},
	{"BreakOfPermitsLetsTheNextIn", breakOfPermitsLetsTheNextIn},
	{"ForcedBreakOfTheLastPermitsTakesTheLimit", forcedBreakOfTheLastPermitsTakesTheLimit},
}

const why = "the deploy hangs"

// breaking starts a Break.
func (p *peer) breaking(ctx context.Context, name string, token uint64, force bool) *job[struct{}] {
	return act(p.f, func() error {
		return p.Break(ctx, name, token, &session.BreakOptions{By: "ops", Reason: why, Force: force})
	})
}

// doing runs a function under a lock, which begins when it was granted and then goes
// on, whatever becomes of its context, until stop is closed or the case is over.
func (p *peer) doing(name string, stop <-chan struct{}) (*session.Grant, *job[struct{}]) {
	p.f.Helper()
	began := make(chan struct{})
	var g *session.Grant
	do := act(p.f, func() error {
		return p.mutex(name).Do(p.f.ctx, func(ctx context.Context) error {
			g, _ = session.GrantFrom(ctx)
			close(began)
			<-ctx.Done()
			p.f.isBroken("the cause of the function's context", context.Cause(ctx))
			select {
			case <-stop:
			case <-p.f.ctx.Done():
			}
			return nil
		})
	})
	p.f.happens("the function's begin", began)
	return g, do
}

// isBroken checks that an error says who broke it.
func (f *fixture) isBroken(what string, err error) {
	f.Helper()
	b, ok := errors.AsType[*session.Broken](err)
	switch {
	case !ok || !errors.Is(err, session.ErrLost):
		f.Errorf("%s: %v, want an error that Is ErrLost and As a Broken", what, err)
	case b.By != "ops" || b.Reason != why:
		f.Errorf("%s was broken by %q for %q, want ops, %q", what, b.By, b.Reason, why)
	case !strings.Contains(err.Error(), "ops") || !strings.Contains(err.Error(), why):
		f.Errorf("%s: %q does not say who broke it, and why", what, err)
	}
}

// broken waits until the grant is, for that reason.
func (f *fixture) broken(g *session.Grant) {
	f.Helper()
	f.lostGrant(g)
	f.isBroken("the cause of the grant's context", context.Cause(g.Context()))
	f.isBroken("Check of the grant", g.Check())
}

func mark(e driver.Entry) driver.Mark { return driver.Mark{ID: e.ID, By: "ops", Reason: why} }

// marks returns those of the lease.
func (h *holder) marks() []driver.Mark {
	h.f.Helper()
	marks, err := h.Marks(h.f.ctx)
	if err != nil {
		h.f.Fatalf("list the marks: %v", err)
	}
	return marks
}

// marked waits until the lease has that mark, and checks that it has no other.
func (h *holder) marked(want driver.Mark) {
	h.f.Helper()
	h.f.eventually(func() error {
		if got := h.marks(); len(got) != 1 || got[0] != want {
			return fmt.Errorf("the marks of the lease are %+v, want %+v", got, want)
		}
		return nil
	})
}

func breakMarksThatEntryAlone(f *fixture) {
	a, b, name := f.bare(), f.bare(), f.name("q")
	first, second := a.join(name).Me, b.join(name).Me
	read := f.queue(name)
	for range 2 { // to say it twice is to say it once
		if err := f.admin.Break(f.ctx, read[0], mark(first), false); err != nil {
			f.Fatalf("break: %v", err)
		}
	}
	if q := f.queue(name); len(q) != 2 {
		f.Errorf("a mark has changed the queue: %s", brief(q))
	}
	a.marked(mark(first))
	if err := f.admin.Break(f.ctx, read[1], mark(second), true); err != nil {
		f.Fatalf("break: %v", err)
	}
	f.alone(name, first.Token)
	b.marked(mark(second))
	for range 2 {
		if err := b.Clear(f.ctx, mark(second)); err != nil {
			f.Errorf("clear: %v", err)
		}
	}
	if got := b.marks(); len(got) != 0 {
		f.Errorf("a mark that was cleared is there: %+v", got)
	}
	if got := a.marks(); len(got) != 1 {
		f.Errorf("with the mark of another entry, %+v was cleared", mark(first))
	}
	a.leave(first)
}

func breakOfAnEntryThatIsGoneLeavesNoMark(f *fixture) {
	a, name := f.bare(), f.name("q")
	old := a.join(name).Me
	read := f.queue(name)[0]
	a.leave(old)
	now := a.join(name).Me // by the same lease: perhaps where the old one was
	for _, force := range []bool{false, true} {
		if err := f.admin.Break(f.ctx, read, mark(old), force); !errors.Is(err, driver.ErrEntryGone) {
			f.Errorf("Break with force %t of an entry that is gone returned %v, want ErrEntryGone", force, err)
		}
	}
	f.alone(name, now.Token)
	if got := a.marks(); len(got) != 0 {
		f.Errorf("Break of an entry that is gone has left %+v", got)
	}
	a.leave(now)
}

func leaseWatchTellsOfMarks(f *fixture) {
	a, name := f.bare(), f.name("q")
	first, second := a.join(name).Me, a.join(name).Me
	told := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(f.ctx)
	watching := func() *job[struct{}] {
		return act(f, func() error {
			return a.Watch(ctx, func() {
				select {
				case told <- struct{}{}:
				default:
				}
			})
		})
	}
	heard := func(what string) {
		f.Helper()
		select {
		case <-told:
		case <-time.After(f.patience):
			f.Fatalf("the watch of the lease did not tell of %s", what)
		}
	}
	w := watching()
	if err := f.admin.Break(f.ctx, first, mark(first), false); err != nil {
		f.Fatalf("break: %v", err)
	}
	heard("a mark")
	cancel()
	_, _ = w.ended()
	if err := f.admin.Break(f.ctx, second, mark(second), false); err != nil {
		f.Fatalf("break: %v", err)
	}
	for len(told) > 0 {
		<-told
	}
	ctx, cancel = context.WithCancel(f.ctx)
	w = watching()
	heard("marks that were there when it began")
	cancel()
	_, _ = w.ended()
}

func brokenHolderLearnsWhoBrokeIt(f *fixture) {
	opened := time.Now()
	p := f.openWith(&session.Options{TTL: 2 * longTTL, Identity: "p"})
	audit := opened.Add(p.TTL() / 3) // the first one, which is not to be what tells
	b, op, name := f.open("b"), f.open("op"), f.name("q")
	g, untouched := p.lock(name), p.lock(f.name("untouched"))
	next := b.waiting(f.ctx, name, 2)
	broken := op.breaking(f.ctx, name, g.Token(), false)
	select {
	case <-g.Context().Done():
	case <-time.After(min(f.patience, time.Until(audit))):
		f.Fatalf("the holder was not told")
	}
	f.broken(g)
	f.isBroken("Confirm", g.Confirm(f.ctx))
	broken.goesOn("Break, while who held has not stopped,")
	next.goesOn("the wait for one who has not stopped")
	f.isBroken("Release", g.Release(f.ctx))
	broken.must()
	f.release(next.must())
	if err := untouched.Confirm(f.ctx); err != nil {
		f.Errorf("another grant of the session: %v", err)
	}
	f.release(untouched)
	f.release(p.lock(name))
}

func lostWordOfABreakIsMadeGood(f *fixture) {
	p, op, name := f.openShort("p"), f.open("op"), f.name("q")
	p.calls.On(OpMarked, loseRequest)
	g := p.lock(name)
	broken := op.breaking(f.ctx, name, g.Token(), false)
	f.broken(g)
	f.isBroken("Release", g.Release(f.ctx))
	broken.must()
}

func marksAreClearedOnceObeyed(f *fixture) {
	p, op, name := f.openShort("p"), f.open("op"), f.name("q")
	for _, force := range []bool{false, true} {
		g := p.lock(name)
		broken := op.breaking(f.ctx, name, g.Token(), force)
		f.broken(g)
		_ = g.Release(f.ctx)
		broken.must()
	}
	f.eventually(func() error {
		marks, err := p.present().Marks(f.ctx)
		if err == nil && len(marks) > 0 {
			err = fmt.Errorf("marks were obeyed, and are still there: %+v", marks)
		}
		return err
	})
	f.free(name)
}

func brokenFunctionIsWaitedFor(f *fixture) {
	p, b, op, name := f.openShort("p"), f.open("b"), f.open("op"), f.name("q")
	stop := make(chan struct{})
	g, do := p.doing(name, stop)
	next := b.waiting(f.ctx, name, 2)
	broken := op.breaking(f.ctx, name, g.Token(), false)
	f.broken(g)
	// Longer than the margin, after which others are taken to have stopped.
	if !broken.pending(p.TTL()) {
		f.Errorf("Break returned %v while the function ran", broken.err)
	}
	next.goesOn("the wait for a function that runs")
	if q := f.queue(name); len(q) != 2 || q[0].Token != g.Token() {
		f.Errorf("the entry of a function that runs is gone: %s", brief(q))
	}
	close(stop)
	_, err := do.ended()
	f.isBroken("Do", err)
	broken.must()
	f.release(next.must())
}

func brokenOwnerHasTheMarginToStop(f *fixture) {
	p, b, op, name := f.openShort("p"), f.open("b"), f.open("op"), f.name("q")
	g := p.lock(name)
	next := b.waiting(f.ctx, name, 2)
	broken := op.breaking(f.ctx, name, g.Token(), false)
	f.broken(g)
	broken.goesOn("Break, within the margin,")
	broken.must() // though nobody has released it
	f.release(next.must())
	f.isBroken("Release", g.Release(f.ctx))
}

func brokenWaiterDoesNotJoinAgain(f *fixture) {
	a, b, c, op, name := f.open("a"), f.open("b"), f.open("c"), f.open("op"), f.name("q")
	g := a.lock(name)
	for _, force := range []bool{false, true} {
		waits := b.waiting(f.ctx, name, 2)
		behind := c.waiting(f.ctx, name, 3)
		token := f.queue(name)[1].Token
		broken := op.breaking(f.ctx, name, token, force)
		_, err := waits.ended()
		f.isBroken("Lock", err)
		broken.must()
		if q := f.queued(name, 2); q[0].Token != g.Token() || q[1].Token <= token {
			f.Errorf("after the break of a waiter, the queue is %s", brief(q))
		}
		behind.goesOn("the wait behind one that was broken")
		if err := g.Confirm(f.ctx); err != nil {
			f.Errorf("the holder, while a waiter was broken: %v", err)
		}
		f.release(g)
		f.release(behind.must())
		g = a.lock(name)
	}
	f.release(g)
}

func forceRemovesExactlyThatEntry(f *fixture) {
	a, b, c, op, name := f.open("a"), f.open("b"), f.open("c"), f.open("op"), f.name("q")
	stop := make(chan struct{})
	g, do := a.doing(name, stop)
	second := b.waiting(f.ctx, name, 2)
	third := c.waiting(f.ctx, name, 3)
	before := f.queue(name)
	op.breaking(f.ctx, name, g.Token(), true).must()
	f.queued(name, 2)
	next := second.must() // though the function runs
	if next.Token() != before[1].Token {
		f.Errorf("token %d was granted, want %d", next.Token(), before[1].Token)
	}
	f.broken(g)
	third.goesOn("the wait of the third")
	close(stop)
	_, err := do.ended()
	f.isBroken("Do", err)
	if err := next.Confirm(f.ctx); err != nil {
		f.Errorf("the newer grant: %v", err)
	}
	f.release(next)
	f.release(third.must())
}

func breakThatGivesUpSaysWhatForceWouldDo(f *fixture) {
	p, op, name := f.open("the holder"), f.open("op"), f.name("q")
	g := p.lock(name)
	ctx, cancel := context.WithCancel(f.ctx)
	broken := op.breaking(ctx, name, g.Token(), false)
	f.broken(g)
	cancel()
	_, err := broken.endedWithin(prompt)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "Force") || !strings.Contains(err.Error(), p.Identity()) {
		f.Errorf("Break that gave up returned %v, want one that names the holder, and Force", err)
	}
	op.breaking(f.ctx, name, g.Token(), true).must()
	f.free(name)
	f.isBroken("Release", g.Release(f.ctx))
}

func breakOfWhatIsNotHeldNamesTheHolder(f *fixture) {
	p, op, name := f.open("the holder"), f.open("op"), f.name("q")
	old := p.lock(name)
	f.release(old)
	for _, force := range []bool{false, true} {
		_, err := op.breaking(f.ctx, name, old.Token(), force).ended()
		if !errors.Is(err, session.ErrNotHeld) {
			f.Errorf("Break where nobody holds returned %v, want ErrNotHeld", err)
		}
	}
	g := p.lock(name)
	for _, force := range []bool{false, true} {
		for _, token := range []uint64{0, old.Token(), g.Token() + 1} {
			_, err := op.breaking(f.ctx, name, token, force).ended()
			if !errors.Is(err, session.ErrNotHeld) || !strings.Contains(err.Error(), "the holder") ||
				!strings.Contains(err.Error(), fmt.Sprint(g.Token())) {
				f.Errorf("Break of token %d returned %v, want ErrNotHeld and who holds", token, err)
			}
		}
	}
	if err := g.Confirm(f.ctx); err != nil {
		f.Errorf("the grant, of which nobody spoke: %v", err)
	}
	f.release(g)
}

// breakNeverTakesTheNewerGrant breaks each grant in the moment in which it is handed
// over: in every other round while both are under way, in the rest just after Break
// has seen who holds.
func breakNeverTakesTheNewerGrant(f *fixture) {
	a, b, op, name := f.open("a"), f.open("b"), f.open("op"), f.name("q")
	took := 0
	g := a.lock(name)
	for i := range 100 {
		next := b.waiting(f.ctx, name, 2)
		if err := g.Check(); err != nil {
			f.Fatalf("before round %d: %v", i, err)
		}
		force, seen, handed := i%2 == 0, make(chan struct{}), make(chan struct{})
		op.calls.On(OpBreak, nil)
		if i%4 < 2 {
			op.calls.On(OpBreak, func(ctx context.Context, _ Op, call func(context.Context) error) error {
				close(seen)
				select {
				case <-handed:
				case <-ctx.Done():
				}
				return call(ctx)
			})
		} else {
			close(seen)
		}
		broken := op.breaking(f.ctx, name, g.Token(), force)
		f.happens("the look at who holds", seen)
		released := g.Release(f.ctx)
		before := g.Token()
		g = next.must()
		close(handed)
		_, err := broken.ended()
		switch {
		case err == nil:
			took++
		case !errors.Is(err, session.ErrNotHeld):
			f.Fatalf("round %d: Break returned %v, want nil or ErrNotHeld", i, err)
		}
		if released != nil && (err != nil || !errors.Is(released, session.ErrLost)) {
			f.Fatalf("round %d: Release returned %v, and Break %v", i, released, err)
		}
		if err := g.Confirm(f.ctx); err != nil {
			f.Fatalf("round %d: token %d was broken in place of token %d: %v", i, g.Token(), before, err)
		}
		f.alone(name, g.Token())
		a, b = b, a
	}
	f.Logf("in %d of 100 rounds, Break came before the hand-over", took)
	f.release(g)
}

func breakEndsATermOfLeadership(f *fixture) {
	p, other, op, name := f.open("p"), f.open("other"), f.open("op"), f.name("q")
	term, err := p.election(name).Campaign(f.ctx, "10.0.0.1:80")
	if err != nil {
		f.Fatalf("%v", err)
	}
	next := begin(f, func() (*session.Grant, error) {
		t, err := other.election(name).Campaign(f.ctx, "10.0.0.2:80")
		if err != nil {
			return nil, err
		}
		return t.Grant, nil
	})
	f.queued(name, 2)
	broken := op.breaking(f.ctx, name, term.Token(), false)
	f.broken(term.Grant)
	f.isBroken("Proclaim", term.Proclaim(f.ctx, "10.0.0.1:81"))
	f.isBroken("Resign", term.Resign(f.ctx))
	broken.must()
	f.release(next.must())
}

func breakOfPermitsLetsTheNextIn(f *fixture) {
	a, b, op, name := f.open("a"), f.open("b"), f.open("op"), f.name("q")
	for _, force := range []bool{false, true} {
		stays, g := a.acquire(name, 3, 1), a.acquire(name, 3, 2)
		next := b.acquiring(f.ctx, name, 3, 1)
		f.queued(name, 3)
		broken := op.breaking(f.ctx, name, g.Token(), force)
		f.broken(g)
		f.isBroken("Release", g.Release(f.ctx))
		broken.must()
		f.release(next.must())
		if err := stays.Confirm(f.ctx); err != nil {
			f.Errorf("other permits of the same session: %v", err)
		}
		f.release(stays)
	}
}

func forcedBreakOfTheLastPermitsTakesTheLimit(f *fixture) {
	a, b, op, name := f.open("a"), f.open("b"), f.open("op"), f.name("q")
	g := a.acquire(name, 3, 1)
	op.breaking(f.ctx, name, g.Token(), true).must()
	f.release(b.acquire(name, 5, 4)) // as in a queue that is new
	f.broken(g)
	f.isBroken("Release", g.Release(f.ctx))
}
