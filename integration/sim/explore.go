package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// exploreTTL is long: no lease runs out while the clients take their steps.
const exploreTTL = 30 * time.Second

// pauses is longer than the first pauses of a session, and shorter than what it takes
// to obtain another lease.
const pauses = 100 * time.Millisecond

// A trouble is what may happen once in a schedule, at any step.
type trouble int

const (
	noTrouble  trouble = iota
	lostReply          // a call takes effect, and its reply is lost
	lateCall           // a call fails, and takes effect at any later time
	endedLease         // the store ends the lease of a client that is in the queue
)

func (t trouble) String() string {
	return [...]string{"no trouble", "one lost reply", "one late call", "one lease ended by the store"}[t]
}

// A scene is what the clients do: one script each.
type scene struct {
	name    string
	kind    kind
	limit   int64
	scripts []script
	large   bool // there are too many schedules to play all of them, each with every trouble
}

// A script is what one client does, step by step. Clients whose scripts have one
// name can be exchanged for one another.
type script struct {
	name string
	play func(*player)
}

// An explorer runs a scene in every order of the store calls of its clients.
type explorer struct {
	w       *world
	scene   scene
	trouble trouble
	clients []*session.Session

	mu      sync.Mutex
	parked  []*parked
	inside  []tag // calls that have gone, and not returned
	playing []bool
	started []bool        // clients whose first entry was asked for
	spent   bool          // the trouble has happened
	rest    time.Duration // for which everybody has the time to pause
}

// A parked call waits until it is its turn to go.
type parked struct {
	tag   tag
	op    drivertest.Op
	late  bool // nobody waits for it any more
	going chan trouble
}

func (p *parked) String() string { return event{tag: p.tag, what: string(p.op)}.String() }

// opHold is no call: a holder goes on to release when it may.
const opHold drivertest.Op = "hold"

// parks tells which calls wait: those about the queue. The others, which keep a
// lease alive and look whether it is, go at once.
func parks(op drivertest.Op) bool {
	switch op {
	case drivertest.OpJoin, drivertest.OpResolve, drivertest.OpWithdraw, drivertest.OpWait, drivertest.OpLook,
		drivertest.OpUpdate, drivertest.OpLeave, drivertest.OpRead, drivertest.OpSetLimit:
		return true
	}
	return false
}

func newExplorer(p *product, sc scene, t trouble) (*explorer, error) {
	x := &explorer{w: newWorld(p), scene: sc, trouble: t}
	x.w.strict = true
	for i := range sc.scripts {
		s, err := session.New(context.Background(), p.connect(x.w, x.hook, i+1),
			&session.Options{TTL: exploreTTL, Identity: identity(i + 1), Logger: quiet})
		if err != nil {
			return nil, err
		}
		x.clients = append(x.clients, s)
	}
	return x, nil
}

func (x *explorer) close() {
	for _, s := range x.clients {
		_ = s.Close(context.Background())
	}
}

// hook is what stands around each call.
func (x *explorer) hook(ctx context.Context, t tag, op drivertest.Op, call func(context.Context) error) error {
	switch {
	case op == drivertest.OpEntries:
		// An audit would come at another step each time the schedule is repeated.
		return errRequestLost
	case !parks(op):
		return call(ctx)
	}
	fate, going := x.park(ctx, &parked{tag: t, op: op})
	switch {
	case !going:
		return ctx.Err()
	case fate == lateCall:
		x.w.journal.add(t, string(op)+": late", 0)
		x.arrived(t)
		go func() {
			ctx := context.WithoutCancel(ctx)
			x.park(ctx, &parked{tag: t, op: op, late: true})
			err := call(ctx)
			x.w.journal.add(t, string(op)+": late call arrives"+outcome(err), 0)
			x.arrived(t)
		}()
		return errRequestLate
	}
	err := call(ctx)
	x.w.journal.add(t, string(op)+outcome(err), 0)
	x.arrived(t)
	if fate == lostReply {
		x.w.journal.add(t, string(op)+": reply lost", 0)
		return errReplyLost
	}
	return err
}

