package sim

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// A tag says who makes a call, and about what. It is the same in each run of a
// schedule, although the identities that sessions choose are not.
type tag struct {
	client int
	actor  int // 0: the session itself, in the background
	lease  int // the how many-th of the client; 0: none
	entry  int // see registry.number; 0: none
}

type (
	tagKey       struct{}
	actorKey     struct{}
	acquiringKey struct{}
)

// withActor marks ctx as that of an actor, for the calls that its session makes
// on its behalf.
func withActor(ctx context.Context, number int) context.Context {
	return context.WithValue(ctx, actorKey{}, number)
}

// acquiring marks ctx as that of a call which acquires something.
func acquiring(ctx context.Context) context.Context {
	return context.WithValue(ctx, acquiringKey{}, true)
}

func acquires(ctx context.Context) bool { return ctx.Value(acquiringKey{}) != nil }

// tagOf returns the tag of a call of the client.
func tagOf(ctx context.Context, client int) tag {
	if t, ok := ctx.Value(tagKey{}).(tag); ok {
		return t
	}
	actor, _ := ctx.Value(actorKey{}).(int)
	return tag{client: client, actor: actor}
}

// A tagged is what stands around the calls of a simulation, in the manner of a
// drivertest.Hook.
type tagged func(ctx context.Context, t tag, op drivertest.Op, call func(ctx context.Context) error) error

// A registry numbers the entries that actors ask for.
type registry struct {
	mu      sync.Mutex
	numbers map[string]int // by the ID of the claim
	counts  map[int]int    // of requests that were sent, by actor
}

func (r *registry) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.numbers, r.counts = map[string]int{}, map[int]int{}
}

// number returns that of a claim or entry with that ID: the actor's times 1000,
// and the how many-th of the actor's it is. It is 0 for one not seen before,
// unless actor is given.
func (r *registry) number(id string, actor int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.numbers[id]
	if n == 0 && actor > 0 {
		n = actor*1000 + r.counts[actor] + 1
		r.numbers[id] = n
	}
	return n
}

// send records that the entry is asked for: the actor's next has another number.
func (r *registry) send(entry int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[actorOf(entry)]++
}

// sent tells whether the entry was asked for.
func (r *registry) sent(entry int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[actorOf(entry)] >= entry%1000
}

// actorOf returns the actor that asked for the entry with that number.
func actorOf(entry int) int { return entry / 1000 }

// A wire tags the calls of one client and passes them to a hook.
type wire struct {
	driver.Store
	entries *registry
	client  int

	mu     sync.Mutex
	leases int
}

// newWire returns a driver for a session of the client, on inner.
func newWire(inner driver.Store, hook tagged, entries *registry, client int) *wire {
	interposed := drivertest.Interpose(inner, func(ctx context.Context, op drivertest.Op, call func(context.Context) error) error {
		return hook(ctx, tagOf(ctx, client), op, call)
	})
	return &wire{Store: interposed, entries: entries, client: client}
}

// Unwrap lets the memory store find its own.
func (w *wire) Unwrap() driver.Store { return w.Store }

func (w *wire) tag(ctx context.Context, lease, entry int) context.Context {
	t := tagOf(ctx, w.client)
	t.lease, t.entry = lease, entry
	return context.WithValue(ctx, tagKey{}, t)
}

func (w *wire) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	w.mu.Lock()
	w.leases++
	number := w.leases
	w.mu.Unlock()
	l, sent, err := w.Store.Grant(w.tag(ctx, number, 0), spec)
	if err != nil {
		return nil, sent, err
	}
	return &wireLease{l, w, number}, sent, nil
}

type wireLease struct {
	driver.Lease
	w      *wire
	number int
}

func (l *wireLease) tag(ctx context.Context) context.Context { return l.w.tag(ctx, l.number, 0) }

func (l *wireLease) about(ctx context.Context, id string) context.Context {
	return l.w.tag(ctx, l.number, l.w.entries.number(id, 0))
}

func (l *wireLease) Renew(ctx context.Context) error  { return l.Lease.Renew(l.tag(ctx)) }
func (l *wireLease) Check(ctx context.Context) error  { return l.Lease.Check(l.tag(ctx)) }
func (l *wireLease) Revoke(ctx context.Context) error { return l.Lease.Revoke(l.tag(ctx)) }

func (l *wireLease) Watch(ctx context.Context, marked func()) error {
	return l.Lease.Watch(l.tag(ctx), marked)
}

func (l *wireLease) Marks(ctx context.Context) ([]driver.Mark, error) {
	return l.Lease.Marks(l.tag(ctx))
}

func (l *wireLease) Clear(ctx context.Context, m driver.Mark) error {
	return l.Lease.Clear(l.about(ctx, m.ID), m)
}

func (l *wireLease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	actor, _ := ctx.Value(actorKey{}).(int)
	return l.Lease.Join(l.w.tag(ctx, l.number, l.w.entries.number(c.ID, actor)), c)
}

func (l *wireLease) Resolve(ctx context.Context, c driver.Claim) (driver.View, error) {
	return l.Lease.Resolve(l.about(ctx, c.ID), c)
}

func (l *wireLease) Withdraw(ctx context.Context, c driver.Claim) error {
	return l.Lease.Withdraw(l.about(ctx, c.ID), c)
}

func (l *wireLease) Wait(ctx context.Context, v driver.View, on driver.Obstacles) (driver.View, error) {
	return l.Lease.Wait(l.about(ctx, v.Me.ID), v, on)
}

func (l *wireLease) Look(ctx context.Context, e driver.Entry) (driver.View, error) {
	return l.Lease.Look(l.about(ctx, e.ID), e)
}

func (l *wireLease) Update(ctx context.Context, e driver.Entry, value string) (driver.Entry, error) {
	return l.Lease.Update(l.about(ctx, e.ID), e, value)
}

func (l *wireLease) Leave(ctx context.Context, e driver.Entry) error {
	return l.Lease.Leave(l.about(ctx, e.ID), e)
}

// Entries sorts what may come in any order, so that it is the same in each run.
func (l *wireLease) Entries(ctx context.Context) ([]driver.Entry, error) {
	entries, err := l.Lease.Entries(l.tag(ctx))
	slices.SortFunc(entries, func(a, b driver.Entry) int { return cmp.Compare(a.Token, b.Token) })
	return entries, err
}
