package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// What a call fails with when the weather is bad. No driver fails so, and nobody
// may take it for an answer of the store.
var (
	errRequestLost = errors.New("simulated: the request was lost")
	errReplyLost   = errors.New("simulated: the reply was lost")
	errRequestLate = errors.New("simulated: the request is late")
)

// A climate says how likely, in a thousand calls, trouble is, and how long things
// take.
type climate struct {
	lost, unanswered, late, stalled int // chances in 1000
	hop                             time.Duration
	slow                            time.Duration // by which answers to renewals are late, all of them
}

// A weather is what happens to the calls of all clients on their way to the store
// and back. Everything it does to a call is drawn from a source of randomness of
// the lane that the call is on.
type weather struct {
	w       *world
	seed    uint64
	climate climate
	calm    time.Time       // nothing bad happens from then on
	storm   context.Context // ends when the schedule does: late requests end with it
	late    sync.WaitGroup

	mu    sync.Mutex
	lanes map[lane]*traffic
	cuts  map[int]chan struct{} // by client: closed when it is healed
}

// turn changes the climate, until the calm.
func (wt *weather) turn(c climate, calm time.Time) {
	wt.mu.Lock()
	defer wt.mu.Unlock()
	wt.climate, wt.calm = c, calm
}

// A lane is a sequence of calls of which each is made when the one before has
// returned, or a fixed time later. Calls on one lane come in the same order in
// each run.
type lane struct {
	client int
	class  class
	number int // of the actor, the lease or the entry
}

type class int

const (
	acting   class = iota // of an actor, beside its calls
	asking                // of an actor
	blaming               // of an actor whose wait was in vain
	removing              // of an entry
	updating              // of an entry
	leasing
	renewing
	revoking
	watching
	auditing
)

// traffic is the state of a lane.
type traffic struct {
	pcg      *rand.PCG // of the present call
	rand     *rand.Rand
	seed     uint64
	bits     int64     // of each moment at which something happens on this lane
	sent     uint64    // calls that were sent
	failures int       // since the actor's call began
	last     time.Time // when a call that was sent returned
}

// grain is what all moments are multiples of, but for some bits that are the lane's or
// the call's own. So no two of them meet, or hardly ever.
const grain = 1 << 14

func laneOf(ctx context.Context, t tag, op drivertest.Op) lane {
	switch op {
	case drivertest.OpLeave, drivertest.OpWithdraw:
		return lane{t.client, removing, t.entry}
	case drivertest.OpUpdate:
		return lane{t.client, updating, t.entry}
	case drivertest.OpGrant:
		return lane{t.client, leasing, 0}
	case drivertest.OpRenew:
		return lane{t.client, renewing, t.lease}
	case drivertest.OpRevoke:
		return lane{t.client, revoking, t.lease}
	case drivertest.OpWatchLease, drivertest.OpMarked:
		return lane{t.client, watching, t.lease}
	case drivertest.OpEntries:
		return lane{t.client, auditing, t.lease}
	}
	switch {
	case t.actor == 0:
		return lane{t.client, auditing, t.lease}
	case acquires(ctx) && (op == drivertest.OpRead || op == drivertest.OpIdentify):
		return lane{t.client, blaming, t.actor}
	}
	return lane{t.client, asking, t.actor}
}

// mix makes a number of a lane, the same in each process.
func (l lane) mix(seed uint64) uint64 {
	x := seed
	for _, v := range [...]int{l.client, int(l.class), l.number} {
		x = (x ^ uint64(v)) * 0x9e3779b97f4a7c15
		x ^= x >> 29
	}
	return x
}

// traffic returns the lane's state. wt.mu is held.
func (wt *weather) traffic(l lane) *traffic {
	tr := wt.lanes[l]
	if tr == nil {
		if wt.lanes == nil {
			wt.lanes = map[lane]*traffic{}
		}
		x := l.mix(wt.seed)
		pcg := rand.NewPCG(wt.seed, x)
		tr = &traffic{pcg: pcg, rand: rand.New(pcg), seed: x, bits: int64(x>>17) & (grain - 1)}
		wt.lanes[l] = tr
	}
	return tr
}

// moment returns the lane's next moment that is not before t.
func (tr *traffic) moment(t time.Time) time.Time { return moment(t, tr.bits) }

func moment(t time.Time, bits int64) time.Time {
	n := t.UnixNano()
	at := n&^(grain-1) | bits
	if at <= n {
		at += grain
	}
	return time.Unix(0, at)
}

// A fate is what happens to a call.
type fate int

const (
	fine        fate = iota
	lost             // it does not reach the store
	unanswered       // its reply is lost
	late             // the caller gives up, and it reaches the store later
	stalledHere      // it is on its way for longer than a lease lives
	stalledBack      // its reply is
)