// arrived records that a call is not under way any more.
func (x *explorer) arrived(t tag) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := slices.Index(x.inside, t)
	x.inside = slices.Delete(x.inside, i, i+1)
}

// park waits until the explorer lets the call go, and tells what happens to it. It
// returns false when ctx ends before.
func (x *explorer) park(ctx context.Context, p *parked) (trouble, bool) {
	p.going = make(chan trouble, 1)
	x.mu.Lock()
	x.parked = append(x.parked, p)
	x.mu.Unlock()
	select {
	case fate := <-p.going:
		return fate, true
	case <-ctx.Done():
		x.mu.Lock()
		defer x.mu.Unlock()
		x.parked = slices.DeleteFunc(x.parked, func(q *parked) bool { return q == p })
		return noTrouble, false
	}
}

// release lets a parked call go.
func (x *explorer) release(p *parked, fate trouble) {
	x.mu.Lock()
	x.parked = slices.DeleteFunc(x.parked, func(q *parked) bool { return q == p })
	if p.op != opHold {
		x.inside = append(x.inside, p.tag)
	}
	if p.op == drivertest.OpJoin {
		x.started[p.tag.client-1] = true
	}
	x.mu.Unlock()
	p.going <- fate
}

// A choice is something that can happen next.
type choice struct {
	call   *parked
	fate   trouble
	expire int // the client whose lease ends; 0: none
}

