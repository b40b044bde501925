package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// A store is a lock's queue and a guarded register, in memory and without time,
// with bugs to be planted. It stands in for what the histories are recorded from.
type store struct {
	bug   string
	rand  *rand.Rand
	queue []*entry
	token uint64
	limit int64
	high  uint64
}

type entry struct {
	op      Op // lock, rlock or acquire
	token   uint64
	value   string
	granted bool // by the store; the client may not know yet
}

// has tells, now and then, that a bug is planted and shows.
func (s *store) has(bug string) bool { return s.bug == bug && s.rand.IntN(4) == 0 }

func (s *store) join(op Op) *entry {
	s.token++
	e := &entry{op: op, token: s.token, value: op.value}
	if s.has("token goes back") {
		e.token = max(1, s.token-2)
	}
	s.queue = append(s.queue, e)
	s.grant()
	return e
}

func (s *store) leave(e *entry) {
	s.queue = slices.DeleteFunc(s.queue, func(x *entry) bool { return x == e })
	s.grant()
}

func (s *store) resize(limit int64) {
	s.limit = limit
	s.grant()
}

// grant looks whose turn has come.
func (s *store) grant() {
	ahead, writers := int64(0), 0
	for i, e := range s.queue {
		turn := false
		switch e.op.kind {
		case lock:
			turn = i == 0 || s.has("writer ignores the queue")
			writers++
		case rlock:
			turn = writers == 0 || s.has("reader ignores writers")
		case acquire:
			turn = ahead+e.op.n <= s.limit || s.has("weights do not count") && ahead < s.limit
			ahead += e.op.n
		}
		e.granted = e.granted || turn
	}
}

func (s *store) downgrade(e *entry) {
	e.op.kind = rlock
	s.grant()
}

func (s *store) leader() outcome {
	if len(s.queue) == 0 || s.queue[0].op.kind != lock {
		return outcome{status: saw}
	}
	e := s.queue[0]
	if s.has("leader is the last in the queue") {
		e = s.queue[len(s.queue)-1]
	}
	return outcome{status: saw, value: e.value, token: e.token}
}

func (s *store) write(token uint64) outcome {
	if token < s.high && !s.has("register accepts what is stale") {
		return outcome{status: refused}
	}
	s.high = max(s.high, token)
	return outcome{status: done}
}

// A world has clients that use a store, one step after the other, and lose
// replies, sessions and their lives.
type world struct {
	*store
	h        *History
	clients  []*client
	inFlight []func() // requests that reach the store at some time, or never
	values   int
}

type client struct {
	number int
	call   *Call
	next   func() // nil: idle, or holding
	entry  *entry // of the acquisition or the hold
}

// play records ops operations of a lock, or of a semaphore, with those faults that
// have that many chances in a thousand at each step.
func play(seed uint64, bug string, semaphore bool, ops, faults int) *Recorder {
	rec := NewRecorder(nil)
	w := &world{store: &store{bug: bug, rand: rand.New(rand.NewPCG(seed, 7)), limit: 3}}
	if semaphore {
		w.h = rec.Semaphore("n", w.limit)
	} else {
		w.h = rec.Lock("n")
	}
	for i := range 4 {
		w.clients = append(w.clients, &client{number: i})
	}
	for len(w.h.calls) < ops {
		if n := len(w.inFlight); n > 0 && w.rand.IntN(4) == 0 {
			i := w.rand.IntN(n)
			w.inFlight[i]()
			w.inFlight = slices.Delete(w.inFlight, i, i+1)
			continue
		}
		c := w.clients[w.rand.IntN(len(w.clients))]
		fault := w.rand.IntN(1000) < faults
		switch {
		case fault && c.entry != nil:
			w.fail(c)
		case c.next != nil:
			c.next()
		case c.entry != nil:
			w.hold(c)
		default:
			w.ask(c, semaphore)
		}
	}
	return rec
}