// A passage is what will happen to one call.
type passage struct {
	fate fate
	send time.Time     // when it reaches the store
	back time.Duration // what the reply takes
	late time.Duration // what a late request takes
	over time.Time     // when the reply arrives at the latest, if the weather is bad
	bits int64         // of its moments
}

// plan decides what happens to a call.
//
// A session pauses before it tries again, for a time that is random, and not ours to
// choose. Whatever it was, the call is sent at the moment at which the longest
// pause would be over. And what is drawn depends on how many calls were sent before,
// so that it makes no difference whether the pause, or what follows, was cut short.
func (wt *weather) plan(l lane, op drivertest.Op) passage {
	wt.mu.Lock()
	defer wt.mu.Unlock()
	tr := wt.traffic(l)
	tr.pcg.Seed(tr.seed, tr.sent)
	if l.class == renewing || l.class == auditing {
		tr.sent++ // no pauses here, and one call may overtake another
	}
	start := time.Now()
	if tr.failures > 0 {
		start = later(start, tr.last.Add(longestPause(tr.failures)))
	}
	hop, calm := wt.climate.hop, !start.Before(wt.calm)
	if calm {
		hop = min(hop, calmHop)
	}
	p := passage{fate: wt.draw(tr, op), send: start.Add(tr.draw(hop)), back: tr.draw(hop), late: tr.draw(4 * ttl),
		over: wt.calm.Add(tr.draw(calmHop))}
	p.bits = tr.rand.Int64N(grain)
	stall := ttl + tr.draw(2*ttl)
	switch {
	case calm:
		p.fate = fine
	case p.fate == stalledHere:
		p.send = earlier(p.send.Add(stall), later(p.over, p.send))
	case p.fate == stalledBack:
		p.back = stall
	case op == drivertest.OpRenew:
		p.back += wt.climate.slow
	}
	p.send = moment(p.send, p.bits)
	return p
}

// sent records that a call is on its way.
func (wt *weather) sent(l lane) {
	wt.mu.Lock()
	defer wt.mu.Unlock()
	if l.class != renewing && l.class != auditing {
		wt.traffic(l).sent++
	}
}

// after returns a moment of the call's own, d from now, but before the weather is good.
func (p passage) after(d time.Duration) time.Time {
	now := time.Now()
	return moment(earlier(now.Add(d), later(p.over, now)), p.bits)
}

// draw decides between fine and the rest.
func (wt *weather) draw(tr *traffic, op drivertest.Op) fate {
	c := wt.climate
	x := tr.rand.IntN(1000)
	switch {
	case op == drivertest.OpRenew:
		// A renewal that fails is made again after a random pause, and all that
		// follow are then at random moments. Late ones tell the same story.
		switch {
		case x < c.stalled*2:
			return stalledHere
		case x < c.stalled*10:
			return stalledBack
		}
		return fine
	case op == drivertest.OpWatchLease:
		if x < 100 {
			return stalledBack
		}
		return fine
	case x < c.lost:
		return lost
	case x < c.lost+c.unanswered:
		return unanswered
	case x < c.lost+c.unanswered+c.late:
		if op == drivertest.OpUpdate {
			// That an overtaken update has no effect is for a driver to see to.
			// The memory store has none that could be overtaken.
			return lost
		}
		return late
	case x < c.lost+c.unanswered+c.late+c.stalled:
		return stalledHere
	case x < c.lost+c.unanswered+c.late+2*c.stalled:
		return stalledBack
	}
	return fine
}

// draw returns a duration up to d, mostly a short one.
func (tr *traffic) draw(d time.Duration) time.Duration {
	if tr.rand.IntN(4) > 0 {
		d /= 8
	}
	return 1 + time.Duration(tr.rand.Int64N(int64(d)))
}

