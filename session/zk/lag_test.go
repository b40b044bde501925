package zk

import (
	"context"
	"errors"
	"sync"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A laggard is a connection to a server that may lag behind. While it does, it answers as it
// has answered before, and knows of nothing that it was not asked for; until it has applied
// what was written through it. To sync is not enough, as it is not where the server leads.
type laggard struct {
	keeper

	mu     sync.Mutex
	behind bool
	said   map[string]answer
}

// An answer is that to a read.
type answer struct {
	ok    bool
	names []string
	data  []byte
	stat  *gozk.Stat
	err   error
}

// Lag puts a laggard in place for a lease, before that is used. What it returns has it lag.
func Lag(l driver.Lease) (lag func()) {
	z := l.(*lease)
	z.s.work.Wait() // what a new lease does in the background
	return lagOn(z.c)
}

// LagReading is Lag for what needs no lease.
func LagReading(ctx context.Context, st driver.Store) (lag func(), err error) {
	c, err := st.(*store).reading(ctx)
	if err != nil {
		return nil, err
	}
	return lagOn(c), nil
}

func lagOn(c *conn) (lag func()) {
	k := &laggard{keeper: c.keeper, said: map[string]answer{}}
	c.keeper = k
	return func() { k.turn(true) }
}

func (k *laggard) turn(behind bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.behind = behind
}

// ask answers as before, or as the server does now.
func (k *laggard) ask(what string, now func() answer) answer {
	k.mu.Lock()
	old, ok := k.said[what]
	behind := k.behind
	k.mu.Unlock()
	if behind && ok {
		return old
	}
	if behind {
		return answer{err: gozk.ErrNoNode}
	}
	a := now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.said[what] = a
	return a
}

func (k *laggard) Children(path string) ([]string, *gozk.Stat, error) {
	a := k.ask("children of "+path, func() (a answer) {
		a.names, a.stat, a.err = k.keeper.Children(path)
		return a
	})
	return a.names, a.stat, a.err
}

func (k *laggard) Exists(path string) (bool, *gozk.Stat, error) {
	a := k.ask("stat of "+path, func() (a answer) {
		a.ok, a.stat, a.err = k.keeper.Exists(path)
		return a
	})
	if errors.Is(a.err, gozk.ErrNoNode) {
		return false, &gozk.Stat{}, nil
	}
	return a.ok, a.stat, a.err
}

func (k *laggard) Get(path string) ([]byte, *gozk.Stat, error) {
	a := k.ask("data of "+path, func() (a answer) {
		a.data, a.stat, a.err = k.keeper.Get(path)
		return a
	})
	return a.data, a.stat, a.err
}

func (k *laggard) Multi(ops ...any) ([]gozk.MultiResponse, error) {
	defer k.turn(false)
	return k.keeper.Multi(ops...)
}

func (k *laggard) Create(path string, data []byte, flags int32, acl []gozk.ACL) (string, error) {
	defer k.turn(false)
	return k.keeper.Create(path, data, flags, acl)
}

func (k *laggard) CreateContainer(path string, data []byte, flags int32, acl []gozk.ACL) (string, error) {
	defer k.turn(false)
	return k.keeper.CreateContainer(path, data, flags, acl)
}

func (k *laggard) Set(path string, data []byte, version int32) (*gozk.Stat, error) {
	defer k.turn(false)
	return k.keeper.Set(path, data, version)
}

func (k *laggard) Delete(path string, version int32) error {
	defer k.turn(false)
	return k.keeper.Delete(path, version)
}
