package postgres

import (
	"context"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
)

const (
	// maxBatch bounds the calls of one batch, and with them the queues that it keeps
	// locked until it is committed. A server has room for 64 locks a connection, by
	// default (max_locks_per_transaction), so that ours never take that of others.
	maxBatch = 32

	// maxBatchBytes bounds their arguments. The first one goes however long it is.
	maxBatchBytes = 256 << 10
)

// A gathering makes calls of one function that changes a queue: each on its own while
// there is a lane for it. Those that would have to wait for one are gathered, and go
// together with the next lane that is free, in one transaction.
//
// A batch never waits for a lock, and so is part of no deadlock: it has at most one
// call of each queue, and leaves out those whose queue is locked. They are made again,
// each on its own. So are all of a batch that the server has rejected, as nothing of it
// was done. Where the reply is lost all fail, as a single call does.
type gathering struct {
	s      *store
	one    func(args []any) request // one call
	many   string                   // the statement for several
	fields func(r *row) []any       // what a row of the answer is read into

	mu       sync.Mutex
	queues   []string // that have calls in waiting, each once: the next one's turn first
	waiting  map[string][]*gathered
	draining bool // somebody waits for a lane
}

// A gathered call is one that waits for a lane, or is under way with others.
type gathered struct {
	queue string
	args  []any

	taken, dropped bool // guarded by the gathering's mutex

	answered chan struct{} // closed when the following are set
	rows     []row
	alone    bool // it was not made, and is to be made on its own
	err      error
}

func newGathering(s *store, one func(args []any) request, many string, fields func(r *row) []any) *gathering {
	return &gathering{s: s, one: one, many: many, fields: fields, waiting: map[string][]*gathered{}}
}

// ask makes a call, of the queue, and returns the rows of the answer. It has to be
// short: should we stop while we are told, the server keeps the locks of all that go
// together until it has sent everything.
func (g *gathering) ask(ctx context.Context, queue string, args ...any) ([]row, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	select {
	case g.s.lanes <- struct{}{}:
		return g.call(ctx, args)
	default:
	}
	c := &gathered{queue: queue, args: args, answered: make(chan struct{})}
	if err := g.gather(ctx, c); err != nil {
		return nil, err
	}
	if !c.alone {
		return c.rows, nil
	}
	return g.askAlone(ctx, args...)
}

// askAlone is ask for a call that does not go with others.
func (g *gathering) askAlone(ctx context.Context, args ...any) ([]row, error) {
	if err := g.s.enter(ctx); err != nil {
		return nil, err
	}
	return g.call(ctx, args)
}

// call makes a call that has a lane.
func (g *gathering) call(ctx context.Context, args []any) (rows []row, err error) {
	err = g.s.within(ctx, g.s.leave, g.one(args), func(r pgx.Rows) error {
		rows = append(rows, row{})
		return r.Scan(g.fields(&rows[len(rows)-1])...)
	})
	return rows, err
}

// gather has a call made with others. It fails with ctx, and when there is no lane for
// long: then the call is not made any more, unless it was under way.
func (g *gathering) gather(ctx context.Context, c *gathered) error {
	patience, cancel := g.s.request(ctx)
	defer cancel()
	if !g.put(c) {
		return errClosed
	}
	select {
	case <-c.answered:
		return c.err
	case <-patience.Done():
	}
	if g.drop(c) {
		return g.s.refusal(ctx)
	}
	select {
	case <-c.answered:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// put enters a call, and sees to it that somebody waits for a lane.
func (g *gathering) put(c *gathered) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.draining {
		if !g.s.background(g.drain) {
			return false
		}
		g.draining = true
	}
	if len(g.waiting[c.queue]) == 0 {
		g.queues = append(g.queues, c.queue)
	}
	g.waiting[c.queue] = append(g.waiting[c.queue], c)
	return true
}

// drop reports whether a call that nobody waits for any more will not be made.
func (g *gathering) drop(c *gathered) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.dropped = !c.taken
	return c.dropped
}

// drain makes what is waiting, until nothing is.
func (g *gathering) drain() {
	for more := true; more; {
		select {
		case g.s.lanes <- struct{}{}:
		case <-g.s.ctx.Done(): // which those who wait see as well
			return
		}
		var calls []*gathered
		calls, more = g.take()
		send := func() {
			defer g.s.leave() // later than the answers: what they bring about is gathered, too
			g.send(calls)
		}
		if len(calls) == 0 {
			g.s.leave()
		} else if !g.s.background(send) {
			g.s.leave()
			finish(calls, errClosed)
			return
		}
	}
}

// take takes a batch, one call from each queue, and reports whether more are waiting. If
// not, whoever comes next has to see to a lane.
func (g *gathering) take() (calls []*gathered, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	size := 0
	for n := len(g.queues); n > 0 && len(calls) < maxBatch; n-- {
		queue := g.queues[0]
		waiting := slices.DeleteFunc(g.waiting[queue], func(c *gathered) bool { return c.dropped })
		if len(waiting) > 0 {
			c := waiting[0]
			if size += sizeOf(c.args); size > maxBatchBytes && len(calls) > 0 {
				g.waiting[queue] = waiting
				break
			}
			c.taken = true
			calls, waiting = append(calls, c), waiting[1:]
		}
		g.queues = g.queues[1:]
		if len(waiting) == 0 {
			delete(g.waiting, queue)
		} else {
			g.waiting[queue] = waiting
			g.queues = append(g.queues, queue)
		}
	}
	g.draining = len(g.queues) > 0
	return calls, g.draining
}

// send makes calls, in the context of none of their callers, and answers them.
func (g *gathering) send(calls []*gathered) {
	r := g.one(calls[0].args)
	if len(calls) > 1 {
		r = request{sql: g.many, args: columnsOf(calls), mode: g.s.mode}
	}
	answers := make([][]row, len(calls))
	err := g.s.try(g.s.ctx, r, func(rows pgx.Rows) error {
		var r row
		number := int64(1)
		fields := g.fields(&r)
		if len(calls) > 1 {
			fields = append([]any{&number}, fields...)
		}
		err := rows.Scan(fields...)
		if err == nil {
			answers[number-1] = append(answers[number-1], r)
		}
		return err
	})
	g.s.learn(g.s.ctx, err)
	rejected := isRejection(err)
	for i, c := range calls {
		c.rows = answers[i]
		c.alone = len(calls) > 1 && (rejected || err == nil && len(c.rows) == 0)
	}
	if rejected && len(calls) > 1 {
		err = nil
	}
	finish(calls, err)
}

// finish answers calls.
func finish(calls []*gathered, err error) {
	for _, c := range calls {
		c.err = err
		close(c.answered)
	}
}

// columnsOf are the arguments of calls as arrays.
func columnsOf(calls []*gathered) []any {
	columns := make([]any, len(calls[0].args))
	for i, arg := range calls[0].args {
		switch arg.(type) {
		case int64:
			columns[i] = columnOf[int64](calls, i)
		case string:
			columns[i] = columnOf[string](calls, i)
		case bool:
			columns[i] = columnOf[bool](calls, i)
		default:
			columns[i] = columnOf[[]byte](calls, i)
		}
	}
	return columns
}

func columnOf[T any](calls []*gathered, i int) []T {
	column := make([]T, len(calls))
	for n, c := range calls {
		column[n] = c.args[i].(T)
	}
	return column
}

func sizeOf(args []any) (size int) {
	for _, arg := range args {
		switch a := arg.(type) {
		case string:
			size += len(a)
		case []byte:
			size += len(a)
		}
	}
	return size
}
