package main

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	etcdserver "github.com/fairlead-go/fairlead/integration/internal/server"
	_ "github.com/fairlead-go/fairlead/session/etcd"
)

func etcdStore() store {
	return store{name: "etcd", start: launch, subjects: []subject{
		{name: "fairlead mutex", excludes: true, join: joinOurs("etcd://")},
		{name: "concurrency.Mutex", excludes: true, join: joinConcurrency},
		{name: "raw Put+Delete", join: joinRaw},
	}}
}

// etcdMutex is a contender that uses the mutex of etcd's own client library.
type etcdMutex struct {
	client  *clientv3.Client
	session *concurrency.Session
	mutex   *concurrency.Mutex
}

func joinConcurrency(ctx context.Context, addr string) (contender, error) {
	// Not ctx: the client outlives an interrupt, to end its session.
	client, err := etcdserver.Dial(context.WithoutCancel(ctx), addr, nil)
	if err != nil {
		return nil, err
	}
	s, err := concurrency.NewSession(client, concurrency.WithTTL(sessionTTL))
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &etcdMutex{client: client, session: s}, nil
}

func (m *etcdMutex) prepare(name string) { m.mutex = concurrency.NewMutex(m.session, name) }

func (m *etcdMutex) lock(ctx context.Context) error { return m.mutex.Lock(ctx) }

func (m *etcdMutex) unlock(ctx context.Context) error { return m.mutex.Unlock(ctx) }

func (m *etcdMutex) close(context.Context) error {
	return errors.Join(m.session.Close(), m.client.Close())
}

// etcdRaw writes a key and deletes it, and excludes nobody: the least that any
// lock on etcd has to do.
type etcdRaw struct {
	client *clientv3.Client
	key    string
}

func joinRaw(ctx context.Context, addr string) (contender, error) {
	client, err := etcdserver.Dial(context.WithoutCancel(ctx), addr, nil)
	if err != nil {
		return nil, err
	}
	return &etcdRaw{client: client}, nil
}

func (r *etcdRaw) prepare(name string) { r.key = name }

func (r *etcdRaw) lock(ctx context.Context) error {
	_, err := r.client.Put(ctx, r.key, "")
	return err
}

func (r *etcdRaw) unlock(ctx context.Context) error {
	_, err := r.client.Delete(ctx, r.key)
	return err
}

func (r *etcdRaw) close(context.Context) error { return r.client.Close() }
