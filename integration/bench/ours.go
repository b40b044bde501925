package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// oursOn returns our subjects on stores of that URL, which the address completes.
func oursOn(scheme string) []subject {
	on := func(make func() maker) func(context.Context, string, time.Duration) (client, error) {
		return func(ctx context.Context, addr string, ttl time.Duration) (client, error) {
			s, err := session.Open(ctx, scheme+addr, &session.Options{TTL: ttl, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				return nil, err
			}
			return &ours{s, make()}, nil
		}
	}
	return []subject{
		{name: "fairlead mutex", kind: mutexes, queues: true, tells: true, open: on(same(oursMutex))},
		{name: "fairlead mutex, LocalHandoff 16", kind: handingMutexes, open: on(handing(16))},
		{name: "fairlead rwmutex", kind: rwmutexes, open: on(same(oursRWMutex))},
		{name: "fairlead semaphore", kind: semaphores, open: on(same(oursSemaphore))},
		{name: "fairlead election", kind: elections, open: on(same(oursElection))},
	}
}

// ours is a client with one session.
type ours struct {
	session *session.Session
	make    maker
}

type maker func(s *session.Session, name string) contender

func (o *ours) contender(_ context.Context, name string) (contender, error) {
	return o.make(o.session, name), nil
}

func (o *ours) close(ctx context.Context) error { return o.session.Close(ctx) }

func (o *ours) queued(ctx context.Context, name string) (int, error) {
	for now, err := range watch.Queue(ctx, o.session, name) {
		return len(now.Holders) + len(now.Waiters), err
	}
	return 0, ctx.Err()
}

// grants is a contender: each of our primitives gives a grant.
type grants struct {
	acquire func(ctx context.Context) (*session.Grant, error)
	grant   *session.Grant
}

func oursMutex(s *session.Session, name string) contender {
	return &grants{acquire: mutex.New(s, name).Lock}
}

// same makes every client's contenders in the same way.
func same(m maker) func() maker { return func() maker { return m } }

// handing makes mutexes of a session that pass the lock on up to n times. The contenders of
// a name have to share one, so there is one maker a client.
func handing(n int) func() maker {
	return func() maker {
		shared := map[string]*mutex.Mutex{}
		return func(s *session.Session, name string) contender {
			if shared[name] == nil {
				shared[name] = mutex.NewWith(s, name, &mutex.Options{LocalHandoff: n})
			}
			return &grants{acquire: shared[name].Lock}
		}
	}
}

func oursSemaphore(s *session.Session, name string) contender {
	m := semaphore.New(s, name, permitLimit)
	return &grants{acquire: func(ctx context.Context) (*session.Grant, error) { return m.Acquire(ctx, 1) }}
}

func oursElection(s *session.Session, name string) contender {
	e := election.New(s, name)
	return &grants{acquire: func(ctx context.Context) (*session.Grant, error) {
		term, err := e.Campaign(ctx, "bench")
		if err != nil {
			return nil, err
		}
		return term.Grant, nil
	}}
}

func oursRWMutex(s *session.Session, name string) contender {
	m := rwmutex.New(s, name)
	return &readGrants{grants{acquire: m.Lock}, m.RLock}
}

func (g *grants) lock(ctx context.Context) (err error) {
	g.grant, err = g.acquire(ctx)
	return err
}

func (g *grants) unlock(ctx context.Context) error { return g.grant.Release(ctx) }

func (g *grants) lost() <-chan struct{} { return g.grant.Context().Done() }

type readGrants struct {
	grants
	acquireShared func(ctx context.Context) (*session.Grant, error)
}

func (g *readGrants) rlock(ctx context.Context) (err error) {
	g.grant, err = g.acquireShared(ctx)
	return err
}
