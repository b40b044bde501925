package main

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	etcdserver "github.com/fairlead-go/fairlead/integration/internal/server"
	_ "github.com/fairlead-go/fairlead/session/etcd"
)

func etcdStore() store {
	return store{name: "etcd", start: launch, expiring: 3 * time.Second, subjects: append(oursOn("etcd://"),
		subject{name: "concurrency.Mutex", kind: mutexes, queues: true, tells: true, open: etcdPeer(newEtcdMutex)},
		subject{name: "recipes.RWMutex", kind: rwmutexes, open: etcdPeer(newEtcdRWMutex)},
		subject{name: "concurrency.Election", kind: elections, open: etcdPeer(newEtcdElection)},
		subject{name: "raw Put+Delete", kind: writes, open: openEtcdRaw},
	)}
}

// etcdSessions is a client with sessions of etcd's own client library.
type etcdSessions struct {
	client   *clientv3.Client
	ttl      time.Duration
	sessions []*concurrency.Session
	users    map[string]int // contenders of a name
	make     func(s *concurrency.Session, name string) contender
}

func etcdPeer(make func(s *concurrency.Session, name string) contender) func(context.Context, string, time.Duration) (client, error) {
	return func(ctx context.Context, addr string, ttl time.Duration) (client, error) {
		// Not ctx: the client outlives an interrupt, to end its sessions.
		c, err := etcdserver.Dial(context.WithoutCancel(ctx), addr, nil)
		if err != nil {
			return nil, err
		}
		e := &etcdSessions{client: c, ttl: ttl, users: map[string]int{}, make: make}
		if err := e.session(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return e, nil
	}
}

func (e *etcdSessions) session() error {
	s, err := concurrency.NewSession(e.client, concurrency.WithTTL(int(e.ttl/time.Second)))
	if err == nil {
		e.sessions = append(e.sessions, s)
	}
	return err
}

// contender uses one session for all names, but a further one for each further contender
// of the same: the entry's key has no more in it than the session, which therefore holds
// what any of its contenders holds.
func (e *etcdSessions) contender(_ context.Context, name string) (contender, error) {
	n := e.users[name]
	if n == len(e.sessions) {
		if err := e.session(); err != nil {
			return nil, err
		}
	}
	e.users[name]++
	return e.make(e.sessions[n], name), nil
}

func (e *etcdSessions) close(context.Context) error {
	err := all(len(e.sessions), func(i int) error {
		err := e.sessions[i].Close()
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil
		}
		return err
	})
	return errors.Join(err, e.client.Close())
}

type etcdMutex struct {
	*concurrency.Mutex
	session *concurrency.Session
}

func newEtcdMutex(s *concurrency.Session, name string) contender {
	return &etcdMutex{concurrency.NewMutex(s, name), s}
}

func (m *etcdMutex) lock(ctx context.Context) error { return m.Lock(ctx) }

func (m *etcdMutex) unlock(ctx context.Context) error { return m.Unlock(ctx) }

func (m *etcdMutex) lost() <-chan struct{} { return m.session.Done() }

type etcdElection struct{ *concurrency.Election }

func newEtcdElection(s *concurrency.Session, name string) contender {
	return &etcdElection{concurrency.NewElection(s, name)}
}

func (e *etcdElection) lock(ctx context.Context) error { return e.Campaign(ctx, "bench") }

func (e *etcdElection) unlock(ctx context.Context) error { return e.Resign(ctx) }

// etcdRWMutex knows of no contexts.
type etcdRWMutex struct{ *recipe.RWMutex }

func newEtcdRWMutex(s *concurrency.Session, name string) contender {
	return &etcdRWMutex{recipe.NewRWMutex(s, name)}
}

func (m *etcdRWMutex) lock(context.Context) error { return m.Lock() }

func (m *etcdRWMutex) rlock(context.Context) error { return m.RLock() }

func (m *etcdRWMutex) unlock(context.Context) error { return m.Unlock() } // RUnlock does the same

// etcdRaw writes a key and deletes it, and excludes nobody: the least that any
// lock on etcd has to do.
type etcdRaw struct{ client *clientv3.Client }

func openEtcdRaw(ctx context.Context, addr string, _ time.Duration) (client, error) {
	c, err := etcdserver.Dial(context.WithoutCancel(ctx), addr, nil)
	if err != nil {
		return nil, err
	}
	return &etcdRaw{c}, nil
}

func (r *etcdRaw) contender(_ context.Context, name string) (contender, error) {
	return &etcdKey{r.client, name}, nil
}

func (r *etcdRaw) close(context.Context) error { return r.client.Close() }

type etcdKey struct {
	client *clientv3.Client
	key    string
}

func (k *etcdKey) lock(ctx context.Context) error {
	_, err := k.client.Put(ctx, k.key, "")
	return err
}

func (k *etcdKey) unlock(ctx context.Context) error {
	_, err := k.client.Delete(ctx, k.key)
	return err
}
