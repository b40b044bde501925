package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A kind says what a subject is taken for.
type kind string

const (
	mutexes        kind = "mutex"
	handingMutexes kind = "mutex with LocalHandoff" // where many goroutines share a process
	rwmutexes      kind = "rwmutex"
	semaphores     kind = "semaphore"
	elections      kind = "election"
	writes         kind = "raw" // excludes nobody: the least that a lock has to do

	// The least that a queue has to do: it excludes for as long as nobody gives up, and no
	// request or reply is lost.
	queues kind = "raw queue"
)

// A subject is one way to take a lock: ours, or a peer's.
type subject struct {
	name string
	kind kind

	// queues says that waiters stand in a queue at the store, so that many can.
	queues bool

	// tells says that contenders are told of the loss of what they hold: they are
	// losers.
	tells bool

	// open makes a client of the server, with a connection of its own.
	open func(ctx context.Context, addr string, ttl time.Duration) (client, error)
}

// A client is what a process has once: a connection, and a session or a pool.
type client interface {
	// contender makes what one goroutine locks and unlocks that name with.
	contender(ctx context.Context, name string) (contender, error)
	close(ctx context.Context) error
}

// A contender locks and unlocks, one after the other.
type contender interface {
	lock(ctx context.Context) error
	unlock(ctx context.Context) error
}

// A reader can lock for reading as well; unlock ends that too.
type reader interface {
	contender
	rlock(ctx context.Context) error
}

// A loser tells when it has lost what it holds.
type loser interface {
	contender
	lost() <-chan struct{}
}

// sessionTTL is the TTL where nothing is to expire.
const sessionTTL = 60 * time.Second

// A team is one subject at one workload.
type team struct {
	store   store
	server  server
	subject subject
	load    workload

	name    string // of the lock
	members []contender
	crowd   *crowd // see queue.go

	mu      sync.Mutex
	clients []client
}

// assemble opens the clients of the workload, and makes its contenders.
func assemble(ctx context.Context, st store, srv server, s subject, w workload) (*team, error) {
	t := &team{store: st, server: srv, subject: s, load: w}
	// No slashes and spaces, which not every peer allows.
	t.name = fmt.Sprintf("bench-%s-%p", w.name, t)
	t.members = make([]contender, w.clients*w.each)
	err := all(w.clients, func(i int) error {
		c, err := t.open(ctx, srv.addr(), sessionTTL)
		if err != nil {
			return err
		}
		for j := range w.each {
			name := t.name
			if w.ownNames {
				name = fmt.Sprintf("%s-%d-%d", t.name, i, j)
			}
			if t.members[i*w.each+j], err = c.contender(ctx, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// open makes a client that the team closes.
func (t *team) open(ctx context.Context, addr string, ttl time.Duration) (client, error) {
	c, err := t.subject.open(ctx, addr, ttl)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clients = append(t.clients, c)
	return c, nil
}

const closeTimeout = time.Minute

// close ends all sessions, also when the run was interrupted: so it has its own
// context.
func (t *team) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if t.crowd != nil {
		t.crowd.cancel()
	}
	err := all(len(t.clients), func(i int) error { return t.clients[i].close(ctx) })
	if t.crowd != nil {
		gone(&t.crowd.wg)
	}
	return err
}

// gone waits for contenders that wait for nothing any more, but not for ever: zk.Lock knows
// of no contexts, and does not always notice that its connection was closed.
func gone(wg *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}

// all calls f for 0 to n-1, all at once, and joins the errors.
func all(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