// longestPause returns the longest that a session pauses after its n-th failure in a
// row.
func longestPause(n int) time.Duration {
	d := 25 * time.Millisecond
	for range min(n-1, 12) {
		d += d / 2
	}
	return min(d, 2*time.Second) * 3 / 2
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// hook is what stands around each call.
func (wt *weather) hook(ctx context.Context, t tag, op drivertest.Op, call func(context.Context) error) error {
	unsent := op == drivertest.OpWithdraw && !wt.w.entries.sent(t.entry)
	if unsent || t.actor == 0 && op == drivertest.OpLook {
		// What was never asked for is withdrawn only if a pause before the asking was
		// cut short too late. And an audit looks after the session's entries one
		// by one, in the order of a map. To be the same in each run, neither
		// takes time.
		err := call(ctx)
		if !unsent {
			wt.w.journal.add(t, string(op)+outcome(err), 0)
		}
		return err
	}
	l := laneOf(ctx, t, op)
	p := wt.plan(l, op)
	if op == drivertest.OpWatchLease {
		defer wt.leaseLost(t.client)
	}
	if !sleepUntil(ctx, p.send) {
		return ctx.Err()
	}
	for cut := wt.cutOff(t.client); cut != nil; cut = wt.cutOff(t.client) {
		// Here, and not in the store, where all that wait would go on at once.
		select {
		case <-cut:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !sleepUntil(ctx, p.after(p.back)) {
			return ctx.Err()
		}
	}
	wt.sent(l)
	if op == drivertest.OpJoin {
		wt.w.entries.send(t.entry)
	}
	err := wt.carry(ctx, t, string(op), p, call)
	wt.returned(l, err)
	return err
}

// leaseLost is told that a session has given its lease up. Whoever waits or asks
// pauses, and goes on under another lease.
func (wt *weather) leaseLost(client int) {
	wt.mu.Lock()
	defer wt.mu.Unlock()
	for l, tr := range wt.lanes {
		if l.client == client && (l.class == asking || l.class == leasing) {
			tr.failures++
			tr.last = time.Now()
		}
	}
}

// cut cuts a client off, and heal ends that.
func (wt *weather) cut(c *client) {
	wt.w.journal.add(tag{client: c.number}, "IS CUT OFF", 0)
	wt.mu.Lock()
	defer wt.mu.Unlock()
	if wt.cuts == nil {
		wt.cuts = map[int]chan struct{}{}
	}
	if wt.cuts[c.number] == nil {
		wt.cuts[c.number] = make(chan struct{})
	}
	wt.w.st.Cut(c.s)
}

func (wt *weather) heal(c *client) {
	wt.w.journal.add(tag{client: c.number}, "IS HEALED", 0)
	wt.mu.Lock()
	defer wt.mu.Unlock()
	wt.w.st.Heal(c.s)
	if cut := wt.cuts[c.number]; cut != nil {
		close(cut)
		delete(wt.cuts, c.number)
	}
}

func (wt *weather) cutOff(client int) chan struct{} {
	wt.mu.Lock()
	defer wt.mu.Unlock()
	return wt.cuts[client]
}

// returned records how a call ended.
func (wt *weather) returned(l lane, err error) {
	wt.mu.Lock()
	defer wt.mu.Unlock()
	tr := wt.traffic(l)
	tr.last = time.Now()
	switch {
	case l.class == blaming: // this is not tried again
	case err != nil, l.class == leasing: // a lease may come too late to be of use
		tr.failures++
	case l.class != asking: // within one call of an actor, pauses go on growing
		tr.failures = 0
	}
}

// carry takes a call to the store and back.
func (wt *weather) carry(ctx context.Context, t tag, op string, p passage, call func(context.Context) error) error {
	switch p.fate {
	case lost:
		wt.w.journal.add(t, op+": request lost", 0)
		return errRequestLost
	case late:
		wt.w.journal.add(t, op+": request late", 0)
		wt.postpone(t, op, p.after(p.late), call)
		return errRequestLate
	}
	err := wt.arrive(ctx, t, op, op, call)
	if !sleepUntil(ctx, p.after(p.back)) {
		return ctx.Err()
	}
	if p.fate == unanswered {
		wt.w.journal.add(t, op+": reply lost", 0)
		return errReplyLost
	}
	return err
}

// postpone has a request reach the store when nobody waits for it any more.
func (wt *weather) postpone(t tag, op string, at time.Time, call func(context.Context) error) {
	wt.late.Go(func() {
		if !sleepUntil(wt.storm, at) {
			return
		}
		_ = wt.arrive(wt.storm, t, op, op+": late request arrives", call)
	})
}

// arrive makes a call at the store.
func (wt *weather) arrive(ctx context.Context, t tag, op, what string, call func(context.Context) error) error {
	began := wt.w.rec.Stamp()
	err := call(ctx)
	if op == string(drivertest.OpSetLimit) && err == nil {
		wt.w.resized(t.actor, began)
	}
	wt.w.journal.add(t, what+outcome(err), 0)
	wt.w.observe()
	return err
}

// outcome is an error as the journal has it: without what differs from run to run, such
// as the key of the entry in the way, and the trouble before the end.
func outcome(err error) string {
	if err == nil {
		return ""
	}
	for _, known := range [...]error{context.Canceled, context.DeadlineExceeded, session.ErrLost, session.ErrClosed} {
		if errors.Is(err, known) {
			return ": " + known.Error()
		}
	}
	if e, ok := errors.AsType[*session.Error](err); ok {
		err = e.Err
	}
	return ": " + err.Error()
}

// began forgets the failures of an actor's earlier calls.
func (wt *weather) began(client, actor int) {
	wt.mu.Lock()
	defer wt.mu.Unlock()
	wt.traffic(lane{client, asking, actor}).failures = 0
}

// sleepUntil returns false if ctx ends before.
func sleepUntil(ctx context.Context, t time.Time) bool {
	if ctx.Err() != nil {
		return false
	}
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
