package zk_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/integration/history"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
)

// permits is the limit of the semaphore, and heavy what some ask for.
const (
	permits = 3
	heavy   = 2
)

// A churn is traffic on a lock of each kind, while something is done to the
// servers: from several sessions, and recorded. No call may fail, whatever is done,
// and what was granted when has to be legal.
type churn struct {
	rec     *history.Recorder
	ctx     context.Context // of all calls: its end is a failure
	stop    chan struct{}   // closed when the workers are to stop
	stopped sync.Once
	work    sync.WaitGroup

	workers []*worker
	lost    atomic.Int64 // grants

	observer *observer
}

// A worker asks for one lock again and again.
type worker struct {
	c       *churn
	number  int
	what    string
	h       *history.History
	op      history.Op
	acquire func(ctx context.Context) (*session.Grant, error)
	guarded *register // nil: it writes nothing

	granted atomic.Int64 // so far
	err     error        // why it gave up; valid when the work is over
}

// A register refuses what comes with a token lower than one it has seen.
type register struct {
	mu   sync.Mutex
	high uint64
}

func (r *register) write(token uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if token < r.high {
		return false
	}
	r.high = token
	return true
}

// startChurn begins with the sessions, and ends with the test at the latest.
func startChurn(t *testing.T, sessions ...*session.Session) *churn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	c := &churn{rec: history.NewRecorder(nil), ctx: ctx, stop: make(chan struct{})}
	t.Cleanup(func() {
		cancel()
		c.end()
		<-c.observer.done
	})
	c.observer = observe(ctx, election.New(sessions[0], "election"))
	var guarded register
	for i, s := range sessions {
		m, rw := mutex.New(s, "mutex"), rwmutex.New(s, "rwmutex")
		sem, e := semaphore.New(s, "semaphore", permits), election.New(s, "election")
		value := fmt.Sprint("candidate ", i)
		c.add("mutex", c.rec.Lock("mutex"), history.Lock(), &guarded, m.Lock)
		c.add("writer", c.rec.Lock("rwmutex"), history.Lock(), nil, rw.Lock)
		c.add("reader", c.rec.Lock("rwmutex"), history.RLock(), nil, rw.RLock)
		c.add("reader", c.rec.Lock("rwmutex"), history.RLock(), nil, rw.RLock)
		for _, n := range []int64{1, heavy} {
			c.add("permit", c.rec.Semaphore("semaphore", permits), history.Acquire(n), nil, func(ctx context.Context) (*session.Grant, error) {
				return sem.Acquire(ctx, n)
			})
		}
		c.add("candidate", c.rec.Lock("election"), history.Campaign(value), nil, func(ctx context.Context) (*session.Grant, error) {
			term, err := e.Campaign(ctx, value)
			if err != nil {
				return nil, err
			}
			return term.Grant, nil
		})
	}
	return c
}

func (c *churn) add(what string, h *history.History, op history.Op, guarded *register, acquire func(context.Context) (*session.Grant, error)) {
	w := &worker{c: c, number: len(c.workers), what: what, h: h, op: op, acquire: acquire, guarded: guarded}
	c.workers = append(c.workers, w)
	c.work.Go(w.run)
}

func (w *worker) run() {
	for w.err == nil && w.pause(100*time.Millisecond) {
		w.err = w.turn()
	}
}

// pause sleeps for a while, d at most, unless the work is over.
func (w *worker) pause(d time.Duration) bool {
	select {
	case <-w.c.stop:
		return false
	case <-time.After(rand.N(d)):
		return true
	}
}

// turn acquires, holds for a moment and releases.
func (w *worker) turn() error {
	asked := w.h.Begin(w.number, w.op)
	g, err := w.acquire(w.c.ctx)
	if err != nil {
		asked.Unknown()
		return fmt.Errorf("%s %d: acquire: %w", w.what, w.number, err)
	}
	asked.Granted(g.Token())
	w.granted.Add(1)
	told := make(chan struct{})
	context.AfterFunc(g.Context(), func() {
		defer close(told)
		if errors.Is(context.Cause(g.Context()), session.ErrLost) {
			w.h.Begin(w.number, history.Lose(g.Token())).Done()
			w.c.lost.Add(1)
		}
	})
	w.write(g.Token())
	w.pause(20 * time.Millisecond)
	w.write(g.Token())
	gave := w.h.Begin(w.number, history.Release(g.Token()))
	err = g.Release(w.c.ctx)
	<-told
	switch {
	case err == nil:
		gave.Done()
	case errors.Is(err, session.ErrLost):
		gave.Unknown()
	default:
		gave.Unknown()
		return fmt.Errorf("%s %d: release: %w", w.what, w.number, err)
	}
	return nil
}

// write writes what the lock guards, which refuses it from one who was lost and
// does not know.
func (w *worker) write(token uint64) {
	if w.guarded == nil {
		return
	}
	call := w.h.Begin(w.number, history.Write(token))
	if w.guarded.write(token) {
		call.Done()
	} else {
		call.Refused()
	}
}

// proceeds waits until every worker was granted once more.
func (c *churn) proceeds(t *testing.T) {
	t.Helper()
	for _, w := range c.workers {
		before := w.granted.Load()
		eventually(t, func() error {
			if w.granted.Load() == before {
				return fmt.Errorf("%s %d waits and is granted nothing", w.what, w.number)
			}
			return nil
		})
	}
}

// finish stops the workers and checks what they saw. It returns how many grants
// were lost.
func (c *churn) finish(t *testing.T) (lost int64) {
	t.Helper()
	c.end()
	if err := c.observer.finish(c.ctx); err != nil {
		t.Error(err)
	}
	turns := int64(0)
	for _, w := range c.workers {
		turns += w.granted.Load()
		if w.err != nil {
			t.Error(w.err)
		}
	}
	if err := c.rec.Check(&history.Options{Steps: 20_000_000}); err != nil {
		t.Error(err)
	}
	lost = c.lost.Load()
	t.Logf("%d workers were granted %d times, and lost %d", len(c.workers), turns, lost)
	return lost
}

func (c *churn) end() {
	c.stopped.Do(func() { close(c.stop) })
	c.work.Wait()
}
