package drivertest

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Faults is what can be made to go wrong between a session and its store. A
// [Link] does it to the bytes of a connection, [Calls] to the calls of a
// driver.
type Faults interface {
	// LoseReply lets the n-th request from now reach the store, the next one
	// being the first, and loses its reply.
	LoseReply(n int)

	// Delay makes each reply late by d, until it is called again.
	Delay(d time.Duration)

	// Freeze stops everything in both directions without a sign of it. What is
	// under way is held until Heal.
	Freeze()

	// Heal ends Freeze.
	Heal()

	// Cut fails what is under way. What comes next is not affected.
	Cut()

	// Requests is the number of requests made so far.
	Requests() int
}

var (
	errReplyLost   = errors.New("drivertest: the reply was lost")
	errRequestLost = errors.New("drivertest: the request was lost")
	errCut         = errors.New("drivertest: the call was cut off")
)

// Calls are the calls that a session makes to its driver, and what is made to
// go wrong with them. It is deterministic where a Link is not: a fault hits
// the very call that is meant. The zero value lets everything pass.
//
// What a session does in the background, renewals above all, is subject to
// Delay, Freeze and Cut, but is no request: its moment is not the test's to
// choose, and so it is not counted.
type Calls struct {
	mu       sync.Mutex
	requests int
	planned  map[int]Hook // by the number of the request
	always   map[Op]Hook
	made     map[Op]int
	delay    time.Duration
	thawed   chan struct{} // nil unless frozen; closed by Heal
	underWay map[*context.CancelCauseFunc]struct{}
}

var _ Faults = (*Calls)(nil)

// Interpose returns s with its calls passing through c.
func (c *Calls) Interpose(s driver.Store) driver.Store { return Interpose(s, c.pass) }

// request tells whether op is one of those that an operation on a queue
// consists of.
func request(op Op) bool {
	switch op {
	case OpJoin, OpResolve, OpWithdraw, OpWait, OpLook, OpUpdate, OpLeave, OpRead, OpWatch, OpList, OpSetLimit,
		OpBreak:
		return true
	}
	return false
}

// At applies hook to the n-th request from now.
func (c *Calls) At(n int, hook Hook) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.planned == nil {
		c.planned = map[int]Hook{}
	}
	c.planned[c.requests+n] = hook
}

// Clear forgets what At and LoseReply have planned and what has not come to
// pass, and returns how much that is.
func (c *Calls) Clear() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := len(c.planned)
	clear(c.planned)
	return left
}

// On applies hook to every call of op, until it is called with nil.
func (c *Calls) On(op Op, hook Hook) {
	c.mu.Lock()
	defer c.mu.Unlock()
	always := maps.Clone(c.always)
	if always == nil {
		always = map[Op]Hook{}
	}
	if hook == nil {
		delete(always, op)
	} else {
		always[op] = hook
	}
	c.always = always
}

// Made is the number of calls of op so far.
func (c *Calls) Made(op Op) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made[op]
}

// LoseReply implements Faults.
func (c *Calls) LoseReply(n int) { c.At(n, loseReply) }

// Delay implements Faults.
func (c *Calls) Delay(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay = d
}

// Freeze implements Faults.
func (c *Calls) Freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.thawed == nil {
		c.thawed = make(chan struct{})
	}
}

// Heal implements Faults.
func (c *Calls) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.thawed != nil {
		close(c.thawed)
		c.thawed = nil
	}
}

// Cut implements Faults.
func (c *Calls) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cancel := range c.underWay {
		(*cancel)(errCut)
	}
}

// Requests implements Faults.
func (c *Calls) Requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests
}

// pass is the hook through which every call goes.
func (c *Calls) pass(ctx context.Context, op Op, call func(context.Context) error) error {
	ctx, hook, end := c.begin(ctx, op)
	defer end()
	err := c.gate(ctx)
	if err == nil {
		err = hook(ctx, op, call)
		if late := c.holdBack(ctx, op); late != nil {
			err = late
		}
	}
	if errors.Is(context.Cause(ctx), errCut) {
		return errCut
	}
	return err
}

// begin registers a call and chooses the hook for it.
func (c *Calls) begin(ctx context.Context, op Op) (context.Context, Hook, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.underWay == nil {
		c.underWay, c.made = map[*context.CancelCauseFunc]struct{}{}, map[Op]int{}
	}
	c.underWay[&cancel] = struct{}{}
	end := func() {
		cancel(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.underWay, &cancel)
	}
	c.made[op]++
	hook := Hook(pass)
	if h, ok := c.always[op]; ok {
		hook = h
	}
	if request(op) {
		c.requests++
		if h, ok := c.planned[c.requests]; ok {
			delete(c.planned, c.requests)
			hook = h
		}
	}
	return ctx, hook, end
}

// gate waits until nothing is frozen.
func (c *Calls) gate(ctx context.Context) error {
	for {
		c.mu.Lock()
		thawed := c.thawed
		c.mu.Unlock()
		if thawed == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-thawed:
		}
	}
}

// holdBack keeps the reply for as long as it is delayed or frozen.
func (c *Calls) holdBack(ctx context.Context, op Op) error {
	c.mu.Lock()
	delay := c.delay
	c.mu.Unlock()
	if delay > 0 && op != OpWatch && op != OpDeliver && op != OpMarked {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	return c.gate(ctx)
}

// pass is the hook that does nothing.
func pass(ctx context.Context, _ Op, call func(context.Context) error) error { return call(ctx) }

// loseReply is the hook that makes the call and hides its outcome.
func loseReply(ctx context.Context, _ Op, call func(context.Context) error) error {
	_ = call(ctx) // whatever it was, nobody hears of it
	return errReplyLost
}

// loseRequest is the hook that makes no call.
func loseRequest(context.Context, Op, func(context.Context) error) error { return errRequestLost }
