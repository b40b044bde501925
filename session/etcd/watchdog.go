package etcd

import (
	"context"
	"sync"
	"time"
)

const (
	// tick is how often the watchdog looks, and with it the precision of what it
	// does: that comes up to a tick late.
	tick = 250 * time.Millisecond

	// minPatience is for how long at least no answer is called overdue.
	minPatience = time.Second
)

// A pace tells how long the store takes to answer, and from that, when an answer is
// overdue. It becomes slower at once, with the first slow answer, and faster bit by
// bit: to ask again too early would make a slow store slower.
type pace struct {
	mu      sync.Mutex
	slowest time.Duration // of late
}

// observe takes in that an answer came after this time, or did not come in it.
func (p *pace) observe(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slowest = max(took, p.slowest-(p.slowest-took)/2)
}

// patience is how long to wait before an answer is overdue.
func (p *pace) patience() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(minPatience, 2*p.slowest)
}

// A watchdog looks after requests. One timer serves all of them: to start and stop
// one for each makes the runtime wake a thread, which takes longer than what else we
// do.
type watchdog struct {
	limit time.Duration // for any request
	pace  pace

	mu     sync.Mutex
	ticks  int // that have passed while there were requests
	active map[*pending]struct{}
	timer  *time.Timer // runs while there are requests
	armed  bool
}

// A pending request is one without an answer.
type pending struct {
	cancel context.CancelFunc
	brief  bool        // it is given up when it is overdue
	again  func() bool // makes it once more, and tells whether that was answered; may be nil

	// Guarded by the watchdog's mu.
	since  int           // in ticks
	next   time.Duration // at which age it is made once more, at the earliest
	hedges sync.WaitGroup
}

func newWatchdog(limit time.Duration) *watchdog {
	return &watchdog{limit: limit, active: map[*pending]struct{}{}}
}

func (w *watchdog) add(r *pending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.since = w.ticks
	w.active[r] = struct{}{}
	if !w.armed {
		w.armed = true
		if w.timer == nil {
			w.timer = time.AfterFunc(tick, w.tick)
		} else {
			w.timer.Reset(tick)
		}
	}
}

// remove ends the care for a request. It is not made once more after that.
func (w *watchdog) remove(r *pending, answered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.active, r)
	if answered {
		w.pace.observe(w.age(r.since))
	}
}

// age is what has passed, rounded down to ticks. w.mu is held.
func (w *watchdog) age(since int) time.Duration {
	return time.Duration(max(w.ticks-since-1, 0)) * tick
}

// tick looks at all requests, and goes on as long as there are any.
func (w *watchdog) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ticks++
	patience := w.pace.patience()
	for r := range w.active {
		switch age := w.age(r.since); {
		case age >= w.limit:
			w.pace.observe(age)
			fallthrough
		case r.brief && age >= patience:
			delete(w.active, r)
			r.cancel()
		case r.again != nil && age >= max(patience, r.next):
			w.repeat(r)
		}
	}
	if w.armed = len(w.active) > 0; w.armed {
		w.timer.Reset(tick)
	}
}

// repeat makes a request once more. A second time follows soon, as the first may have
// met the same connection, and further ones at intervals that double. w.mu is held.
func (w *watchdog) repeat(r *pending) {
	if age := w.age(r.since); r.next == 0 {
		r.next = age + tick
	} else {
		r.next = 2 * age
	}
	since := w.ticks
	r.hedges.Go(func() {
		if r.again() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.pace.observe(w.age(since))
		}
	})
}
