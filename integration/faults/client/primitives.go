package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// The kinds of names. A vigil is a mutex that is held for long, to be lost at times; a
// pool is a semaphore that is resized, and a semaphore one that is not.
const (
	Mutex     = "mutex"
	Vigil     = "vigil"
	RWMutex   = "rwmutex"
	Semaphore = "semaphore"
	Pool      = "pool"
	Election  = "election"
)

// Kinds are all of them.
var Kinds = []string{Mutex, Vigil, RWMutex, Semaphore, Pool, Election}

// Limit is that of semaphores, and of pools to begin with; MaxLimit is the largest that
// pools are given.
const (
	Limit    = 3
	MaxLimit = Limit + 3
)

const tryOften = 0.15

func (w *worker) mutex(ctx context.Context) {
	e := journal.Event{Op: journal.Lock, Name: w.Names.At(Mutex, w.since()), Try: w.chance(tryOften)}
	h, err := w.acquire(ctx, e, func(ctx context.Context, opts *watch.Options) (*session.Grant, error) {
		m := mutex.NewWith(w.session, e.Name, opts)
		if e.Try {
			return m.TryLock(ctx)
		}
		return m.Lock(ctx)
	})
	if err == nil {
		w.hold(h, true)
		w.release(h)
	}
}

// vigil holds until it has been long, or all is lost or calm. It looks at its context
// only now and then, as who works does, and writes all the while.
func (w *worker) vigil(ctx context.Context) {
	e := journal.Event{Op: journal.Lock, Name: w.Names.At(Vigil, w.since())}
	h, err := w.acquire(ctx, e, func(ctx context.Context, opts *watch.Options) (*session.Grant, error) {
		return mutex.NewWith(w.session, e.Name, opts).Lock(ctx)
	})
	if err != nil {
		return
	}
	end := time.Now().Add(w.between(w.Vigil/3, w.Vigil))
	for time.Now().Before(end) && !w.calm.Load() && ctx.Err() == nil && h.Context().Err() == nil {
		w.write(h)
		sleep(h.Context(), w.between(50*time.Millisecond, 150*time.Millisecond))
	}
	w.write(h)
	w.release(h)
}

func (w *worker) rwmutex(ctx context.Context) {
	e := journal.Event{Op: journal.RLock, Name: w.Names.At(RWMutex, w.since()), Try: w.chance(tryOften)}
	if w.chance(0.4) {
		e.Op = journal.Lock
	}
	m := rwmutex.New(w.session, e.Name)
	h, err := w.acquire(ctx, e, func(ctx context.Context, opts *watch.Options) (*session.Grant, error) {
		m = rwmutex.NewWith(w.session, e.Name, opts)
		switch {
		case e.Op == journal.Lock && e.Try:
			return m.TryLock(ctx)
		case e.Op == journal.Lock:
			return m.Lock(ctx)
		case e.Try:
			return m.TryRLock(ctx)
		}
		return m.RLock(ctx)
	})
	if err != nil {
		return
	}
	w.hold(h, e.Op == journal.Lock)
	if e.Op == journal.Lock && w.chance(0.3) && !w.downgrade(m, h) {
		return
	}
	w.release(h)
}

// downgrade makes a reader of a writer, and reports whether that holds anything.
func (w *worker) downgrade(m *rwmutex.RWMutex, h *held) bool {
	// The new grant's end is not written down before the old one's: by then nobody
	// minds another reader.
	at := journal.Now()
	if h.Check() != nil {
		return true // releasing it says so
	}
	w.journal.Note(journal.Event{At: at, Kind: journal.Downgrading, Hold: h.id, Name: h.name, Token: h.Token()})
	ctx, cancel := context.WithTimeout(context.Background(), 3*w.TTL)
	defer cancel()
	g, err := m.Downgrade(ctx, h.Grant)
	w.journal.Note(journal.Event{Kind: journal.Downgraded, Hold: h.id, Name: h.name, Token: h.Token(), Error: text(err)})
	if err != nil {
		w.journal.Note(journal.Event{Kind: journal.Released, Hold: h.id, Name: h.name, Token: h.Token(), Error: text(err)})
		return false
	}
	token := g.Token()
	context.AfterFunc(g.Context(), func() {
		if errors.Is(context.Cause(g.Context()), session.ErrLost) {
			w.journal.Note(journal.Event{Kind: journal.Lost, Hold: h.id, Name: h.name, Token: token})
		}
	})
	h.Grant = g
	w.hold(h, false)
	return true
}

