package postgres

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A store is a namespace of a database.
type store struct {
	pool     *pgxpool.Pool
	own      bool   // the pool is ours
	ns       string // the schema
	where    string // the hosts, for errors
	sql      statements
	timeout  time.Duration // of each request
	poll     time.Duration // 0: listen
	mode     []any         // of requests
	prepares bool          // the pool prepares statements, and keeps them
	lenient  bool          // TLS need not come about
	logger   *slog.Logger
	release  func() // of the pool, where it is ours

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines, which end with ctx

	// lanes are held by requests, but by none that keeps a lease: there is always
	// a connection for those, however many want to join.
	lanes chan struct{}

	// explicit says that transactions of this user or database are not READ
	// COMMITTED unless one says so.
	explicit atomic.Bool

	joins, leaves *gathering
	crowds        crowds

	hub *hub

	unheard atomic.Int64 // waits that ended by a look, without a message

	mu      sync.Mutex
	closed  bool
	swept   time.Time // when sweep was called last
	leases  map[int64]*lease
	telling map[news]struct{} // about to be sent
}

// Backend implements driver.Store.
func (s *store) Backend() string { return "postgres" }

// Close implements driver.Store.
func (s *store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.release()
	s.work.Wait()
	return nil
}

// background runs f, which ends with s.ctx, and reports true; unless the store is closed.
func (s *store) background(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.work.Go(f)
	}
	return !s.closed
}

// request bounds a request.
func (s *store) request(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// A priority tells whether a request may take the last connection.
type priority bool

const (
	ordinary priority = false
	vital    priority = true // the lease depends on it
)

// A request is a call of one of the functions, in one statement, and so in a transaction
// of its own.
type request struct {
	sql  string
	args []any
	mode []any    // how it is sent, if not in the way of the pool: as pgx takes it, before the arguments
	then *request // sent along, for the transaction after that; its answer follows the other
}

// query makes a request and reads the rows of the answer. ctx is the caller's.
func (s *store) query(ctx context.Context, p priority, sql string, args []any, read func(pgx.Rows) error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	leave := func() {}
	r := request{sql: sql, args: args, mode: s.mode}
	if p == ordinary {
		if err := s.enter(ctx); err != nil {
			return err
		}
		leave = s.leave
	} else { // preparing a statement would cost a round trip, where those take long
		r.mode = []any{pgx.QueryExecModeExec}
	}
	return s.within(ctx, leave, r, read)
}

// within makes a request that has a lane, if it needs one, and leaves it.
func (s *store) within(ctx context.Context, leave func(), r request, read func(pgx.Rows) error) error {
	err := s.apart(ctx, leave, read, func(ctx context.Context, read func(pgx.Rows) error) error {
		return s.try(ctx, r, read)
	})
	s.learn(ctx, err)
	return err
}

// try makes a request, in a transaction that says what it needs if it turns out that
// one has to.
func (s *store) try(ctx context.Context, r request, read func(pgx.Rows) error) error {
	explicit := s.explicit.Load()
	err := s.attempt(ctx, explicit, r, read)
	if codeOf(err) == stateIsolation && !explicit {
		s.explicit.Store(true)
		err = s.attempt(ctx, true, r, read)
	}
	return err
}

// learn takes from what a request ended with what that means for others.
func (s *store) learn(ctx context.Context, err error) {
	switch {
	case err == nil || ctx.Err() != nil || isOverdue(err):
	case isDeparted(err):
		s.hub.reconnect()
		fallthrough
	case serversError(err) == nil:
		// Where one connection has ended others may have: the server was restarted, or
		// is not the primary any more. One of us finds out, and the next request has a
		// fresh one.
		if s.own {
			s.pool.Reset()
		}
	}
}

// leave gives up a lane.
func (s *store) leave() { <-s.lanes }

// enter waits for a lane.
func (s *store) enter(ctx context.Context) error {
	limited, cancel := s.request(ctx)
	defer cancel()
	select {
	case s.lanes <- struct{}{}:
		return nil
	case <-limited.Done():
		return s.refusal(ctx)
	}
}

// refusal is why a request was not made that waited for a lane.
func (s *store) refusal(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.ctx.Err() != nil:
		return errClosed
	}
	return errCrowded
}

// acquire takes a connection out of the pool, and makes one if there is none.
func (s *store) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	ctx, cancel := s.request(ctx)
	defer cancel()
	return s.pool.Acquire(ctx)
}

// attempt makes the request once.
func (s *store) attempt(ctx context.Context, explicit bool, r request, read func(pgx.Rows) error) error {
	// What it takes to connect does not count: a connection that is given up for it
	// would have to be made again, and again.
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	if isStandby(c.Conn().PgConn()) { // what it does not know may be there all the same
		return errors.Join(errReadOnly, hangUp(c.Conn()))
	}
	ctx, cancel := s.request(ctx)
	defer cancel()
	if explicit {
		err = s.transact(ctx, c, r, read)
	} else {
		err = s.call(ctx, c, r, read)
	}
	if isDeparted(err) || codeOf(err) == stateNoStatement { // nobody else gets this one out of the pool
		_ = hangUp(c.Conn())
	}
	return err
}

