package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A lease is a key with an expiry. Every script that names it sees first whether it is
// there, and was begun under the present reign of the server.
type lease struct {
	s        *store
	id       string
	ttl      time.Duration
	identity string
	ear      *listener              // for what concerns the lease itself
	epoch    atomic.Pointer[string] // as joins tell it

	mu     sync.Mutex
	ended  bool                // it was revoked
	claims map[string]*claimed // by ID
}

// A claimed is a claim that has an entry, or may have.
type claimed struct {
	name    string
	idle    *waiting // nil while a Wait uses it
	refused bool     // its entry was told to leave, which may apply late
}

// Grant implements driver.Store. After a restart or a failover it waits until all that
// was held has expired.
func (s *store) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	const op = "begin a session"
	ttl := max(spec.TTL.Round(time.Millisecond), 10*time.Millisecond)
	l := &lease{s: s, id: randomID(), ttl: ttl, identity: spec.Identity, claims: map[string]*claimed{}}
	first := "0"
	l.epoch.Store(&first)
	for said := false; ; said = true {
		sent := time.Now()
		known := s.known.Load()
		r, err := s.runSafely(ctx, grantScript, l.id, milliseconds(ttl), spec.Identity, s.id, known.run, known.longest)
		if err != nil {
			return nil, time.Time{}, s.failed(ctx, op, err)
		}
		switch {
		case r.status == "ok" && len(r.rest) == 2:
			s.known.Store(&knowledge{r.rest[0], r.rest[1]})
			if known.run != "" && known.run != r.rest[0] {
				s.follow()
			}
			l.ear = s.inbox.listen(l.id)
			s.background(func() { s.sweep(s.ctx) }) // what it does not come to, a later one does
			return l, sent, nil
		case r.status == "quiet" && len(r.rest) == 2:
			ms, _ := strconv.ParseInt(r.rest[0], 10, 64)
			quiet := duration(ms)
			if !said && r.rest[1] == "0" {
				s.logger.Warn("fairlead: Redis was restarted, or another server is the primary now: nothing is granted until all that was held has expired",
					"server", s.where, "wait", quiet)
			}
			if sleep(ctx, quiet); ctx.Err() != nil {
				why := "was restarted, or has failed over, and nothing is granted until all that was held has expired"
				if r.rest[1] == "1" {
					why = "has no data of ours, and nothing is granted until those who might hold something have had time to say so"
				}
				return nil, time.Time{}, fmt.Errorf("%s: Redis at %s %s, for another %v: %w", op, s.where, why, quiet, ctx.Err())
			}
		default:
			return nil, time.Time{}, unexpected(op, r)
		}
	}
}

// follow has all connections lead to where the session is. Another server may be the primary
// now, of which the one before knows nothing: what it would tell nobody tells it any more.
func (s *store) follow() {
	s.inbox.reconnect()
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.lines
	s.lines = nil
	if len(lines) > 0 && !s.closed {
		s.work.Go(func() { closeAll(lines) })
	}
}

// randomID returns 64 random bits in hex.
func randomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// ID implements driver.Lease.
func (l *lease) ID() string { return l.id }

// TTL implements driver.Lease.
func (l *lease) TTL() time.Duration { return l.ttl }

// Lag implements driver.Lease.
func (l *lease) Lag() time.Duration { return 0 }

// Renew implements driver.Lease.
func (l *lease) Renew(ctx context.Context) error {
	return l.expect(ctx, "renew the session", renewScript, milliseconds(l.ttl))
}

// Check implements driver.Lease.
func (l *lease) Check(ctx context.Context) error {
	return l.expect(ctx, "check the session", renewScript, "0")
}

// expect runs a script of the session's that has nothing to tell but that it was done.
func (l *lease) expect(ctx context.Context, op string, sc script, args ...string) error {
	r, err := l.s.run(ctx, sc, append([]string{l.id}, args...)...)
	if err != nil {
		return l.s.failed(ctx, op, err)
	}
	if r.status != "ok" {
		return unexpected(op, r)
	}
	return nil
}

