package sim

import (
	"context"
	"fmt"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/integration/history"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// A kind is a primitive.
type kind int

const (
	mutexes kind = iota
	rwmutexes
	semaphores
	elections
)

func (k kind) String() string {
	return [...]string{"mutex", "rwmutex", "semaphore", "election"}[k]
}

// An ask is what an actor wants to hold.
type ask struct {
	kind   kind
	name   string
	shared bool
	weight int64
	limit  int64 // that the actor believes the semaphore to have
	try    bool
	value  string // of a candidate
	opts   *watch.Options
}

// op is what the history calls it.
func (a ask) op() history.Op {
	switch {
	case a.kind == semaphores:
		return history.Acquire(a.weight)
	case a.kind == elections:
		return history.Campaign(a.value)
	case a.shared:
		return history.RLock()
	}
	return history.Lock()
}

func (a ask) String() string {
	s := a.kind.String() + " " + a.name
	switch {
	case a.kind == semaphores:
		s += fmt.Sprintf(" weight %d of %d", a.weight, a.limit)
	case a.shared:
		s += " shared"
	}
	if a.try {
		s = "try " + s
	}
	return s
}

// A product is what is simulated: the primitives as they are, or with a bug.
type product struct {
	// plant puts a bug into the driver of a session, next to the store. near puts
	// one next to the session, where it sees what the weather makes of a call.
	// nil: none.
	plant, near func(driver.Store) driver.Store

	// rule replaces that of the primitives, which are made from watch.Turn then.
	// nil: the primitives themselves are used.
	rule func(a ask) watch.Rule

	// unstamped leaves out that a semaphore's waiter marks its entry when its
	// turn has come.
	unstamped bool

	// resize replaces that of semaphores.
	resize func(ctx context.Context, s *session.Session, name string, limit int64) error

	// downgrade replaces that of read-write locks.
	downgrade func(ctx context.Context, m *rwmutex.RWMutex, g *session.Grant) (*session.Grant, error)
}

// sound is the product as it is.
var sound = &product{}

func (p *product) mutated() bool { return p.rule != nil || p.unstamped }

// connect returns the driver for a session of the client.
func (p *product) connect(w *world, hook tagged, client int) driver.Store {
	s := w.st.Connect()
	if p.plant != nil {
		s = p.plant(s)
	}
	s = newWire(&witness{s, w}, hook, &w.entries, client)
	if p.near != nil {
		s = p.near(s)
	}
	return s
}

func (p *product) acquire(ctx context.Context, s *session.Session, a ask) (*session.Grant, error) {
	if p.mutated() {
		return p.turn(ctx, s, a)
	}
	switch a.kind {
	case mutexes:
		m := mutex.NewWith(s, a.name, a.opts)
		if a.try {
			return m.TryLock(ctx)
		}
		return m.Lock(ctx)
	case rwmutexes:
		return acquireRW(ctx, rwmutex.NewWith(s, a.name, a.opts), a)
	case semaphores:
		m := semaphore.NewWith(s, a.name, a.limit, a.opts)
		if a.try {
			return m.TryAcquire(ctx, a.weight)
		}
		return m.Acquire(ctx, a.weight)
	}
	t, err := election.NewWith(s, a.name, a.opts).Campaign(ctx, a.value)
	if err != nil {
		return nil, err
	}
	return t.Grant, nil
}

func acquireRW(ctx context.Context, m *rwmutex.RWMutex, a ask) (*session.Grant, error) {
	switch {
	case a.shared && a.try:
		return m.TryRLock(ctx)
	case a.shared:
		return m.RLock(ctx)
	case a.try:
		return m.TryLock(ctx)
	}
	return m.Lock(ctx)
}

// turn is acquire with what the primitives are made of.
func (p *product) turn(ctx context.Context, s *session.Session, a ask) (*session.Grant, error) {
	c := watch.Claim{Op: "acquire " + a.kind.String(), Kind: a.kind.String(), Name: a.name, Mode: driver.Exclusive,
		Value: a.value, Try: a.try}
	switch {
	case a.kind == semaphores:
		c.Mode, c.Limit, c.Value = driver.Permit, a.limit, watch.PermitValue(a.weight, false)
		if !p.unstamped {
			c.Stamp = watch.PermitValue(a.weight, true)
		}
	case a.shared:
		c.Mode = driver.Shared
	}
	rule := watch.RuleOf(c.Mode)
	if p.rule != nil {
		rule = p.rule(a)
	}
	return watch.Turn(ctx, s, a.opts.Copy().Claim(c), rule)
}

// do acquires and runs f under the grant.
func (p *product) do(ctx context.Context, s *session.Session, a ask, f func(context.Context) error) error {
	switch {
	case p.mutated():
		g, err := p.turn(ctx, s, a)
		if err != nil {
			return err
		}
		return g.Do(ctx, f)
	case a.kind == mutexes:
		return mutex.NewWith(s, a.name, a.opts).Do(ctx, f)
	case a.kind == rwmutexes && a.shared:
		return rwmutex.NewWith(s, a.name, a.opts).RDo(ctx, f)
	case a.kind == rwmutexes:
		return rwmutex.NewWith(s, a.name, a.opts).Do(ctx, f)
	case a.kind == semaphores:
		return semaphore.NewWith(s, a.name, a.limit, a.opts).Do(ctx, a.weight, f)
	}
	panic("an election has Run")
}

func (p *product) setLimit(ctx context.Context, s *session.Session, name string, from, to int64) error {
	if p.resize != nil {
		return p.resize(ctx, s, name, to)
	}
	return semaphore.New(s, name, from).Resize(ctx, to)
}

func (p *product) downgraded(ctx context.Context, s *session.Session, name string, g *session.Grant) (*session.Grant, error) {
	m := rwmutex.New(s, name)
	if p.downgrade != nil {
		return p.downgrade(ctx, m, g)
	}
	return m.Downgrade(ctx, g)
}