// apart makes a request that outlives its caller's interest: pgx closes the connection of
// one that is given up, and where answers take long, it takes many of them to make
// another. So a request ends when it is answered or overdue, and the caller's wait for it
// when ctx does. It calls leave when the request is over: until then it has a connection.
func (s *store) apart(ctx context.Context, leave func(), read func(pgx.Rows) error, request func(ctx context.Context, read func(pgx.Rows) error) error) error {
	var mu sync.Mutex // held while read is called, which is the caller's
	left := false
	done := make(chan error, 1)
	started := s.background(func() {
		defer leave()
		done <- request(s.ctx, func(r pgx.Rows) error {
			mu.Lock()
			defer mu.Unlock()
			if left {
				return nil
			}
			return read(r)
		})
	})
	if !started {
		leave()
		return errClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		mu.Lock()
		defer mu.Unlock()
		left = true
		return ctx.Err()
	}
}

// call makes the request, and what goes with it, in one round trip where the pool prepares
// its statements.
func (s *store) call(ctx context.Context, c *pgxpool.Conn, r request, read func(pgx.Rows) error) error {
	if r.then != nil && s.prepares {
		return pipeline(ctx, c.Conn(), r, read)
	}
	rows, err := c.Query(ctx, r.sql, slices.Concat(r.mode, r.args)...)
	if err == nil {
		err = readAll(rows, read)
	}
	if err == nil && r.then != nil {
		err = s.call(ctx, c, *r.then, read)
	}
	return err
}

func readAll(rows pgx.Rows, read func(pgx.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := read(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// pipeline sends a request and what goes with it at once. Each is a transaction of its own:
// the first is committed before the second begins.
func pipeline(ctx context.Context, c *pgx.Conn, r request, read func(pgx.Rows) error) (err error) {
	statements := [2]*pgconn.StatementDescription{}
	queries := [2]pgx.ExtendedQueryBuilder{}
	for i, one := range []*request{&r, r.then} {
		if statements[i], err = c.Prepare(ctx, one.sql, one.sql); err != nil { // once a connection
			return err
		}
		if err := queries[i].Build(c.TypeMap(), statements[i], one.args); err != nil {
			return err
		}
	}
	p := c.PgConn().StartPipeline(ctx)
	defer func() {
		if closeErr := p.Close(); err == nil {
			err = closeErr
		}
	}()
	for i, q := range queries {
		p.SendQueryStatement(statements[i], q.ParamValues, q.ParamFormats, q.ResultFormats)
		p.SendPipelineSync()
	}
	if err := p.Flush(); err != nil {
		return err
	}
	for {
		results, err := p.GetResults()
		if err != nil {
			return err
		}
		switch results := results.(type) {
		case nil:
			return nil
		case *pgconn.ResultReader:
			if err := readAll(pgx.RowsFromResultReader(c.TypeMap(), results), read); err != nil {
				return err
			}
		}
	}
}

// notForLong has the server keep no lock for long, should we stop within a transaction.
const notForLong = "SET LOCAL idle_in_transaction_session_timeout = 5000"

// transact makes the request in a transaction that says what it needs, in one round
// trip where the pool's way to send statements will do: that is how a batch is sent.
func (s *store) transact(ctx context.Context, c *pgxpool.Conn, r request, read func(pgx.Rows) error) (err error) {
	if s.mode != nil {
		return s.transactStepwise(ctx, c, r, read)
	}
	var b pgx.Batch
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	b.Queue(notForLong)
	b.Queue(r.sql, r.args...)
	b.Queue("COMMIT")
	if r.then != nil {
		b.Queue(r.then.sql, r.then.args...)
	}
	results := c.SendBatch(ctx, &b)
	defer func() {
		if closeErr := results.Close(); err == nil {
			err = closeErr
		}
	}()
	for range 2 {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	if err := readNext(results, read); err != nil {
		return err
	}
	if _, err := results.Exec(); err != nil || r.then == nil {
		return err
	}
	return readNext(results, read)
}

// transactStepwise is transact for a pool whose way will not do.
func (s *store) transactStepwise(ctx context.Context, c *pgxpool.Conn, r request, read func(pgx.Rows) error) error {
	err := pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, notForLong); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, r.sql, slices.Concat(r.mode, r.args)...)
		if err != nil {
			return err
		}
		return readAll(rows, read)
	})
	if err == nil && r.then != nil {
		err = s.call(ctx, c, *r.then, read)
	}
	return err
}

func readNext(results pgx.BatchResults, read func(pgx.Rows) error) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	return readAll(rows, read)
}

// rows makes a request that is answered with rows.
func (s *store) rows(ctx context.Context, sql string, args ...any) ([]row, error) {
	var rows []row
	err := s.query(ctx, ordinary, sql, args, func(r pgx.Rows) error {
		rows = append(rows, row{})
		return rows[len(rows)-1].scan(r)
	})
	return rows, err
}

// value makes a request that is answered with one value.
func value[T any](ctx context.Context, s *store, p priority, sql string, args ...any) (v T, err error) {
	err = s.query(ctx, p, sql, args, func(r pgx.Rows) error { return r.Scan(&v) })
	return v, err
}

