package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/session/driver"
)

const (
	// pingInterval is how often a connection that listens is asked for a sign of life
	// while it is silent.
	pingInterval = 5 * time.Second

	// selfTest bounds the wait for a message to oneself.
	selfTest = 3 * time.Second
)

// A mailbox is where messages about one thing come in: a claim, a session, a queue.
// They say no more than that something happened, so they are only counted.
type mailbox struct {
	mu      sync.Mutex
	heard   uint64        // messages so far
	changed chan struct{} // closed and replaced with each
	turn    bool          // nobody is ahead of the claim, and never will be
}

func newMailbox() *mailbox { return &mailbox{changed: make(chan struct{})} }

// state returns how many messages there were, and what is closed with the next.
func (m *mailbox) state() (heard uint64, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heard, m.changed
}

func (m *mailbox) isTurn() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.turn
}

func (m *mailbox) deliver(isTurn bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard++
	m.turn = m.turn || isTurn
	close(m.changed)
	m.changed = make(chan struct{})
}

// A hub keeps the one connection of a store that listens, and knows those who wait for
// what it hears. All messages for a store come on one channel, its inbox:
//
//	T CLAIM    your turn has come, nobody is ahead any more
//	L CLAIM    look: something happened to what you wait for, or to yourself
//	G SESSION  it was ended by hand, or somebody breaks an entry of it
//	O QUEUE    it has changed, for who looks on
//	H NONCE    a test
//
// without the spaces.
type hub struct {
	s     *store
	inbox string

	mu    sync.Mutex
	boxes map[string]*mailbox
	users map[string]int // of mailboxes that several share

	line atomic.Pointer[line] // nil while there is none
}

func newHub(s *store, inbox string) *hub {
	return &hub{s: s, inbox: inbox, boxes: map[string]*mailbox{}, users: map[string]int{}}
}

// inbox is the channel that the server is to send to; "" if we poll.
func (s *store) inbox() string {
	if s.poll > 0 {
		return ""
	}
	return s.hub.inbox
}

// Keys of mailboxes; that of a claim is its ID.
func sessionKey(id int64) string  { return "G" + strconv.FormatInt(id, 10) }
func queueKey(name string) string { return "O" + name }
func testKey(nonce string) string { return "H" + nonce }

// open returns the mailbox for what has that key, making it if need be.
func (h *hub) open(key string) *mailbox {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok := h.boxes[key]
	if !ok {
		m = newMailbox()
		h.boxes[key] = m
	}
	return m
}

func (h *hub) close(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.boxes, key)
}

// share returns a mailbox that others may use, too. With leave the last of them closes
// it, and calls last.
func (h *hub) share(key string) (m *mailbox, leave func(last func())) {
	h.mu.Lock()
	h.users[key]++
	h.mu.Unlock()
	return h.open(key), func(last func()) {
		h.mu.Lock()
		h.users[key]--
		left := h.users[key]
		if left == 0 {
			delete(h.users, key)
			delete(h.boxes, key)
		}
		h.mu.Unlock()
		if left == 0 {
			last()
		}
	}
}

// deliver delivers a message.
func (h *hub) deliver(payload string) {
	if payload == "" {
		return
	}
	key := payload
	if payload[0] == 'T' || payload[0] == 'L' {
		key = payload[1:]
	}
	h.mu.Lock()
	m := h.boxes[key]
	h.mu.Unlock()
	if m != nil {
		m.deliver(payload[0] == 'T')
	}
}

// alarm has everybody look: messages may have been lost.
func (h *hub) alarm() {
	h.mu.Lock()
	boxes := make([]*mailbox, 0, len(h.boxes))
	for _, m := range h.boxes {
		boxes = append(boxes, m)
	}
	h.mu.Unlock()
	for _, m := range boxes {
		m.deliver(false)
	}
}

// reconnect gives up the present line.
func (h *hub) reconnect() {
	if l := h.line.Load(); l != nil {
		l.hangUp(errors.New("the server is not the one to talk to any more"))
	}
}

// connect takes a connection of its own out of the pool, and listens unless we poll.
func (h *hub) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := h.s.request(ctx)
	defer cancel()
	pooled, err := h.s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	c := pooled.Hijack()
	if h.s.poll > 0 {
		return c, nil
	}
	const plain = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; LISTEN "
	if _, err := c.PgConn().Exec(ctx, plain+pgx.Identifier{h.inbox}.Sanitize()).ReadAll(); err != nil {
		return nil, errors.Join(err, hangUp(c))
	}
	return c, nil
}

// hangUp closes a connection, which may not answer any more.
func hangUp(c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	err := c.Close(ctx)
	select {
	case <-c.PgConn().CleanupDone():
	case <-ctx.Done():
	}
	return err
}

