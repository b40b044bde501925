package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// never is the end of an operation that may take effect at any later time, and of
// a hold that nothing ended.
const never = math.MaxInt64

// A Recorder keeps one history for each name. It is safe for concurrent use.
type Recorder struct {
	clock func() time.Time

	mu    sync.Mutex
	last  int64 // the latest stamp
	names map[string]*History
	order []*History // as they were made, so that a failure is the same in each run
}

// NewRecorder returns a recorder that takes the time from clock, and from
// [time.Now] when clock is nil; so it works on virtual time too.
func NewRecorder(clock func() time.Time) *Recorder {
	if clock == nil {
		clock = time.Now
	}
	return &Recorder{clock: clock, names: make(map[string]*History)}
}

// Stamp returns a moment later than all that were recorded or returned before,
// for [History.BeginAt] and [Call.At].
func (r *Recorder) Stamp() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stamp()
}

// stamp returns the time in nanoseconds, made to increase: on virtual time much
// happens at one instant, and would count as concurrent, although the order in
// which it was recorded is known.
func (r *Recorder) stamp() int64 {
	r.last = max(r.last+1, r.clock().UnixNano())
	return r.last
}

// Lock returns the history of the mutex, read-write lock or election of that
// name, and makes it on the first call.
func (r *Recorder) Lock(name string) *History {
	return r.history(name, lockModel{})
}

// Semaphore returns the history of the semaphore of that name, and makes it with
// that limit on the first call.
func (r *Recorder) Semaphore(name string, limit int64) *History {
	return r.history(name, semaphoreModel{limit: limit})
}

func (r *Recorder) history(name string, m model) *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.names[name]
	if h == nil {
		h = &History{recorder: r, name: name, model: m}
		r.names[name] = h
		r.order = append(r.order, h)
	}
	if h.model != m {
		panic(fmt.Sprintf("history: %q is recorded as %v and as %v", name, h.model, m))
	}
	return h
}

// Check checks every history, as [History.Check] does, and returns the first
// error.
func (r *Recorder) Check(opts *Options) error {
	r.mu.Lock()
	order := slices.Clone(r.order)
	r.mu.Unlock()
	for _, h := range order {
		if err := h.Check(opts); err != nil {
			return err
		}
	}
	return nil
}

// A History is what happened to one name.
type History struct {
	recorder *Recorder
	name     string
	model    model

	calls []*Call // guarded by the recorder's mutex
}

// Name returns the name.
func (h *History) Name() string { return h.name }

// Begin records that client is about to ask for op. The client's number serves
// to tell who it was; one client may have several calls open.
func (h *History) Begin(client int, op Op) *Call {
	h.recorder.mu.Lock()
	defer h.recorder.mu.Unlock()
	return h.begin(h.recorder.stamp(), client, op)
}

// BeginAt is Begin for what began at an earlier stamp: one of the recorder's, or
// the wall clock's nanoseconds in another process on this machine.
func (h *History) BeginAt(stamp int64, client int, op Op) *Call {
	h.recorder.mu.Lock()
	defer h.recorder.mu.Unlock()
	return h.begin(stamp, client, op)
}

func (h *History) begin(stamp int64, client int, op Op) *Call {
	if !h.model.has(op.kind) {
		panic(fmt.Sprintf("history: %v has no %v", h.model, op))
	}
	c := &Call{history: h, operation: operation{client: client, op: op, call: stamp, end: never}}
	h.calls = append(h.calls, c)
	return c
}

// operations returns what was recorded so far, in the order in which it began.
func (h *History) operations() []operation {
	h.recorder.mu.Lock()
	ops := make([]operation, len(h.calls))
	for i, c := range h.calls {
		ops[i] = c.operation
	}
	h.recorder.mu.Unlock()
	slices.SortStableFunc(ops, func(a, b operation) int { return cmp.Compare(a.call, b.call) })
	return ops
}

// A Call is an operation that has begun. One that is never ended is of unknown
// outcome. To end it twice, or with an outcome that its operation cannot have,
// is a mistake in the test, and panics.
type Call struct {
	history *History
	at      int64 // the end's stamp, when it was given
	ended   bool
	operation
}

// At makes the outcome that follows count from an earlier stamp than now, as with
// [History.BeginAt]: h.BeginAt(began, 1, op).At(ended).Done().
func (c *Call) At(stamp int64) *Call {
	c.at = stamp
	return c
}

// Queued records, while the call is open, that its entry was seen in the queue;
// see [CheckFIFO].
func (c *Call) Queued() {
	r := c.history.recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	c.queued = r.stamp()
}

// Granted records that an acquisition returned with that token, or that a
// downgrade returned a grant with it.
func (c *Call) Granted(token uint64) { c.finish(outcome{status: granted, token: token}) }

// Saw records that Leader returned that leader. Token 0 means nobody.
func (c *Call) Saw(value string, token uint64) {
	c.finish(outcome{status: saw, value: value, token: token})
}

// Done records success: a write was accepted, a release has happened.
func (c *Call) Done() { c.finish(outcome{status: done}) }

// Refused records that the guarded register refused a write because of its token.
func (c *Call) Refused() { c.finish(outcome{status: refused}) }

// Failed records that the operation had no effect, and will have none.
func (c *Call) Failed() { c.finish(outcome{status: failed}) }

// Unknown records that the operation may have had an effect, or have it later.
func (c *Call) Unknown() { c.finish(outcome{}) }

func (c *Call) finish(o outcome) {
	r := c.history.recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	stamp := c.at
	if stamp == 0 {
		stamp = r.stamp()
	}
	switch {
	case c.ended:
		panic(fmt.Sprintf("history: %v of %q ended twice", c.op, c.history.name))
	case !c.op.kind.may(o):
		panic(fmt.Sprintf("history: %v of %q cannot end with %v", c.op, c.history.name, o))
	case stamp < c.call:
		panic(fmt.Sprintf("history: %v of %q ends before it begins", c.op, c.history.name))
	}
	c.ended, c.out = true, o
	if o.status != unknown {
		c.end = stamp
	}
}
