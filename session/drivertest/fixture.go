package drivertest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

const (
	// patience is how long the suite waits for what has to happen, unless the
	// backend says otherwise.
	patience = 20 * time.Second

	// prompt is how long a call may take to return after its context ended.
	prompt = 2 * time.Second

	// moment is how long the suite watches that something does not happen.
	moment = 50 * time.Millisecond

	// longTTL is for sessions whose lease is not to run out by itself.
	longTTL = 30 * time.Second
)

// A fixture is what one case runs in: a store, sessions on it, and names of
// its own.
type fixture struct {
	TB
	b      Backend
	prefix string

	patience time.Duration
	ctx      context.Context // of everything that the case calls
	admin    driver.Store    // a connection to which nothing happens
	jobs     sync.WaitGroup

	helper *peer // see free
}

func newFixture(tb TB, b Backend, name string) *fixture {
	f := &fixture{TB: tb, b: b, prefix: "conformance/" + name + "-" + randomHex(4), patience: b.patience}
	if f.patience == 0 {
		f.patience = patience
	}
	f.admin = b.Connect(tb, nil)
	tb.Cleanup(func() {
		if err := f.admin.Close(); err != nil {
			tb.Errorf("close the admin's connection: %v", err)
		}
	})
	// Sessions are closed by then: clean-ups run in reverse order.
	tb.Cleanup(f.nothingLeft)
	ctx, cancel := context.WithTimeout(tb.Context(), 3*f.patience)
	f.ctx = ctx
	tb.Cleanup(func() {
		cancel()
		f.jobs.Wait()
	})
	return f
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// name returns a queue's name that no other case uses.
func (f *fixture) name(part string) string { return f.prefix + "/" + part }

// nothingLeft checks guarantee 6: when sessions are closed, nothing is left.
func (f *fixture) nothingLeft() {
	if f.Failed() {
		return // the first failure tells more
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.patience)
	defer cancel()
	err := poll(ctx, func() error {
		queues, err := f.admin.List(ctx, f.prefix)
		for _, q := range queues {
			err = fmt.Errorf("all sessions are closed and in %q is left %s", q.Name, brief(q.Entries))
		}
		return err
	})
	if err != nil {
		f.Errorf("%v", err)
	}
}

// A peer is a session with its faults.
type peer struct {
	*session.Session
	f     *fixture
	calls *Calls
	link  *Link  // nil unless the backend is networked
	fault Faults // the link where there is one, else the calls

	mu    sync.Mutex
	lease driver.Lease // the latest
}

// open opens a session whose lease does not run out by itself.
func (f *fixture) open(identity string) *peer {
	f.Helper()
	return f.openWith(&session.Options{TTL: longTTL, Identity: identity})
}

// openShort opens a session whose lease runs out soon when it is not renewed.
func (f *fixture) openShort(identity string) *peer {
	f.Helper()
	return f.openWith(&session.Options{TTL: f.shortTTL(), Identity: identity})
}

// shortTTL leaves a machine under load the time to renew.
func (f *fixture) shortTTL() time.Duration { return max(f.b.MinTTL, 2*time.Second) }

func (f *fixture) openWith(opts *session.Options) *peer {
	f.Helper()
	return f.openOn(&Calls{}, opts)
}

// openOn opens a session whose calls, the first included, pass through calls.
func (f *fixture) openOn(calls *Calls, opts *session.Options) *peer {
	f.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	p := &peer{f: f, calls: calls}
	p.fault = p.calls
	if f.b.Networked {
		p.link = &Link{}
		p.fault = p.link
	}
	store := p.calls.Interpose(&recorder{f.b.Connect(f.TB, p.link), p})
	s, err := session.New(f.ctx, store, opts)
	if err != nil {
		f.Fatalf("open a session: %v", err)
	}
	p.Session = s
	f.Cleanup(p.close)
	return p
}

// close heals what the case broke, and closes the session.
func (p *peer) close() {
	p.heal()
	if p.link != nil {
		p.link.Delay(0)
		defer p.link.Cut() // also what was detained and never delivered
	}
	p.calls.Delay(0)
	ctx, cancel := context.WithTimeout(context.Background(), p.f.patience)
	defer cancel()
	if err := p.Close(ctx); err != nil && !p.f.Failed() {
		p.f.Logf("close session %s: %v", p.Identity(), err)
	}
}

func (p *peer) freeze() { p.fault.Freeze() }

func (p *peer) heal() {
	p.calls.Heal()
	if p.link != nil {
		p.link.Heal()
	}
}

// expire ends the session's lease at the store.
func (p *peer) expire() {
	p.f.Helper()
	p.f.b.Expire(p.f.TB, p.present())
}

// present returns the session's latest lease, on a path without faults of calls.
func (p *peer) present() driver.Lease {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lease
}

// A recorder remembers the lease that a peer was granted.
type recorder struct {
	driver.Store
	p *peer
}

func (r *recorder) Unwrap() driver.Store { return r.Store }

func (r *recorder) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	l, sent, err := r.Store.Grant(ctx, spec)
	if err == nil {
		r.p.mu.Lock()
		r.p.lease = l
		r.p.mu.Unlock()
	}
	return l, sent, err
}

func (p *peer) mutex(name string) *mutex.Mutex          { return mutex.New(p.Session, name) }
func (p *peer) election(name string) *election.Election { return election.New(p.Session, name) }

