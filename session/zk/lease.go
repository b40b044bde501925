package zk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A lease is a session of ZooKeeper's, with a node of its own. The version of that
// node's data is the epoch: every Join is guarded on it, and Resolve moves it on,
// so that no Join from before a Resolve can apply after it.
type lease struct {
	s        *store
	c        *conn
	id       string
	ttl      time.Duration
	identity string
	epoch    atomic.Int32
	fences   shared
	joins    *batcher
	leaves   *batcher
	idle     *time.Timer           // since the last renewal
	unmarked atomic.Pointer[watch] // on the session's node, when that had no marks

	mu     sync.Mutex
	claims map[string]*claimed // by ID
	left   map[string]*passing // how it last passed on a queue, by its name; only the latest of them
}

// A passing is when a session was last the first of a queue and left it, and what it has seen
// there since.
type passing struct {
	at       time.Time
	stranger bool // the nearest ahead was another program's, which leaves no word
}

// A claimed is a claim that has an entry, or may have.
type claimed struct {
	name    string
	limited bool   // the queue has a limit
	unsent  bool   // the entry was never asked for
	givenUp bool   // nobody wants the outcome of the Join that may still be under way
	path    string // "" until the entry is known to have been made
	token   uint64
	first   bool // the entry is the first of its queue
	behind  bool // and was not the last then

	following *following // nil: it looks when it may be its turn
}

// Grant implements driver.Store.
func (s *store) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	const op = "begin a session"
	sent := time.Now() // the leader counts from when it makes the session, later than this
	timeout := s.timeout
	if spec.TTL > 0 {
		timeout = spec.TTL
	}
	c, err := s.connect(ctx, timeout)
	if err != nil {
		return nil, time.Time{}, s.failed(ctx, op, err)
	}
	id, _, ttl := c.session()
	l := &lease{
		s: s, c: c, id: leaseID(id), ttl: ttl, identity: spec.Identity,
		claims: map[string]*claimed{}, left: map[string]*passing{},
	}
	l.joins = newBatcher(c, func() any { return &zk.CheckVersionRequest{Path: s.sessionPath(l.id), Version: l.epoch.Load()} })
	l.leaves = newBatcher(c, nil)
	l.idle = time.AfterFunc(ttl, func() {
		c.gate.pause(ttl + ttl/4) // a server may count some time more
		l.rewind(3 * ttl)
	})
	context.AfterFunc(c.life, func() { l.idle.Stop() })
	if err := l.settle(ctx); err != nil {
		s.work.Go(func() {
			ctx, cancel := context.WithTimeout(s.ctx, ttl)
			defer cancel()
			_ = l.Revoke(ctx)
			s.forget(c)
		})
		return nil, time.Time{}, l.failed(ctx, op, err)
	}
	s.learn(l.id, l.identity)
	s.work.Go(func() { _ = s.sweep(s.ctx, c) }) // what it does not come to, a later one does
	return l, sent, nil
}

// settle makes the session's node.
func (l *lease) settle(ctx context.Context) error {
	dir, path := l.s.root+sessions, l.s.sessionPath(l.id)
	err := l.s.withDir(ctx, l.c, dir, func() error {
		_, err := call(ctx, l.c, func() (string, error) {
			return l.c.Create(path, sessionRecord{Identity: l.identity}.encode(), zk.FlagEphemeral, l.s.acl)
		})
		return err
	})
	if errors.Is(err, zk.ErrNodeExists) { // the reply to an earlier attempt was lost
		err = nil
	}
	return err
}

// ID implements driver.Lease.
func (l *lease) ID() string { return l.id }

// TTL implements driver.Lease.
func (l *lease) TTL() time.Duration { return l.ttl }

// Lag implements driver.Lease. A follower tells the leader whom it has heard of
// twice a tick, in order with everything else that it sends there. So what the
// leader has answered for it proves that it has told of what came half a tick
// before. Timeouts are two ticks at least, unless a server is configured to grant
// less.
func (l *lease) Lag() time.Duration { return l.ttl/4 + 50*time.Millisecond }

// Renew implements driver.Lease. Any request prolongs the session; this is one that
// the leader has to answer: a follower that has lost it does not know yet, and
// would answer others.
//
// The library sends pings, whether or not anybody still wants the session. So where
// nobody renews it, the connection is dropped for as long as the session needs to
// expire.
func (l *lease) Renew(ctx context.Context) error {
	err := l.prompt(ctx, l.ttl/4, l.c.sync)
	if err == nil {
		l.rewind(l.ttl)
	}
	return l.failed(ctx, "renew the session", err)
}