// run keeps a line, on c and, when that is lost, on another connection, until the
// store is closed.
func (h *hub) run(c *pgx.Conn) {
	pause := newPause()
	for first := true; ; first = false {
		if c != nil {
			if l, err := newLine(c, h.deliver); err == nil {
				h.line.Store(l)
				if !first {
					h.alarm() // once we listen: messages may have been lost
					h.s.background(h.s.tidy)
				}
				if h.serve(l) {
					pause.Reset()
				}
				h.line.Store(nil)
				if h.s.own { // what ended one connection may have ended all
					h.s.pool.Reset()
				}
			} else {
				_ = hangUp(c)
			}
		}
		if sleep(h.s.ctx, pause.NextBackOff()) != nil {
			return
		}
		var err error
		if c, err = h.connect(h.s.ctx); err != nil {
			c = nil
		}
	}
}

// serve runs a line until it is broken, or the store closed. It reports whether it
// has worked.
func (h *hub) serve(l *line) (worked bool) {
	defer context.AfterFunc(h.s.ctx, func() { l.hangUp(errClosed) })()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(l.listen)
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-l.broken:
			return worked
		case <-tick.C:
		}
		if h.ping(l) {
			worked = true
		} else {
			l.hangUp(errors.New("it does not answer"))
		}
	}
}

// ping reports whether the server answers, and still is the one to listen to. While the line
// is occupied, the questions under way do instead if they are answered in time. Their callers
// may be gone, so nobody else would find out.
func (h *hub) ping(l *line) bool {
	ctx, cancel := h.s.request(h.s.ctx)
	defer cancel()
	standby, err := l.ask(ctx, "SELECT pg_is_in_recovery()")
	if errors.Is(err, errOccupied) {
		return !l.isSilent(h.s.timeout)
	}
	return err == nil && standby == "f"
}

// ask asks on the line, if there is one that is not occupied. One that does not answer is given
// up.
func (h *hub) ask(ctx context.Context, sql string, args ...string) (text string, asked bool, err error) {
	l := h.line.Load()
	if l == nil {
		return "", false, nil
	}
	rctx, cancel := h.s.request(ctx)
	defer cancel()
	text, err = l.ask(rctx, sql, args...)
	if errors.Is(err, errOccupied) {
		return "", false, nil
	}
	if err != nil && rctx.Err() != nil && ctx.Err() == nil {
		l.hangUp(errors.New("it does not answer"))
	}
	return text, true, err
}

// tidy removes what a crash of the server may have brought back.
func (s *store) tidy() {
	s.mu.Lock()
	leases := make([]*lease, 0, len(s.leases))
	for _, l := range s.leases {
		leases = append(leases, l)
	}
	s.mu.Unlock()
	for _, l := range leases {
		l.tidy(s.ctx)
	}
}

// waitFor returns the next message, or an error when there is none within d. The
// connection outlives that.
func waitFor(ctx context.Context, c *pgx.Conn, d time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	n, err := c.WaitForNotification(ctx)
	if err != nil {
		return "", err
	}
	return n.Payload, nil
}

// probe sees whether a message that is sent on one connection arrives on another. A
// pooler that shares connections between transactions takes LISTEN and never delivers.
func (h *hub) probe(ctx context.Context, c *pgx.Conn) error {
	key := testKey(strings.TrimPrefix(h.inbox, inboxPrefix))
	if err := h.s.run(ctx, vital, "SELECT pg_notify($1, $2)", h.inbox, key); err != nil {
		return err
	}
	for deadline := time.Now().Add(selfTest); ; {
		payload, err := waitFor(ctx, c, time.Until(deadline))
		switch {
		case payload == key:
			return nil
		case err == nil:
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case c.IsClosed():
			return fmt.Errorf("the connection that listens was lost: %w", err)
		}
		break
	}
	if h.isPooled(ctx, c) {
		return driver.Permanent(fmt.Errorf("at %s is %s", h.s.where, aPooler))
	}
	return fmt.Errorf("a NOTIFY to ourselves did not arrive from PostgreSQL at %s within %v", h.s.where, selfTest)
}

// isPooled reports whether the other end of a connection is not the server itself: the
// process that serves us is not the one that greeted us.
func (h *hub) isPooled(ctx context.Context, c *pgx.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, h.s.timeout)
	defer cancel()
	results, err := c.PgConn().Exec(ctx, "SELECT pg_backend_pid()").ReadAll()
	return err == nil && len(results) == 1 && len(results[0].Rows) == 1 &&
		string(results[0].Rows[0][0]) != strconv.FormatUint(uint64(c.PgConn().PID()), 10)
}