// lock locks, from the case's goroutine.
func (p *peer) lock(name string) *session.Grant {
	p.f.Helper()
	g, err := p.mutex(name).Lock(p.f.ctx)
	if err != nil {
		p.f.Fatalf("%s: %v", p.Identity(), err)
	}
	return g
}

// release releases, from the case's goroutine.
func (f *fixture) release(g *session.Grant) {
	f.Helper()
	if err := g.Release(f.ctx); err != nil {
		f.Fatalf("%v", err)
	}
}

// queue returns the entries of a queue.
func (f *fixture) queue(name string) []driver.Entry {
	f.Helper()
	q, err := f.admin.Read(f.ctx, name, 0)
	if err != nil {
		f.Fatalf("read the queue %q: %v", name, err)
	}
	return q.Entries
}

// brief shows of entries what tells them apart.
func brief(entries []driver.Entry) string {
	var b strings.Builder
	for i, e := range entries {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d of %s", e.Token, e.Lease)
		if e.Value != "" {
			fmt.Fprintf(&b, " %.20q", e.Value)
		}
	}
	return "[" + b.String() + "]"
}

// queued waits until the queue has n entries, and returns them.
func (f *fixture) queued(name string, n int) []driver.Entry {
	f.Helper()
	var entries []driver.Entry
	f.eventually(func() error {
		entries = f.queue(name)
		if len(entries) != n {
			return fmt.Errorf("%d entries in the queue, want %d: %s", len(entries), n, brief(entries))
		}
		return nil
	})
	return entries
}

// free checks that nothing is left in the queue, and that others can lock.
func (f *fixture) free(name string) {
	f.Helper()
	f.queued(name, 0)
	if f.helper == nil {
		f.helper = f.open("helper")
	}
	f.release(f.helper.lock(name))
}

// lostGrant waits until the grant is lost.
func (f *fixture) lostGrant(g *session.Grant) {
	f.Helper()
	select {
	case <-g.Context().Done():
	case <-time.After(f.patience):
		f.Fatalf("the grant was not lost within %v", f.patience)
	}
	if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrLost) {
		f.Errorf("the grant ended with cause %v, want ErrLost", cause)
	}
	if err := g.Check(); !errors.Is(err, session.ErrLost) {
		f.Errorf("Check of a lost grant returned %v, want ErrLost", err)
	}
}

// eventually waits until cond returns nil.
func (f *fixture) eventually(cond func() error) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.ctx, f.patience)
	defer cancel()
	if err := poll(ctx, cond); err != nil {
		f.Fatalf("%v", err)
	}
}

// happens waits until the channel is closed.
func (f *fixture) happens(what string, ch <-chan struct{}) {
	f.Helper()
	limit := time.NewTimer(f.patience)
	defer limit.Stop()
	select {
	case <-ch:
	case <-limit.C:
		f.Fatalf("%s: not within %v", what, f.patience)
	}
}

// poll calls cond until it returns nil or ctx ends, and returns its last error.
func poll(ctx context.Context, cond func() error) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// A job is a call that runs beside the case.
type job[T any] struct {
	f    *fixture
	done chan struct{}
	v    T
	err  error
}

// begin starts a job. It has to end when f.ctx does.
func begin[T any](f *fixture, call func() (T, error)) *job[T] {
	j := &job[T]{f: f, done: make(chan struct{})}
	f.jobs.Go(func() {
		defer close(j.done)
		j.v, j.err = call()
	})
	return j
}

// act starts a job without a result.
func act(f *fixture, call func() error) *job[struct{}] {
	return begin(f, func() (struct{}, error) { return struct{}{}, call() })
}

// ended waits for the job and returns how it ended.
func (j *job[T]) ended() (T, error) {
	j.f.Helper()
	return j.endedWithin(j.f.patience)
}

func (j *job[T]) endedWithin(d time.Duration) (T, error) {
	j.f.Helper()
	select {
	case <-j.done:
	case <-time.After(d):
		j.f.Fatalf("still waiting after %v", d)
	}
	return j.v, j.err
}

// must waits for the job, which has to succeed.
func (j *job[T]) must() T {
	j.f.Helper()
	v, err := j.ended()
	if err != nil {
		j.f.Fatalf("%v", err)
	}
	return v
}

// goesOn reports a job that has ended, or does so within a moment, too early.
// The moment makes a broken store likely to be caught; a good one passes
// whatever it is.
func (j *job[T]) goesOn(what string) {
	j.f.Helper()
	if !j.pending(moment) {
		j.f.Errorf("%s ended too early, with error %v", what, j.err)
	}
}

// pending tells whether the job is still running when d has passed.
func (j *job[T]) pending(d time.Duration) bool {
	select {
	case <-j.done:
		return false
	case <-time.After(d):
		return true
	}
}

// locking starts a Lock.
func (p *peer) locking(ctx context.Context, name string) *job[*session.Grant] {
	return begin(p.f, func() (*session.Grant, error) { return p.mutex(name).Lock(ctx) })
}

// waiting starts a Lock that has to wait, and returns once it is the n-th in
// the queue.
func (p *peer) waiting(ctx context.Context, name string, n int) *job[*session.Grant] {
	p.f.Helper()
	j := p.locking(ctx, name)
	p.f.queued(name, n)
	return j
}
