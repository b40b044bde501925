package main

import (
	"context"
	"errors"
	"sync"
)

// A store is a kind of server and what is measured on it.
type store struct {
	name     string
	start    func(ctx context.Context, dir string) (server, error)
	subjects []subject // ours first: ratios are taken of it
}

// A server is a process of its own.
type server interface {
	addr() string
	stop() error
}

func stores() []store {
	return []store{etcdStore(), zookeeperStore(), redisStore(), postgresStore()}
}

// A subject is one way to take a lock: ours, or a peer's.
type subject struct {
	name     string
	excludes bool // false for raw writes, which exclude nobody

	// join makes a contender with a connection and a session of its own.
	join func(ctx context.Context, addr string) (contender, error)
}

// A contender locks and unlocks, one after the other.
type contender interface {
	// prepare is called once, with the name of the lock.
	prepare(name string)
	lock(ctx context.Context) error
	unlock(ctx context.Context) error
	close(ctx context.Context) error
}

// A team is the contenders of one subject in one workload.
type team struct {
	members []contender
}

func assemble(ctx context.Context, s subject, w workload, addr string) (*team, error) {
	t := &team{members: make([]contender, w.contenders)}
	errs := make([]error, w.contenders)
	var wg sync.WaitGroup
	for i := range t.members {
		wg.Go(func() {
			if t.members[i], errs[i] = s.join(ctx, addr); errs[i] == nil {
				t.members[i].prepare("bench/" + w.name + "/" + s.name)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// close ends all sessions, also when the run was interrupted: so it has its own
// context.
func (t *team) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	errs := make([]error, len(t.members))
	var wg sync.WaitGroup
	for i, m := range t.members {
		if m != nil {
			wg.Go(func() { errs[i] = m.close(ctx) })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}