// rewind has the session left to expire in so long, unless it is renewed. What stops the
// timer when the session ends may have run already: so this looks when the timer is set.
func (l *lease) rewind(d time.Duration) {
	l.idle.Reset(d)
	if l.c.life.Err() != nil {
		l.idle.Stop()
	}
}

// prompt is that of the connection, on a session that has its TTL. Another server may have
// granted it less, as it has bounds of its own. Then it expires sooner than those believe
// who hold something, so for us it is over, while all of the shorter timeout is still to
// come; at the ensemble it ends with Revoke.
func (l *lease) prompt(ctx context.Context, limit time.Duration, f func(ctx context.Context) error) error {
	err := l.c.prompt(ctx, limit, func(ctx context.Context) error {
		if l.isCurtailed() { // known since the reconnection, though nothing may be answered any more
			return driver.ErrLeaseGone
		}
		return f(ctx)
	})
	if l.isCurtailed() {
		return driver.ErrLeaseGone
	}
	return err
}

// isCurtailed tells that the session's timeout has become shorter than the TTL.
func (l *lease) isCurtailed() bool {
	_, _, timeout := l.c.session()
	return timeout < l.ttl
}

// Check implements driver.Lease.
func (l *lease) Check(ctx context.Context) error {
	const op = "check the session"
	if err := l.c.catchUp(ctx); err != nil {
		return l.failed(ctx, op, err)
	}
	_, err := l.c.exists(ctx, l.s.sessionPath(l.id))
	if errors.Is(err, zk.ErrNoNode) || l.isCurtailed() {
		return fmt.Errorf("%s: %w", op, driver.ErrLeaseGone)
	}
	return l.failed(ctx, op, err)
}

// Watch implements driver.Lease. It looks at the session's timeout and its node after each
// reconnection, and expects an answer soon: a session that was closed while the
// connection was being made may have been left without a word. Whether the node has
// marks, whoever asks for them sees.
func (l *lease) Watch(ctx context.Context, marked func()) error {
	const op = "watch the session"
	first := min(l.ttl/6, time.Second)
	for limit := first; ; {
		var n node
		var w *watch
		err := l.prompt(ctx, limit, func(ctx context.Context) (err error) {
			n, w, err = l.c.existsW(ctx, l.s.sessionPath(l.id))
			return err
		})
		if err == nil && n.stat == nil {
			return fmt.Errorf("%s: %w", op, driver.ErrLeaseGone)
		}
		if err == nil {
			if n.stat.Version > 0 { // somebody has set it: us, or who has left a mark
				marked()
			} else {
				l.unmarked.Store(w)
			}
			limit = first
			err = l.listen(ctx, w)
		}
		if isLoss(err) {
			limit = min(2*limit, l.ttl/3) // it may just be slow
			err = l.c.reconnected(ctx)
		}
		if err != nil {
			return l.failed(ctx, op, err)
		}
	}
}

// listen waits for the watch to fire. Now and then it asks whether the server still
// knows the session.
func (l *lease) listen(ctx context.Context, w *watch) error {
	ask := time.NewTicker(l.ttl / 4)
	defer ask.Stop()
	for {
		select {
		case <-w.fired:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-l.c.gone:
			return errGone
		case <-ask.C:
		}
		if err := l.prompt(ctx, l.ttl/3, l.c.sync); err != nil {
			return err
		}
	}
}

// Revoke implements driver.Lease. It closes the session, on a connection of its
// own, as the library's way to do that does not tell whether it has happened.
func (l *lease) Revoke(ctx context.Context) error {
	const op = "close the session"
	id, passwd, timeout := l.c.session()
	if !l.c.isGone() {
		l.c.gate.shut() // or the library would take the session back in between
		if err := l.closeAnywhere(ctx, id, passwd, timeout); err != nil {
			return l.s.failed(ctx, op, err)
		}
	}
	l.s.forget(l.c)
	return l.tidyAll(ctx)
}

