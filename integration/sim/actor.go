package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/integration/history"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// A client is a session, and the actors that share it.
type client struct {
	number int
	s      *session.Session

	// crashed: what its goroutines do counts no more. closing: Close has begun.
	crashed, closing atomic.Bool
}

// An actor is a goroutine of a client that asks for things, one after the other.
type actor struct {
	w      *world
	wt     *weather
	client *client
	number int // from 1, of all actors
	rand   *rand.Rand
	sites  []*site
	root   context.Context // ends when the schedule has gone wrong
	steps  int
	later  int // steps, in the calm
	habits habits
}

// habits are what the actors of one schedule do, and how often, in 100 times.
type habits struct {
	try, do, run, look, resize, downgrade, write, impatient, long, hog int
}

func (a *actor) chance(percent int) bool { return a.rand.IntN(100) < percent }

// upTo returns a random duration, mostly a short one.
func (a *actor) upTo(d time.Duration) time.Duration {
	if a.rand.IntN(3) > 0 {
		d /= 6
	}
	return 1 + time.Duration(a.rand.Int64N(int64(d)))
}

// in returns a moment of the actor's own, about d from now.
func (a *actor) in(d time.Duration) time.Time {
	a.wt.mu.Lock()
	defer a.wt.mu.Unlock()
	return a.wt.traffic(lane{a.client.number, acting, a.number}).moment(time.Now().Add(d))
}

func (a *actor) note(what string, n uint64) {
	a.w.journal.add(tag{client: a.client.number, actor: a.number}, what, n)
}

// gone tells whether the actor is to stop.
func (a *actor) gone() bool {
	return a.root.Err() != nil || a.client.crashed.Load() || a.client.closing.Load()
}

func (a *actor) run() {
	for i := range a.steps + a.later {
		at := a.in(a.upTo(time.Second))
		if i >= a.steps {
			at = a.in(max(0, time.Until(a.wt.calm)) + a.upTo(time.Second))
		}
		if !sleepUntil(a.root, at) || a.gone() {
			return
		}
		a.wt.began(a.client.number, a.number)
		a.step(a.sites[a.rand.IntN(len(a.sites))])
	}
}

func (a *actor) step(s *site) {
	switch {
	case s.kind == elections && a.chance(a.habits.look):
		a.look(s)
	case s.kind == elections && a.chance(a.habits.run):
		a.lead(s)
	case s.kind == semaphores && a.chance(a.habits.resize):
		a.resize(s)
	case s.kind != elections && a.chance(a.habits.do):
		a.do(s)
	default:
		a.acquire(s)
	}
}

// ask chooses what to ask for.
func (a *actor) ask(s *site) ask {
	q := ask{kind: s.kind, name: s.name, try: s.kind != elections && a.chance(a.habits.try), opts: &watch.Options{}}
	switch s.kind {
	case rwmutexes:
		q.shared = a.chance(60)
	case semaphores:
		s.mu.Lock()
		q.limit = s.limit
		s.mu.Unlock()
		q.weight = 1
		if a.chance(40) {
			q.weight += a.rand.Int64N(q.limit)
		}
	case elections:
		q.value = a.proposal(s)
	}
	return q
}

// proposal returns a value that nobody else proposes.
func (a *actor) proposal(s *site) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values++
	return fmt.Sprintf("value %d of actor %d", s.values, a.number)
}

// patience returns the context of a call, and bounds its wait. q is nil if the call
// acquires nothing.
func (a *actor) patience(q *ask) (context.Context, context.CancelFunc) {
	ctx := withActor(a.root, a.number)
	if q != nil {
		ctx = acquiring(ctx)
	}
	switch limit := a.upTo(2 * ttl); {
	case !a.chance(a.habits.impatient):
		return ctx, func() {}
	case q != nil && a.chance(20):
		q.opts.MaxWait = time.Until(a.in(limit))
		return ctx, func() {}
	default:
		return context.WithDeadline(ctx, a.in(limit))
	}
}