// choices returns what can happen next, in an order that is the same in each run.
func (x *explorer) choices() []choice {
	x.mu.Lock()
	defer x.mu.Unlock()
	slices.SortFunc(x.parked, func(a, b *parked) int {
		return cmp.Or(cmp.Compare(a.tag.client, b.tag.client), cmp.Compare(a.tag.actor, b.tag.actor),
			cmp.Compare(a.op, b.op), cmp.Compare(a.tag.entry, b.tag.entry), compareBools(a.late, b.late))
	})
	var cs []choice
	for _, p := range x.parked {
		if x.first(p) {
			cs = append(cs, choice{call: p})
		}
	}
	if x.spent {
		return cs
	}
	switch plain := len(cs); x.trouble {
	case lostReply, lateCall:
		for _, c := range cs[:plain] {
			if c.call.op != opHold {
				cs = append(cs, choice{call: c.call, fate: x.trouble})
			}
		}
	case endedLease:
		q, _ := x.w.eye.Read(context.Background(), x.scene.name, 0)
		for i := range x.clients {
			for _, e := range q.Entries {
				if e.Identity == identity(i+1) {
					cs = append(cs, choice{expire: i + 1})
					break
				}
			}
		}
	}
	return cs
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// first tells whether a call may go, where clients can be exchanged: of those that
// have not asked for anything yet, the first has to. x.mu is held.
func (x *explorer) first(p *parked) bool {
	i := p.tag.client - 1
	if x.started[i] || p.op != drivertest.OpJoin {
		return true
	}
	for k := range i {
		if !x.started[k] && x.scene.scripts[k].name == x.scene.scripts[i].name {
			return false
		}
	}
	return true
}

// run plays the scene once. It follows the prefix, and takes the first choice from
// then on. It returns the choices that were taken, and how many there were.
func (x *explorer) run(prefix []int) (taken, options []int, err error) {
	x.begin()
	for steps := 0; ; steps++ {
		finished := x.settle()
		if x.w.failure() != nil {
			break
		}
		if finished {
			x.ends()
			break
		}
		cs := x.choices()
		if len(cs) == 0 || steps > 1000 {
			x.w.fail("stuck: nobody can go on")
			break
		}
		k := 0
		if len(taken) < len(prefix) {
			k = prefix[len(taken)]
		}
		if k >= len(cs) {
			x.w.fail("the schedule cannot be repeated: choice %d of %d at step %d", k, len(cs), len(taken))
			break
		}
		taken, options = append(taken, k), append(options, len(cs))
		x.take(cs[k])
	}
	return taken, options, x.w.failure()
}

func (x *explorer) begin() {
	x.w.reset()
	site := x.w.newSite(x.scene.name, x.scene.kind, x.scene.limit)
	x.mu.Lock()
	x.started, x.spent, x.rest = make([]bool, len(x.clients)), false, 0
	x.playing = slices.Repeat([]bool{true}, len(x.clients))
	x.mu.Unlock()
	for i, s := range x.scene.scripts {
		p := &player{x: x, site: site, number: i + 1, s: x.clients[i], ctx: withActor(context.Background(), i+1)}
		go func() {
			s.play(p)
			x.mu.Lock()
			defer x.mu.Unlock()
			x.playing[i] = false
		}()
	}
}

func (x *explorer) take(c choice) {
	switch {
	case c.expire > 0:
		x.spent, x.rest = true, time.Second
		x.w.journal.add(tag{client: c.expire}, "EXPIRES", 0)
		x.w.force(c.expire, x.w.rec.Stamp())
		x.w.st.Expire(x.clients[c.expire-1])
	default:
		if c.fate != noTrouble {
			x.spent, x.rest = true, pauses
		}
		x.release(c.call, c.fate)
	}
}

// settle waits until everybody who has not finished is waiting, for its turn or to
// go. It returns true when all have finished.
//
// It also looks for turns that have come and are not noticed, as soon as nothing is
// under way that could tell: when there is nobody but holders who hold.
func (x *explorer) settle() bool {
	for waited := time.Duration(0); x.w.failure() == nil; {
		synctest.Wait()
		x.mu.Lock()
		finished := !slices.Contains(x.playing, true) && len(x.parked) == 0 && len(x.inside) == 0
		idle := x.allAccounted()
		quiet := !slices.ContainsFunc(x.parked, func(p *parked) bool { return p.op != opHold })
		stuck := len(x.parked) == 0
		step := x.rest
		x.rest = 0
		x.mu.Unlock()
		switch {
		case step > 0:
		case finished:
			return true
		case idle && quiet && len(x.w.due(x.w.sites[0])) > 0:
			step = time.Second
		case idle && !stuck:
			return false
		case idle:
			step = time.Second
		default:
			step = pauses
		}
		if waited > 2*exploreTTL {
			x.w.fail("lost wake-up: after %v somebody whose turn has come does not know, or nobody can go on: %v", waited, x.w.due(x.w.sites[0]))
			return false
		}
		time.Sleep(step)
		waited += step
	}
	return false
}

// allAccounted tells whether every client that plays has a call parked or under way.
// Otherwise it pauses. x.mu is held.
func (x *explorer) allAccounted() bool {
	var seen [8]bool
	count := func(t tag, op drivertest.Op) {
		switch {
		case op == drivertest.OpUpdate && x.scene.kind == semaphores: // in the background
		case t.actor > 0:
			seen[t.actor] = true
		case t.entry > 0:
			seen[actorOf(t.entry)] = true
		}
	}
	for _, p := range x.parked {
		if !p.late {
			count(p.tag, p.op)
		}
	}
	for _, t := range x.inside {
		count(t, "")
	}
	for i, playing := range x.playing {
		if playing && !seen[i+1] {
			return false
		}
	}
	return true
}

// ends looks at what is left.
func (x *explorer) ends() {
	if queues, err := x.w.eye.List(context.Background(), ""); err != nil || len(queues) > 0 {
		x.w.fail("left behind: %v %v", queues, err)
	}
}

// An exploration is the outcome of all schedules of a scene.
type exploration struct {
	schedules, steps int
	complete         bool
	err              error
	choices          []int // of the schedule that failed
	journal          []event
}

// explore runs schedules until all have been run, one fails, or max is reached. It
// runs in a bubble.
func explore(p *product, sc scene, t trouble, max int, prefix []int) (e exploration, next []int) {
	x, err := newExplorer(p, sc, t)
	if err != nil {
		return exploration{err: err}, nil
	}
	defer x.close()
	for e.schedules < max {
		taken, options, err := x.run(prefix)
		e.schedules++
		e.steps += len(taken)
		if err != nil {
			e.err, e.choices, e.journal = err, taken, x.w.journal.sorted()
			return e, nil
		}
		i := len(taken) - 1
		for i >= 0 && taken[i]+1 >= options[i] {
			i--
		}
		if i < 0 {
			e.complete = true
			return e, nil
		}
		prefix = append(slices.Clone(taken[:i]), taken[i]+1)
	}
	return e, prefix
}

// A player plays a script.
type player struct {
	x      *explorer
	site   *site
	number int
	s      *session.Session
	ctx    context.Context
}

// acquire returns nil where it is refused, which it may be only if it does not queue,
// or if somebody changes the limit.
func (p *player) acquire(a ask) *hold {
	a.kind, a.name = p.site.kind, p.site.name
	if a.kind == semaphores && a.limit == 0 {
		a.limit = p.site.limit
	}
	if a.kind == elections {
		a.value = identity(p.number)
	}
	g, err := p.x.w.product.acquire(p.ctx, p.s, a)
	switch {
	case err == nil:
		p.note("holds", g.Token())
		h := &hold{site: p.site, client: p.number, actor: p.number, grant: g, token: g.Token(), shared: a.shared, weight: a.weight}
		p.x.w.granted(h)
		return h
	case a.try && errors.Is(err, session.ErrHeld), p.site.resized.Load() && errors.Is(err, session.ErrLimit):
		p.note("is refused"+outcome(err), 0)
		return nil
	}
	p.x.w.fail("client %d cannot acquire: %v", p.number, err)
	return nil
}

func (p *player) note(what string, n uint64) {
	p.x.w.journal.add(tag{client: p.number, actor: p.number}, what, n)
}

// forced tells whether the lease of a hold was ended.
func (p *player) forced(h *hold) bool {
	p.x.w.mu.Lock()
	defer p.x.w.mu.Unlock()
	_, forced := p.x.w.forced[h.token]
	return forced
}

func (p *player) release(h *hold) {
	if h == nil {
		return
	}
	p.x.park(h.grant.Context(), &parked{tag: tag{client: p.number, actor: p.number}, op: opHold})
	err := h.grant.Release(p.ctx)
	p.note("has released"+outcome(err), h.token)
	if err != nil && !(p.forced(h) && errors.Is(err, session.ErrLost)) {
		p.x.w.fail("client %d cannot release: %v", p.number, err)
	}
}

func (p *player) downgrade(h *hold) *hold {
	if h == nil {
		return nil
	}
	p.x.w.changing(h)
	g, err := p.x.w.product.downgraded(p.ctx, p.s, p.site.name, h.grant)
	if err != nil {
		if !(p.forced(h) && errors.Is(err, session.ErrLost)) {
			p.x.w.fail("client %d cannot downgrade: %v", p.number, err)
		}
		return nil
	}
	p.note("has downgraded", g.Token())
	r := &hold{site: p.site, client: p.number, actor: p.number, grant: g, token: g.Token(), shared: true}
	p.x.w.granted(r)
	return r
}

func (p *player) resize(to int64) {
	p.site.resized.Store(true)
	err := p.x.w.product.setLimit(p.ctx, p.s, p.site.name, p.site.limit, to)
	p.note(fmt.Sprint("has resized"+outcome(err)), uint64(to))
	if err != nil {
		p.x.w.fail("client %d cannot resize: %v", p.number, err)
	}
}