func (l *lease) closeAnywhere(ctx context.Context, id int64, passwd []byte, timeout time.Duration) (err error) {
	each := max(timeout/3, 100*time.Millisecond)
	for _, addr := range l.s.servers {
		attempt, cancel := context.WithTimeout(ctx, each)
		err = closeSession(attempt, l.s.dial, addr, id, passwd, timeout)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// tidyAll removes the limits of queues that held nothing but entries of this lease.
func (l *lease) tidyAll(ctx context.Context) error {
	l.mu.Lock()
	var names []string
	for _, c := range l.claims {
		if c.limited && !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
	}
	l.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	c, err := l.s.reading(ctx)
	if err == nil {
		err = c.catchUp(ctx) // this server may not know yet that the session has ended
	}
	if err != nil {
		return l.s.failed(ctx, "tidy up after the session", err)
	}
	for _, name := range names {
		if err := l.s.tidy(ctx, c, name); err != nil {
			return l.s.failed(ctx, "tidy up queue "+quoted(name), err)
		}
	}
	return nil
}

// Entries implements driver.Lease. ZooKeeper does not say what belongs to a session,
// so the queues are looked at in which this one has or may have entries.
func (l *lease) Entries(ctx context.Context) ([]driver.Entry, error) {
	const op = "list the session's entries"
	var entries []driver.Entry
	for _, name := range l.names() {
		list, err := l.c.children(ctx, l.s.queueDir(name))
		if errors.Is(err, zk.ErrNoNode) {
			continue
		}
		if err != nil {
			return nil, l.failed(ctx, op, err)
		}
		for _, p := range l.s.places(name, list.names) {
			if l.knows(p.id) {
				path := l.s.queueDir(name) + "/" + p.name
				entries = append(entries, driver.Entry{Name: name, Key: path, ID: p.id, Lease: l.id, Mode: p.mode})
			}
		}
	}
	return entries, nil
}

func (l *lease) names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for _, c := range l.claims {
		names = append(names, c.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (l *lease) knows(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.claims[id]
	return ok
}

// claim records that a claim may have an entry. A record of one that was given up stays
// with the Join that was for it.
func (l *lease) claim(c driver.Claim) *claimed {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.claims[c.ID]
	if !ok || known.givenUp {
		known = &claimed{name: c.Name, limited: c.Limit > 0}
		l.claims[c.ID] = known
	}
	known.unsent = false
	return known
}

// unsent records that the entry of a claim was not asked for after all.
func (l *lease) unsent(c *claimed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.unsent = true
}

// giveUp has a Join of the claim that is still under way not try again, once the epoch has
// been moved on. It forgets a claim whose entry was never asked for, and reports whether it
// is one.
func (l *lease) giveUp(id string) (unsent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.claims[id]
	if ok && c.unsent {
		delete(l.claims, id)
		return true
	}
	if ok {
		c.givenUp = true
	}
	return false
}

// wanted is nil while a Join is to make an entry for the claim. Who asks has read the
// epoch before: if the claim is given up after that, the Join does not apply.
func (l *lease) wanted(c *claimed) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.givenUp {
		return errGivenUp
	}
	return nil
}

func (l *lease) made(id, path string, token uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.claims[id]; ok {
		c.path, c.token = path, token
	}
}

// drop forgets a claim that has no entry and never will have one.
func (l *lease) drop(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.claims, id)
}

const (
	// maxLeft bounds the queues that are remembered as having been left.
	maxLeft = 100

	// soon is how quickly one comes back to a queue that changes hands all the time.
	soon = 100 * time.Millisecond
)

// hasLeft forgets the claim of an entry that has left, and when one did that was the first
// of its queue.
func (l *lease) hasLeft(e driver.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.claims[e.ID]; ok && c.first {
		l.passOn(e.Name)
	}
	delete(l.claims, e.ID)
}

// passOn records that the session has passed a queue on. l.mu is held.
func (l *lease) passOn(name string) {
	if p, ok := l.left[name]; ok {
		p.at = time.Now()
		return
	}
	if len(l.left) == maxLeft {
		clear(l.left)
	}
	l.left[name] = &passing{at: time.Now()}
}

// isBack tells that the session has just passed the queue on, and that whom it was behind the
// last time was one of ours.
func (l *lease) isBack(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.left[name]
	return ok && time.Since(p.at) < soon && !p.stranger
}

// sawAhead records behind whom an exclusive entry is.
func (l *lease) sawAhead(name string, e driver.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, ok := l.left[name]; ok {
		p.stranger = e.Kind == ""
	}
}