// begin records that the actor asks.
func (a *actor) begin(s *site, q ask) *pending {
	a.note("asks: "+q.String(), 0)
	p := &pending{site: s, ask: q, asked: a.w.rec.Stamp(), call: s.h.Begin(a.number, q.op())}
	a.w.begin(a.number, p)
	return p
}

func (a *actor) acquire(s *site) {
	q := a.ask(s)
	ctx, cancel := a.patience(&q)
	p := a.begin(s, q)
	g, err := a.w.product.acquire(ctx, a.client.s, q)
	a.w.end(a.number)
	cancelled := ctx.Err() != nil
	cancel() // which must not touch the grant
	switch {
	case a.client.crashed.Load():
	case err != nil:
		a.refused(p, cancelled, err)
	default:
		h := a.granted(p, g)
		if h = a.use(h); h != nil {
			a.release(h)
		}
	}
}

// refused records that an acquisition failed.
func (a *actor) refused(p *pending, cancelled bool, err error) {
	if !errors.Is(err, session.ErrClosed) {
		a.note("is refused"+outcome(err), 0)
	}
	switch {
	case p.ask.try && errors.Is(err, session.ErrHeld), p.site.kind == semaphores && p.site.resized.Load() && errors.Is(err, session.ErrLimit):
		p.call.Failed()
		return
	case isBroken(err):
	case cancelled, p.ask.opts.MaxWait > 0 && errors.Is(err, context.DeadlineExceeded):
	case a.client.closing.Load() && errors.Is(err, session.ErrClosed):
	default:
		a.w.fail("actor %d is refused %v: %v", a.number, p.ask, err)
	}
	p.call.Unknown()
}

// isBroken tells whether somebody broke a wait.
func isBroken(err error) bool {
	_, ok := errors.AsType[*session.Broken](err)
	return ok
}

func (a *actor) granted(p *pending, g *session.Grant) *hold {
	a.note("holds", g.Token())
	p.call.Granted(g.Token())
	h := &hold{site: p.site, client: a.client.number, actor: a.number, grant: g, token: g.Token(),
		shared: p.ask.shared, weight: p.ask.weight}
	a.w.granted(h)
	return h
}

// use does something with what is held. It returns nil if there is nothing to
// release any more.
func (a *actor) use(h *hold) *hold {
	lock := h.site.kind != semaphores
	if lock && !h.shared && a.chance(a.habits.write) {
		a.write(h)
	}
	if h.site.kind == elections && a.chance(40) {
		a.proclaim(h)
	}
	a.wait(h)
	if h.site.kind == rwmutexes && !h.shared && a.chance(a.habits.downgrade) && !a.client.crashed.Load() {
		if h = a.downgrade(h); h == nil {
			return nil
		}
		a.wait(h)
	}
	if lock && !h.shared && a.chance(a.habits.write) {
		a.write(h) // perhaps of one who has not noticed its loss
	}
	if a.client.crashed.Load() {
		return nil
	}
	return h
}

// wait holds for a while, or until the hold is lost.
func (a *actor) wait(h *hold) {
	d := a.upTo(300 * time.Millisecond)
	switch calm := !time.Now().Before(a.wt.calm); {
	case calm && a.chance(a.habits.hog):
		d = 2*ttl + a.upTo(ttl) // whoever else has its turn must not have to wait for this
	case !calm && a.chance(a.habits.long):
		d = ttl/2 + time.Duration(a.rand.Int64N(int64(3*ttl)))
	}
	sleepUntil(h.grant.Context(), a.in(d))
	a.notice(h)
}

// notice looks whether a hold is lost.
func (a *actor) notice(h *hold) {
	if a.client.crashed.Load() || h.grant.Context().Err() == nil {
		return
	}
	a.note("notices: "+context.Cause(h.grant.Context()).Error(), h.token)
	a.w.lost(h)
}

func (a *actor) release(h *hold) {
	ctx, cancel := a.patience(nil)
	defer cancel()
	a.notice(h)
	a.w.ended(h)
	a.note("releases", h.token)
	call := h.site.h.Begin(a.number, history.Release(h.token))
	err := h.grant.Release(ctx)
	if a.client.crashed.Load() {
		return
	}
	a.note("has released"+outcome(err), h.token)
	a.over(h, call, ctx.Err() != nil, err)
}

