package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

const (
	leaseTTL   = 3 * time.Second
	holdTime   = 300 * time.Millisecond // of the lock
	permitTime = permits * holdTime     // of a permit, so that their queue moves as fast as the lock's
	writePause = 100 * time.Millisecond // between the leader's writes
)

// permits is the semaphore's limit.
const permits = 2

// Bugs that can be planted: a replica claims to hold the lock, or a permit, while
// it waits for it.
const (
	DoubleGrant = "double-grant"
	OverGrant   = "over-grant"
)

// Bugs are all of them.
var Bugs = []string{DoubleGrant, OverGrant}

// claimed is what a bug claims to hold.
var claimed = map[string]string{DoubleGrant: lockName, OverGrant: permitName}

// ReplicaOptions is what the director tells a replica.
type ReplicaOptions struct {
	Name     string // of the replica
	Prefix   string // of the names in the store
	Store    string // URL
	Journal  string // file
	Register string // address
	Plant    string // "" or one of Bugs
}

// A replica is one of the five processes.
type replica struct {
	opts    ReplicaOptions
	session *session.Session
	journal *journal
	pen     *pen
	fail    context.CancelCauseFunc
	work    sync.WaitGroup
	planted sync.Once
}

// names in the store, after the demo's prefix.
const (
	leaderName = "leader"
	lockName   = "lock"
	permitName = "permits"
)

// Replica runs a replica until stdin ends, which it also does when the director
// dies.
func Replica(stdin io.Reader, opts ReplicaOptions) error {
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, stdin)
		stop(context.Canceled)
	}()
	s, err := session.Open(ctx, opts.Store, &session.Options{
		TTL:      leaseTTL,
		Identity: opts.Name,
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	j, err := openJournal(opts.Journal)
	if err != nil {
		return errors.Join(err, s.Close(ctx))
	}
	p, err := openPen(opts.Register)
	if err != nil {
		return errors.Join(err, j.close(), s.Close(ctx))
	}
	r := &replica{opts: opts, session: s, journal: j, pen: p, fail: stop}
	return errors.Join(r.run(ctx), p.close(), j.close())
}

// run does everything at once until ctx ends, then gives everything back.
func (r *replica) run(ctx context.Context) error {
	for _, part := range []func(context.Context) error{
		r.lead, r.queue, r.share, r.reportLease,
		func(ctx context.Context) error { return r.reportPlaces(ctx, leaderName) },
		func(ctx context.Context) error { return r.reportPlaces(ctx, lockName) },
		func(ctx context.Context) error { return r.reportPlaces(ctx, permitName) },
	} {
		r.work.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				r.fail(fmt.Errorf("replica %s: %w", r.opts.Name, err))
			}
		})
	}
	r.work.Wait()
	closing, cancel := context.WithTimeout(context.Background(), leaseTTL)
	defer cancel()
	err := r.session.Close(closing)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

func (r *replica) path(name string) string { return r.opts.Prefix + "/" + name }

