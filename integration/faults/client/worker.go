package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// A worker uses one primitive, again and again.
type worker struct {
	*player
	rng    *rand.Rand
	limits map[string]int64 // of the pools, as far as they are known
}

// chance is true that often.
func (w *worker) chance(p float64) bool { return w.rng.Float64() < p }

func (w *worker) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rng.Int64N(int64(most-least)))
}

// A held is what an acquisition has led to.
type held struct {
	*session.Grant
	id   int
	name string
}

// acquire asks for a turn with ask, and returns nil where that came to nothing.
func (w *worker) acquire(ctx context.Context, e journal.Event, ask func(context.Context, *watch.Options) (*session.Grant, error)) (*held, error) {
	e.Kind, e.ID = journal.Asked, w.journal.NewID()
	ctx, cancel := w.patience(ctx, e.Try)
	defer cancel()
	w.journal.Note(e)
	g, err := ask(ctx, &watch.Options{Note: strconv.Itoa(e.ID)})
	after := journal.Event{At: journal.Now(), Kind: Outcome(ctx, err), ID: e.ID, Name: e.Name, Error: text(err)}
	if err == nil {
		after.Token = g.Token()
	}
	w.journal.Note(after)
	if err != nil {
		return nil, err
	}
	h := &held{g, e.ID, e.Name}
	context.AfterFunc(g.Context(), func() {
		if errors.Is(context.Cause(g.Context()), session.ErrLost) {
			w.journal.Note(journal.Event{Kind: journal.Lost, Hold: h.id, Name: h.name, Token: g.Token()})
		}
	})
	return h, nil
}

// Outcome is how an acquisition has ended. Who has given up is told so: an error that
// says something else is one, also where the context has ended meanwhile.
func Outcome(ctx context.Context, err error) journal.Kind {
	switch {
	case err == nil:
		return journal.Granted
	case errors.Is(err, session.ErrHeld), errors.Is(err, session.ErrLimit):
		return journal.Barred
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return journal.GaveUp
	}
	return journal.Failed
}

// patience decides how long to wait. Some give up, as long as there is trouble.
func (w *worker) patience(ctx context.Context, try bool) (context.Context, context.CancelFunc) {
	switch {
	case w.calm.Load():
		return context.WithCancel(ctx)
	case try:
		return context.WithTimeout(ctx, 2*w.TTL)
	case w.chance(0.3):
		return context.WithTimeout(ctx, w.between(time.Millisecond, w.TTL))
	}
	return context.WithCancel(ctx)
}

// hold holds for a while. Some do not look whether they still do.
func (w *worker) hold(h *held, exclusive bool) {
	for range 1 + w.rng.IntN(2) {
		if exclusive {
			w.write(h)
		}
		d := w.between(0, 25*time.Millisecond)
		if !w.calm.Load() && w.chance(0.02) { // long enough to be hit
			d = w.between(0, w.TTL/2)
		}
		if w.chance(0.5) {
			sleep(context.Background(), d)
		} else {
			sleep(h.Context(), d)
		}
	}
	if exclusive && w.chance(0.5) {
		w.write(h)
	}
}

func (w *worker) write(h *held) {
	id := w.journal.NewID()
	w.journal.Note(journal.Event{Kind: journal.Writing, ID: id, Hold: h.id, Name: h.name, Token: h.Token()})
	accepted, err := w.pen.Write(h.name, h.Token())
	w.journal.Note(journal.Event{Kind: journal.Wrote, ID: id, Refused: err == nil && !accepted, Error: text(err)})
}

// release gives back what is held. Its time is from before the grant was found to
// be good.
func (w *worker) release(h *held) {
	at := journal.Now()
	e := journal.Event{At: at, Kind: journal.Releasing, Hold: h.id, Name: h.name, Token: h.Token()}
	if err := h.Check(); err != nil {
		e.At, e.Kind = journal.Now(), journal.Lost
	}
	w.journal.Note(e)
	ctx, cancel := context.WithTimeout(context.Background(), 3*w.TTL)
	defer cancel()
	err := h.Release(ctx)
	w.journal.Note(journal.Event{Kind: journal.Released, Hold: h.id, Name: h.name, Token: h.Token(), Error: text(err)})
}

// call writes down a call that is not an acquisition. When there is no trouble, nothing
// takes longer than two TTLs.
func (w *worker) call(ctx context.Context, before, after journal.Event, do func(context.Context, *journal.Event) error) {
	ctx, cancel := context.WithTimeout(ctx, 2*w.TTL)
	defer cancel()
	before.ID = w.journal.NewID()
	w.journal.Note(before)
	err := do(ctx, &after)
	after.At, after.ID, after.Error = journal.Now(), before.ID, text(err)
	w.journal.Note(after)
}

// limitOf is the limit that a refusal tells, 0 if it does not.
func limitOf(err error) int64 {
	if refusal, ok := errors.AsType[*driver.LimitError](err); ok {
		return refusal.Limit
	}
	return 0
}
