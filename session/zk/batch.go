package zk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/go-zookeeper/zk"
)

const (
	// lanes is how many joins, or leaves, of a session may be under way before others
	// wait for them.
	lanes = 4

	// maxBatch bounds the joins, or leaves, of a batch.
	maxBatch = 64

	// maxBatchBytes bounds their bytes. A server hangs up on a request of more than its
	// jute.maxbuffer, 1 MB by default; the client library's own have up to 128 kB.
	maxBatchBytes = 64 << 10

	// overhead is what a member has of bytes beside its paths and data: less than that.
	overhead = 256
)

// A batcher groups commits. A join, or leave, that finds fewer than so many under way goes
// at once, as it is. Those that come meanwhile wait, and go together when one has been
// answered, in one transaction: one request, and one entry of the ensemble's log.
//
// The invariants:
//
//   - No batch has two of one queue: the token is the transaction's number, and two
//     entries of one queue would share it.
//   - Of those of a queue, one that came later is not sent earlier: where one still waits,
//     it goes when the next comes.
//   - A batch is of one session, and of either joins or leaves, as there is a batcher for
//     each. So that the session is there, at its epoch, is checked once. The epoch is read
//     before a member can be told that it does not wait any more: who gives it up then,
//     and moves the epoch on, rules the batch out.
//   - A batch that the server refuses, for whichever of its members, has had no effect.
//     Each of them is then sent alone, and is told what it meets there.
//   - Any other error leaves the outcome of each unknown, as where it had been alone.
//   - Whose context ends leaves at once, and the others go on. What still waits then is
//     never sent; and while there is no connection, nothing stops waiting.
//   - Where some wait, requests are under way, all of which end with the connection.
type batcher struct {
	c     *conn
	check func() any // the first operation of each batch; nil: there is none

	mu       sync.Mutex
	lanes    int
	underWay int
	waiting  []*member          // in the order in which they came
	of       map[string]*member // the same, by queue
}

// A member is a join, or leave, that waits for others.
type member struct {
	queue  string
	ops    []any
	size   int
	wanted func() error // nil once the check has been made: it may go; nil itself: always

	alone bool // it has its turn, on its own; guarded by the batcher's mutex until done

	done    chan struct{} // closed when it has its turn on its own, or there is an outcome
	answers []zk.MultiResponse
	err     error
}

// errUnsent is in the error of a request whose caller gave up before it was sent.
var errUnsent = errors.New("before it was sent")

// errRefused is the outcome of a member whose batch was refused.
var errRefused = errors.New("the transaction was refused")

// errGivenUp is the outcome of a join that nobody wants any more.
var errGivenUp = errors.New("the claim was given up meanwhile")

func newBatcher(c *conn, check func() any) *batcher {
	return &batcher{c: c, check: check, lanes: lanes, of: map[string]*member{}}
}

// do makes the operations of a join, or leave, in a queue together with others, if there
// are many, and returns the answers to them; else it calls alone. An error that Is
// errUnsent says that nothing was done, or ever will be.
func (b *batcher) do(ctx context.Context, queue string, size int, ops []any, wanted func() error, alone func() ([]zk.MultiResponse, error)) ([]zk.MultiResponse, error) {
	m := b.enter(queue, size, ops, wanted)
	if m == nil {
		defer b.exit()
		return alone()
	}
	select {
	case <-m.done:
	case <-ctx.Done():
		if b.forget(m) {
			return nil, fmt.Errorf("%w: %w", errUnsent, ctx.Err())
		}
		return nil, ctx.Err()
	}
	if m.alone {
		defer b.exit()
		return alone()
	}
	if m.err == errRefused {
		return alone()
	}
	return m.answers, m.err
}

// enter returns a member if the request has to wait; else it is under way, until exit.
func (b *batcher) enter(queue string, size int, ops []any, wanted func() error) *member {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.underWay < b.lanes {
		b.underWay++
		return nil
	}
	if before := b.of[queue]; before != nil {
		b.underWay++
		b.remove(before)
		before.goAlone()
	}
	m := &member{queue: queue, ops: ops, size: size, wanted: wanted, done: make(chan struct{})}
	b.of[queue] = m
	b.waiting = append(b.waiting, m)
	return m
}

// remove takes a member out of those that wait. b.mu is held.
func (b *batcher) remove(m *member) {
	delete(b.of, m.queue)
	i := slices.Index(b.waiting, m)
	b.waiting = slices.Delete(b.waiting, i, i+1)
}

// goAlone gives a member its turn, on its own. The batcher's mutex is held, and the request
// is counted as under way.
func (m *member) goAlone() {
	m.alone = true
	close(m.done)
}

// exit says that a request is not under way any more. Those that wait are next.
func (b *batcher) exit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next()
}

// next passes the turn of a request that is not under way any more on to those that
// wait. b.mu is held.
func (b *batcher) next() {
	if len(b.waiting) > 0 {
		go b.send()
	} else {
		b.underWay--
	}
}

// forget gives up on a member, and reports whether it was not sent and never will be.
func (b *batcher) forget(m *member) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.of[m.queue] == m:
		b.remove(m)
	case m.alone:
		b.next()
	default:
		return false
	}
	return true
}

// send sends a batch, in the context of none of its members: who has given up must not
// fail the others. They wait until there is a connection, or never will be, which the
// request then fails with.
func (b *batcher) send() {
	_ = b.c.reconnected(context.Background())
	members, ops := b.take()
	if len(members) == 0 {
		return
	}
	answers, failed, err := b.c.multi(context.Background(), ops...)
	if failed >= 0 {
		err = errRefused
	}
	if b.check != nil && err == nil {
		answers = answers[1:]
	}
	for _, m := range members {
		if m.err = err; err == nil {
			m.answers, answers = answers[:len(m.ops)], answers[len(m.ops):]
		}
		close(m.done)
	}
	b.exit()
}

// take takes a batch out of those that wait. One that would be its only member goes on
// its own instead.
func (b *batcher) take() (members []*member, ops []any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.check != nil {
		ops = append(ops, b.check())
	}
	b.waiting = slices.DeleteFunc(b.waiting, b.isUnwanted)
	n, size := 0, 0
	for n < min(len(b.waiting), maxBatch) {
		m := b.waiting[n]
		if size += m.size; size > maxBatchBytes && n > 0 {
			break
		}
		delete(b.of, m.queue)
		ops = append(ops, m.ops...)
		n++
	}
	members = slices.Clone(b.waiting[:n])
	b.waiting = slices.Delete(b.waiting, 0, n)
	switch len(members) {
	case 0:
		b.underWay--
	case 1:
		members[0].goAlone()
		return nil, nil
	}
	return members, ops
}

// isUnwanted tells a member that is not to be sent, and that member as well. b.mu is held.
func (b *batcher) isUnwanted(m *member) bool {
	if m.wanted == nil {
		return false
	}
	if m.err = m.wanted(); m.err == nil {
		return false
	}
	delete(b.of, m.queue)
	close(m.done)
	return true
}