// Watch implements driver.Lease. Who ends the session through its own script tells so,
// and who leaves a mark; who deletes its key does not.
//
// A server that has lost its data grants nothing for as long as it takes those who held to
// ask here, so it goes on asking while there is no answer, and does not leave when to the caller.
func (l *lease) Watch(ctx context.Context, marked func()) error {
	const op = "watch the session"
	for {
		next := min(l.ttl/4, time.Second)
		renewed := l.s.inbox.next()
		r, err := l.s.run(ctx, renewScript, l.id, "0")
		switch {
		case err != nil:
			if err = l.s.failed(ctx, op, err); ctx.Err() != nil || driver.IsPermanent(err) {
				return err
			}
			next = min(next, askAgain)
		case r.status != "ok":
			return unexpected(op, r)
		case len(r.rest) > 0:
			marked()
		}
		if err := l.pause(ctx, next, renewed); err != nil {
			return err
		}
	}
}

// askAgain is when a session is asked for again of which there was no answer.
const askAgain = 250 * time.Millisecond

// pause waits until something may have become of the session, or for so long.
func (l *lease) pause(ctx context.Context, d time.Duration, renewed <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-l.ear.notes:
		for said := true; said; { // whatever it is, we ask
			_, said = l.ear.get()
		}
	case <-renewed: // somebody may have told so meanwhile
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Revoke implements driver.Lease.
func (l *lease) Revoke(ctx context.Context) error {
	const op = "end the session"
	r, err := l.s.run(ctx, revokeScript, append([]string{l.id}, l.names()...)...)
	if err != nil {
		return l.s.failed(ctx, op, err)
	}
	if r.status != "ok" {
		return unexpected(op, r)
	}
	l.s.inbox.ignore(l.ear)
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	for _, id := range l.ids() {
		l.drop(id)
	}
	return nil
}

// Entries implements driver.Lease.
func (l *lease) Entries(ctx context.Context) ([]driver.Entry, error) {
	const op = "list the session's entries"
	r, err := l.s.run(ctx, entriesScript, l.id)
	if err != nil {
		return nil, l.s.failed(ctx, op, err)
	}
	if r.status != "ok" {
		return nil, unexpected(op, r)
	}
	var entries []driver.Entry
	for words := r.rest; len(words) >= 4; words = words[4:] {
		e, err := l.s.decodeEntry(words[0], words[1], words[2], words[3])
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// claim records that a claim may have an entry.
func (l *lease) claim(name, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.claims[id]; !ok && !l.ended {
		l.claims[id] = &claimed{name: name, idle: &waiting{ear: l.s.inbox.listen(id)}}
	}
}

// refuse notes that the entry of a claim is about to be told to leave.
func (l *lease) refuse(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.claims[id]; c != nil {
		c.refused = true
	}
}

func (l *lease) isRefused(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.claims[id]
	return c != nil && c.refused
}

// drop forgets a claim that has no entry and never will have one.
func (l *lease) drop(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.claims[id]; c != nil && c.idle != nil {
		l.s.inbox.ignore(c.idle.ear)
	}
	delete(l.claims, id)
}

// take takes what is needed to wait: what has been listening since the entry was made
// or, if that is in use, something new.
func (l *lease) take(id string) *waiting {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.claims[id]; c != nil && c.idle != nil {
		w := c.idle
		c.idle = nil
		return w
	}
	return &waiting{ear: l.s.inbox.listen(id)}
}

// give gives it back.
func (l *lease) give(id string, w *waiting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.claims[id]; c != nil && c.idle == nil {
		c.idle = w
		return
	}
	l.s.inbox.ignore(w.ear)
}

// names lists the queues where there are entries, or may be.
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

func (l *lease) ids() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for id := range l.claims {
		ids = append(ids, id)
	}
	return ids
}
