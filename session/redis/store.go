package redis

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/fairlead-go/fairlead/session/driver"
)

const (
	// pageSize is how many names List reads at a time.
	pageSize = 500

	// maxSwept bounds the queues that a new session looks at.
	maxSwept = 20

	// reconnectInterval is how often connections to a replica are given up.
	reconnectInterval = time.Second
)

// A store is a connection to Redis: to one server, or to whichever is the primary.
type store struct {
	client   rueidis.Client
	where    string // the servers, for errors
	prefix   string // of all keys: "{namespace}:"
	guard    string // the key that every script is given
	id       string // of this connection, in hex
	timeout  time.Duration
	replicas int // that have to acknowledge
	logger   *slog.Logger
	conns    *connections // of the client; nil where it is not ours

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	inbox  *inbox
	known  atomic.Pointer[knowledge]
	queued atomic.Int64 // requests under way

	mu          sync.Mutex
	closed      bool           // no further work may start
	reconnected time.Time      // when a replica was last left
	lines       []line         // that are free
	turns       chan struct{}  // has room for those that there may be
	work        sync.WaitGroup // what goes on in the background, until ctx ends
}

// A knowledge is what a client tells a server that has lost its data.
type knowledge struct {
	run     string // of the server; "" while nothing is known
	longest string // TTL of a session there, in milliseconds
}

// background runs f in a goroutine that Close waits for, unless Close has begun.
func (s *store) background(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.work.Go(f)
	}
}

// Backend implements driver.Store.
func (s *store) Backend() string { return "redis" }

// Close implements driver.Store.
func (s *store) Close() error {
	s.mu.Lock()
	s.closed = true
	lines := s.lines
	s.lines = nil
	s.mu.Unlock()
	s.cancel()
	if s.conns != nil {
		s.conns.close()
	}
	closeAll(lines)
	s.work.Wait()
	if s.conns != nil {
		s.client.Close()
	}
	return nil
}

// Read implements driver.Store.
func (s *store) Read(ctx context.Context, name string, n int) (driver.Queue, error) {
	op := "read queue " + quoted(name)
	r, err := s.run(ctx, readScript, name, strconv.Itoa(n))
	if err != nil {
		return driver.Queue{}, s.failed(ctx, op, err)
	}
	return s.decodeQueue(op, name, r)
}

func (s *store) decodeQueue(op, name string, r reply) (q driver.Queue, err error) {
	if r.status != "ok" || len(r.rest) == 0 {
		return q, unexpected(op, r)
	}
	q.Name = name
	if q.Limit, err = decodeLimit(name, r.rest[0]); err != nil {
		return q, err
	}
	q.Entries, err = s.decodeEntries(name, r.rest[1:])
	return q, err
}

// Watch implements driver.Store. Nobody tells that a session has expired: where one of
// the queue could have, it is looked at again.
func (s *store) Watch(ctx context.Context, name string, f func(driver.Queue) error) error {
	o, stop := s.inbox.observe(name)
	defer stop()
	seen := ""
	for {
		changed := s.inbox.change(o)
		q, err := s.Read(ctx, name, 0)
		if err != nil {
			return err
		}
		if state := summary(q); state != seen {
			seen = state
			if err := f(q); err != nil {
				return err
			}
		}
		if err := s.pause(ctx, changed, q); err != nil {
			return err
		}
	}
}

// summary is different for queues that are.
func summary(q driver.Queue) string {
	text := fmt.Sprint("limit ", q.Limit.Version)
	for _, e := range q.Entries {
		text += fmt.Sprint(" ", e.Token, " ", e.Version)
	}
	return text
}

// pause waits until the queue has changed, or may have.
func (s *store) pause(ctx context.Context, changed <-chan struct{}, q driver.Queue) error {
	next := s.timeout
	for _, e := range q.Entries {
		next = min(next, e.TTLLeft)
	}
	t := time.NewTimer(max(next, 10*time.Millisecond))
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return driver.Permanent(fmt.Errorf("watch queue %q: the connection to Redis is closed", q.Name))
	}
	return nil
}

// SetLimit implements driver.Store.
func (s *store) SetLimit(ctx context.Context, name string, from, to driver.Limit) error {
	op := "set the limit of queue " + quoted(name)
	stamp := "0"
	if to.Stamp {
		stamp = "1"
	}
	r, err := s.runSafely(ctx, resizeScript, name, fmt.Sprint(from.Version), fmt.Sprint(to.N), fmt.Sprint(to.Through), stamp)
	switch {
	case err != nil:
		return s.failed(ctx, op, err)
	case r.status == "conflict":
		return fmt.Errorf("%s: %w", op, driver.ErrConflict)
	case r.status != "ok":
		return unexpected(op, r)
	}
	return nil
}

// List implements driver.Store.
func (s *store) List(ctx context.Context, prefix string) ([]driver.Queue, error) {
	const op = "list queues"
	var queues []driver.Queue
	for after := ""; ; {
		names, err := s.names(ctx, prefix, after)
		if err != nil {
			return nil, s.failed(ctx, op, err)
		}
		for _, name := range names {
			q, err := s.Read(ctx, name, 0)
			if err != nil {
				return nil, err
			}
			if len(q.Entries) > 0 {
				queues = append(queues, q)
			}
			after = name
		}
		if len(names) < pageSize {
			return queues, nil
		}
	}
}

func (s *store) names(ctx context.Context, prefix, after string) ([]string, error) {
	r, err := s.run(ctx, namesScript, prefix, after, strconv.Itoa(pageSize))
	if err != nil || r.status == "" {
		return nil, err
	}
	return append([]string{r.status}, r.rest...), nil
}

// sweep looks at some queues, others each time, for what sessions that are over have
// left: queues that nobody uses any more nobody else looks at.
func (s *store) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	names, err := s.client.Do(ctx, s.client.B().Zrandmember().Key(s.prefix+"names").Count(maxSwept).Build()).AsStrSlice()
	for _, name := range names {
		if err == nil {
			_, err = s.Read(ctx, name, 1)
		}
	}
}

// Identify implements driver.Store. Every entry tells its owner's.
func (s *store) Identify(_ context.Context, e driver.Entry) (string, error) { return e.Identity, nil }