// over ends the call that gave a hold back.
func (a *actor) over(h *hold, call *history.Call, cancelled bool, err error) {
	switch {
	case err == nil:
		call.Done()
	case errors.Is(err, session.ErrLost) && h.lost:
		call.Failed()
	case errors.Is(err, session.ErrLost), cancelled, errors.Is(err, session.ErrClosed) && a.client.closing.Load():
		call.Unknown()
	default:
		a.w.fail("actor %d cannot release token %d of %q: %v", a.number, h.token, h.site.name, err)
		call.Unknown()
	}
}

// do is acquire with a function that runs under the grant.
func (a *actor) do(s *site) {
	q := a.ask(s)
	q.try = false
	ctx, cancel := a.patience(&q)
	defer cancel()
	p := a.begin(s, q)
	var h *hold
	var release *history.Call
	err := a.w.product.do(ctx, a.client.s, q, func(inner context.Context) error {
		g, _ := session.GrantFrom(inner)
		if a.client.crashed.Load() {
			return nil
		}
		h = a.granted(p, g)
		release = a.under(inner, h)
		return nil
	})
	a.finish(p, h, release, ctx.Err() != nil, err)
}

// under is what runs under a hold. It returns the call that gives it back, which
// happens when the function has returned.
func (a *actor) under(ctx context.Context, h *hold) *history.Call {
	if !h.shared && h.site.kind != semaphores && a.chance(a.habits.write) {
		a.write(h)
	}
	if !sleepUntil(ctx, a.in(a.upTo(300*time.Millisecond))) {
		// It takes a moment to stop. Meanwhile everybody hears of the end: that of
		// ctx and that of the context it was made from come in no certain order.
		a.notice(h)
		sleepUntil(a.root, a.in(time.Millisecond))
	}
	if a.client.crashed.Load() {
		return nil
	}
	a.notice(h)
	a.w.ended(h)
	a.note("is done", h.token)
	return h.site.h.Begin(a.number, history.Release(h.token))
}

// finish records the end of a call that acquired, ran a function and released.
func (a *actor) finish(p *pending, h *hold, release *history.Call, cancelled bool, err error) {
	a.w.end(a.number)
	if a.client.crashed.Load() {
		return
	}
	if h == nil {
		a.refused(p, cancelled, err)
		return
	}
	a.note("has done"+outcome(err), h.token)
	if err == nil {
		// It ran to its end. Whether the release did too, only Release tells.
		err = h.grant.Release(withActor(a.root, a.number))
		if a.client.crashed.Load() {
			return
		}
		a.note("has released"+outcome(err), h.token)
	}
	a.over(h, release, cancelled, err)
}

// lead campaigns and leads until it has had enough, and again if it lost its term.
func (a *actor) lead(s *site) {
	q := a.ask(s)
	ctx, cancel := a.patience(&q)
	defer cancel()
	p := a.begin(s, q)
	var h *hold
	var release *history.Call
	err := election.NewWith(a.client.s, s.name, q.opts).Run(ctx, q.value, func(inner context.Context) error {
		if a.client.crashed.Load() {
			return nil
		}
		if h != nil {
			a.over(h, release, false, session.ErrLost)
		}
		t, _ := election.TermFrom(inner)
		h = a.granted(p, t.Grant)
		release = a.under(inner, h)
		// If the term is lost before Run has resigned, it campaigns again.
		p = a.begin(s, q)
		return nil
	})
	if h != nil && errors.Is(context.Cause(h.grant.Context()), session.ErrLost) && !a.client.crashed.Load() {
		a.over(h, release, false, session.ErrLost)
		h = nil
	}
	a.finish(p, h, release, ctx.Err() != nil, err)
}