// run makes a request that is answered with nothing.
func (s *store) run(ctx context.Context, p priority, sql string, args ...any) error {
	return s.query(ctx, p, sql, args, func(pgx.Rows) error { return nil })
}

// alive makes a request until nothing is in its answer that has to be reaped first.
// What has expired and stays all the same, as its owner is just renewing it or has
// a guarded transaction open, is taken for alive.
func (s *store) alive(ctx context.Context, name string, ask func() ([]row, error)) ([]row, error) {
	for first := true; ; first = false {
		rows, err := ask()
		if err != nil || !slices.ContainsFunc(rows, func(r row) bool { return r.isOver(first) }) {
			return rows, err
		}
		if err := s.reap(ctx, []string{name}); err != nil {
			return nil, err
		}
	}
}

const (
	// maxReaped bounds the queues, and with them the locks, of one call.
	maxReaped = 32

	// maxSwept bounds the queues that are looked at unasked, and sweepInterval how often.
	maxSwept      = 8 * maxReaped
	sweepInterval = time.Minute
)

// reap ends the sessions that have expired and have entries in the queues, and
// removes what ended ones have left there. What they have left in other queues is
// removed in the background.
func (s *store) reap(ctx context.Context, queues []string) error {
	var others []string
	for part := range slices.Chunk(queues, maxReaped) {
		more, err := value[[]string](ctx, s, ordinary, s.sql.reap, part)
		if err != nil {
			return err
		}
		others = append(others, more...)
	}
	if len(others) > 0 {
		s.background(func() { _ = s.reap(s.ctx, others) })
	}
	return nil
}

// sweep removes some of what nobody may come across for long: when a store begins, and
// now and then when it takes another lease. Nothing depends on it.
func (s *store) sweep(ctx context.Context) {
	s.mu.Lock()
	due := time.Since(s.swept) > sweepInterval
	if due {
		s.swept = time.Now()
	}
	s.mu.Unlock()
	if !due {
		return
	}
	queues, err := value[[]string](ctx, s, ordinary, s.sql.sweep)
	for part := range slices.Chunk(queues[:min(len(queues), maxSwept)], maxReaped) {
		if err == nil {
			_, err = value[[]string](ctx, s, ordinary, s.sql.reap, part)
		}
	}
}

// Read implements driver.Store.
func (s *store) Read(ctx context.Context, name string, n int) (driver.Queue, error) {
	rows, err := s.alive(ctx, name, func() ([]row, error) { return s.rows(ctx, s.sql.read, name, int64(n)) })
	if err != nil {
		return driver.Queue{}, s.failed(ctx, "read queue "+quoted(name), err)
	}
	return s.queue(name, rows), nil
}

// List implements driver.Store.
func (s *store) List(ctx context.Context, prefix string) ([]driver.Queue, error) {
	queues, err := s.list(ctx, prefix)
	return queues, s.failed(ctx, "list queues under "+quoted(prefix), err)
}

func (s *store) list(ctx context.Context, prefix string) ([]driver.Queue, error) {
	rows, err := s.rows(ctx, s.sql.list, prefix)
	if err != nil {
		return nil, err
	}
	var over []string
	for _, r := range rows {
		if r.left <= 0 && (len(over) == 0 || over[len(over)-1] != r.queue) {
			over = append(over, r.queue)
		}
	}
	if len(over) > 0 {
		if err := s.reap(ctx, over); err != nil {
			return nil, err
		}
		if rows, err = s.rows(ctx, s.sql.list, prefix); err != nil {
			return nil, err
		}
		rows = slices.DeleteFunc(rows, func(r row) bool { return r.left < 0 }) // they ended this moment
	}
	var queues []driver.Queue
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].queue == rows[0].queue {
			n++
		}
		queues, rows = append(queues, s.queue(rows[0].queue, rows[:n])), rows[n:]
	}
	return queues, nil
}

// Identify implements driver.Store.
func (s *store) Identify(_ context.Context, e driver.Entry) (string, error) { return e.Identity, nil }

// News are what somebody is to be told of a queue: a change of the entry with the
// token, of the limit, or anything.
type news struct {
	name  string
	token int64
}

const (
	ofLimit int64 = 0
	ofQueue int64 = -1
)

// tell spreads news, in the background: a NOTIFY must not go in the transaction of
// the change itself. Closing the store ends that. Where it does not succeed, those concerned find
// out by themselves, later.
func (s *store) tell(name string, token int64) {
	n := news{name, token}
	s.mu.Lock()
	_, queued := s.telling[n]
	s.telling[n] = struct{}{}
	s.mu.Unlock()
	if queued {
		return
	}
	s.background(func() {
		pause := newPause()
		for range 5 {
			s.mu.Lock()
			delete(s.telling, n) // what is new from here on is told anew
			s.mu.Unlock()
			if s.run(s.ctx, ordinary, s.sql.tell, name, token) == nil || sleep(s.ctx, pause.NextBackOff()) != nil {
				return
			}
		}
		s.logger.Warn("fairlead: others could not be told of a change: they will see it late", "queue", name)
	})
}