// fail ends what c has: its session or its life, and with them a wait or a hold.
func (w *world) fail(c *client) {
	e := c.entry
	switch {
	case c.call == nil && w.has("successor before the holder hears"):
		w.leave(e)
		c.next = func() {
			w.h.Begin(c.number, Lose(e.token)).Done()
			c.next, c.entry = nil, nil
		}
		return
	case c.call == nil:
		loss := w.h.Begin(c.number, Lose(e.token))
		if w.rand.IntN(2) == 0 {
			loss.Done() // it heard of it
		} else if e.op.kind == lock { // it was stopped, and goes on
			w.writeOn(c.number, e.token)
		}
	case c.call.op.kind.acquires():
		c.call.Unknown()
	default: // killed between asking and hearing
		w.h.Begin(c.number, Lose(e.token))
	}
	w.inFlight = append(w.inFlight, func() { w.leave(e) })
	c.call, c.next, c.entry = nil, nil, nil
}

// writeOn has a holder write that does not know that it was lost, at some time and
// perhaps again.
func (w *world) writeOn(number int, token uint64) {
	w.inFlight = append(w.inFlight, func() {
		w.h.Begin(number, Write(token)).finish(w.write(token))
		if w.rand.IntN(4) > 0 {
			w.writeOn(number, token)
		}
	})
}

// request has c ask for op: the store applies it in one step, and c hears of it in
// another, or never.
func (w *world) request(c *client, op Op, apply func() outcome, then func()) {
	c.call = w.h.Begin(c.number, op)
	c.next = func() {
		if w.rand.IntN(20) == 0 { // the request is late, or lost, and so is the reply
			w.inFlight = append(w.inFlight, func() { apply() })
			c.call.Unknown()
			c.call, c.next = nil, nil
			then()
			return
		}
		out := apply()
		c.next = func() {
			c.call.finish(out)
			c.call, c.next = nil, nil
			then()
		}
	}
}

func (w *world) ask(c *client, semaphore bool) {
	var op Op
	switch k := w.rand.IntN(10); {
	case semaphore && k == 0:
		limit := 2 + w.rand.Int64N(3) // room for the heaviest
		w.request(c, Resize(limit), func() outcome { w.resize(limit); return outcome{status: done} }, func() {})
		return
	case semaphore:
		op = Acquire(1 + w.rand.Int64N(2))
	case k < 3:
		w.request(c, Leader(), w.leader, func() {})
		return
	case k < 6:
		op = RLock()
	default:
		w.values++
		op = Campaign(fmt.Sprint("value ", w.values))
	}
	c.call = w.h.Begin(c.number, op)
	c.next = func() {
		c.entry = w.join(op)
		c.next = func() {
			if c.entry.granted {
				c.call.Granted(c.entry.token)
				c.call, c.next = nil, nil
			}
		}
	}
}

// hold does something with what c holds.
func (w *world) hold(c *client) {
	e := c.entry
	ok := outcome{status: done}
	switch k := w.rand.IntN(12); {
	case e.op.kind == lock && k < 6:
		w.request(c, Write(e.token), func() outcome { return w.write(e.token) }, func() {})
	case e.op.kind == lock && k < 7:
		w.values++
		value := fmt.Sprint("value ", w.values)
		w.request(c, Proclaim(e.token, value), func() outcome { e.value = value; return ok }, func() {})
	case e.op.kind == lock && k < 8:
		w.request(c, Downgrade(e.token), func() outcome {
			w.downgrade(e)
			return outcome{status: granted, token: e.token}
		}, func() {
			if e.op.kind != rlock { // it may have been downgraded, and can only stop
				w.h.Begin(c.number, Lose(e.token)).Done()
				w.inFlight = append(w.inFlight, func() { w.leave(e) })
				c.entry = nil
			}
		})
	default:
		w.request(c, Release(e.token), func() outcome { w.leave(e); return ok }, func() { c.entry = nil })
	}
}