func (w *worker) semaphore(ctx context.Context) {
	w.permits(ctx, w.Names.At(Semaphore, w.since()), Limit)
}

// pool is the semaphore whose limit changes. Who is told of another goes by it.
func (w *worker) pool(ctx context.Context) {
	name := w.Names.At(Pool, w.since())
	limit := w.limits[name]
	if limit == 0 {
		limit = Limit
	}
	if w.chance(0.1) {
		// The keeper has a permit, and who asks for two must not have to wait for it.
		limit = Limit + w.rng.Int64N(MaxLimit-Limit+1)
		before := journal.Event{Kind: journal.Resizing, Name: name, N: limit}
		w.call(ctx, before, journal.Event{Kind: journal.Resized, Name: name, N: limit}, func(ctx context.Context, _ *journal.Event) error {
			return semaphore.New(w.session, name, Limit).Resize(ctx, limit)
		})
	}
	if told := limitOf(w.permits(ctx, name, limit)); told > 0 {
		limit = told
	}
	w.limits[name] = limit
}

func (w *worker) permits(ctx context.Context, name string, limit int64) error {
	e := journal.Event{Op: journal.Acquire, Name: name, N: 1, Try: w.chance(tryOften)}
	if w.chance(0.25) {
		e.N = 2
	}
	h, err := w.acquire(ctx, e, func(ctx context.Context, opts *watch.Options) (*session.Grant, error) {
		m := semaphore.NewWith(w.session, name, limit, opts)
		if e.Try {
			return m.TryAcquire(ctx, e.N)
		}
		return m.Acquire(ctx, e.N)
	})
	if err == nil {
		w.hold(h, false)
		w.release(h)
	}
	return err
}

func (w *worker) election(ctx context.Context) {
	name := w.Names.At(Election, w.since())
	e := election.New(w.session, name)
	if w.chance(0.3) {
		w.look(ctx, e, name)
	}
	value := fmt.Sprint(w.Life, " ", journal.Now())
	var term *election.Term
	ask := journal.Event{Op: journal.Campaign, Name: name, Value: value}
	h, err := w.acquire(ctx, ask, func(ctx context.Context, opts *watch.Options) (_ *session.Grant, err error) {
		if term, err = election.NewWith(w.session, name, opts).Campaign(ctx, value); err != nil {
			return nil, err
		}
		return term.Grant, nil
	})
	if err != nil {
		return
	}
	w.hold(h, true)
	if w.chance(0.2) {
		later := value + " again"
		before := journal.Event{Kind: journal.Proclaiming, Hold: h.id, Name: name, Token: h.Token(), Value: later}
		w.call(ctx, before, journal.Event{Kind: journal.Proclaimed, Hold: h.id, Name: name}, func(ctx context.Context, _ *journal.Event) error {
			return term.Proclaim(ctx, later)
		})
		sleep(h.Context(), w.between(0, 10*time.Millisecond))
	}
	w.release(h)
}

// look asks who leads. That nobody does is an answer.
func (w *worker) look(ctx context.Context, e *election.Election, name string) {
	w.call(ctx, journal.Event{Kind: journal.Looking, Name: name}, journal.Event{Kind: journal.Saw, Name: name},
		func(ctx context.Context, after *journal.Event) error {
			l, err := e.Leader(ctx)
			if errors.Is(err, session.ErrNoLeader) {
				return nil
			}
			after.Value, after.Token = l.Value, l.Token
			return err
		})
}