func (a *actor) look(s *site) {
	ctx, cancel := a.patience(nil)
	defer cancel()
	call := s.h.Begin(a.number, history.Leader())
	l, err := election.New(a.client.s, s.name).Leader(ctx)
	switch {
	case a.client.crashed.Load():
	case err == nil:
		a.note("sees "+l.Value, l.Token)
		call.Saw(l.Value, l.Token)
	case errors.Is(err, session.ErrNoLeader):
		a.note("sees nobody", 0)
		call.Saw("", 0)
	default:
		call.Unknown()
		a.unexpected("looks for a leader", ctx, err)
	}
}

// unexpected complains of an error that nothing in the schedule accounts for.
func (a *actor) unexpected(what string, ctx context.Context, err error) {
	a.note(what+outcome(err), 0)
	if ctx.Err() == nil && !a.client.closing.Load() {
		a.w.fail("actor %d %s: %v", a.number, what, err)
	}
}

func (a *actor) proclaim(h *hold) {
	value := a.proposal(h.site)
	ctx, cancel := a.patience(nil)
	defer cancel()
	call := h.site.h.Begin(a.number, history.Proclaim(h.token, value))
	a.note("proclaims "+value, h.token)
	err := (&election.Term{Grant: h.grant}).Proclaim(ctx, value)
	switch {
	case a.client.crashed.Load():
	case err == nil:
		a.note("has proclaimed", h.token)
		call.Done()
	default:
		call.Unknown()
		if !errors.Is(err, session.ErrLost) {
			a.unexpected("proclaims", ctx, err)
		}
	}
}

func (a *actor) resize(s *site) {
	limit := 1 + a.rand.Int64N(3)
	s.resized.Store(true)
	s.mu.Lock()
	from := s.limit
	s.mu.Unlock()
	ctx, cancel := a.patience(nil)
	defer cancel()
	r := &resizing{site: s, limit: limit}
	a.w.mu.Lock()
	a.w.resizes[a.number] = r
	a.w.mu.Unlock()
	call := s.h.Begin(a.number, history.Resize(limit))
	a.note("resizes "+s.name, uint64(limit))
	err := a.w.product.setLimit(ctx, a.client.s, s.name, from, limit)
	if a.client.crashed.Load() {
		return
	}
	a.w.mu.Lock()
	applied := r.applied
	a.w.mu.Unlock()
	if err != nil || applied > 0 {
		call.Failed() // what it has changed is recorded already
	} else {
		call.Done() // there was nothing to change
	}
	if err != nil {
		a.unexpected("resizes", ctx, err)
		return
	}
	a.note("has resized "+s.name, uint64(limit))
	s.mu.Lock()
	s.limit = limit
	s.mu.Unlock()
}

// downgrade returns the reader's hold, or nil.
func (a *actor) downgrade(h *hold) *hold {
	a.notice(h)
	if h.ended {
		return h // lost
	}
	ctx, cancel := a.patience(nil)
	defer cancel()
	began := a.w.changing(h)
	a.note("downgrades", h.token)
	call := h.site.h.Begin(a.number, history.Downgrade(h.token))
	g, err := a.w.product.downgraded(ctx, a.client.s, h.site.name, h.grant)
	switch {
	case a.client.crashed.Load():
		return nil
	case err == nil:
		a.note("has downgraded", h.token)
		call.Granted(g.Token())
		reader := &hold{site: h.site, client: h.client, actor: h.actor, grant: g, token: g.Token(), shared: true}
		a.w.granted(reader)
		return reader
	}
	// Nothing was held any more from the beginning on, whenever it turned out.
	call.Unknown()
	a.w.lostSince(h, began)
	if !errors.Is(err, session.ErrLost) {
		a.unexpected("downgrades", ctx, err)
	}
	return nil
}

// write writes to what the lock guards.
func (a *actor) write(h *hold) {
	call := h.site.h.Begin(a.number, history.Write(h.token))
	sleepUntil(a.root, a.in(a.upTo(50*time.Millisecond)))
	if a.client.crashed.Load() {
		return
	}
	s := h.site
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.token < s.register {
		a.note("writes too late", h.token)
		call.Refused()
		return
	}
	s.register = h.token
	a.note("writes", h.token)
	call.Done()
}