// lead stands for election, again and again.
func (r *replica) lead(ctx context.Context) error {
	e := election.New(r.session, r.path(leaderName))
	for {
		term, err := r.acquire(ctx, leaderName, func(ctx context.Context) (*session.Grant, error) {
			t, err := e.Campaign(ctx, r.opts.Name)
			if err != nil {
				return nil, err
			}
			return t.Grant, nil
		})
		if err != nil {
			return err
		}
		if err := r.govern(ctx, term); err != nil {
			return err
		}
		if err := r.giveBack(leaderName, term); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// govern writes to the register, on and on, and never looks whether the term has
// ended. That is careless, and meant to be: a careful leader looks first, but it
// can be frozen between the look and the write. This one is certain to write
// late when it is frozen for longer than its lease; what stops it is the
// register.
func (r *replica) govern(ctx context.Context, term *session.Grant) error {
	for ctx.Err() == nil {
		v, err := r.pen.write(term.Token())
		if err != nil {
			return err
		}
		e := Event{Kind: Wrote, Name: leaderName, Token: term.Token(), Serial: v.Serial, Newest: v.Newest}
		if !v.Accepted {
			e.Kind = Refused
			return r.journal.note(e)
		}
		if err := r.journal.note(e); err != nil {
			return err
		}
		sleep(ctx, writePause)
	}
	return nil
}

// queue queues for the lock, holds it for a while, and queues again.
func (r *replica) queue(ctx context.Context) error {
	return r.takeTurns(ctx, lockName, holdTime, mutex.New(r.session, r.path(lockName)).Lock)
}

// share does the same with a permit of the semaphore.
func (r *replica) share(ctx context.Context) error {
	m := semaphore.New(r.session, r.path(permitName), permits)
	return r.takeTurns(ctx, permitName, permitTime, func(ctx context.Context) (*session.Grant, error) {
		return m.Acquire(ctx, 1)
	})
}

func (r *replica) takeTurns(ctx context.Context, name string, hold time.Duration, ask func(context.Context) (*session.Grant, error)) error {
	for {
		g, err := r.acquire(ctx, name, ask)
		if err != nil {
			return err
		}
		sleep(g.Context(), hold)
		if err := r.giveBack(name, g); err != nil || ctx.Err() != nil {
			return err
		}
		sleep(ctx, hold/10) // or it would always be the last in the queue
	}
}

// acquire notes down when something was asked for and when it was had, or lost.
func (r *replica) acquire(ctx context.Context, name string, ask func(context.Context) (*session.Grant, error)) (*session.Grant, error) {
	if err := r.journal.note(Event{Kind: Asked, Name: name}); err != nil {
		return nil, err
	}
	g, err := ask(ctx)
	if err != nil {
		return nil, errors.Join(err, r.journal.note(Event{Kind: GaveUp, Name: name}))
	}
	if err := r.journal.note(Event{Kind: Granted, Name: name, Token: g.Token()}); err != nil {
		return nil, err
	}
	r.work.Go(func() {
		<-g.Context().Done()
		if errors.Is(context.Cause(g.Context()), session.ErrLost) {
			_ = r.journal.note(Event{Kind: Lost, Name: name, Token: g.Token(), Until: instant(g.Deadline())})
		}
	})
	return g, nil
}

// giveBack releases the grant, unless it was lost.
func (r *replica) giveBack(name string, g *session.Grant) error {
	var noted error
	if g.Check() == nil {
		noted = r.journal.note(Event{Kind: Releasing, Name: name, Token: g.Token()})
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaseTTL)
	defer cancel()
	if err := g.Release(ctx); !errors.Is(err, session.ErrLost) {
		return errors.Join(noted, err)
	}
	return noted
}

// reportLease notes down when the session's lease runs out, and with it every
// place in a queue. A lock of the replica's own name tells: nobody else wants it.
func (r *replica) reportLease(ctx context.Context) error {
	m := mutex.New(r.session, r.path("alive/"+r.opts.Name))
	for {
		g, err := m.Lock(ctx)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return g.Release(context.WithoutCancel(ctx))
		case <-g.Context().Done():
		}
		if err := r.journal.note(Event{Kind: Expired}); err != nil {
			return err
		}
	}
}

// reportPlaces notes down when the replica sees itself in a queue.
func (r *replica) reportPlaces(ctx context.Context, name string) error {
	var last uint64
	for snapshot, err := range watch.Queue(ctx, r.session, r.path(name)) {
		if err != nil {
			return err
		}
		for _, e := range snapshot.Waiters {
			if e.Identity != r.opts.Name || e.Token == last {
				continue
			}
			last = e.Token
			if err := r.journal.note(Event{Kind: Queued, Name: name, Token: e.Token}); err != nil {
				return err
			}
			if claimed[r.opts.Plant] == name {
				r.planted.Do(func() { r.claim(name, e.Token) })
			}
		}
	}
	return nil
}

// claim is the planted bug: a hold that the replica does not have. It lasts
// longer than those of the holders ahead, and so comes on top of others for
// certain.
func (r *replica) claim(name string, token uint64) {
	_ = r.journal.note(Event{Kind: Granted, Name: name, Token: token})
	sleep(context.Background(), 3*permitTime)
	_ = r.journal.note(Event{Kind: Releasing, Name: name, Token: token})
}

// sleep lasts d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
