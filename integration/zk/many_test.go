package zk_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// Many goroutines of a session, each with a name of its own, go to the servers together.
// Replies are lost, connections are cut, some give up at any moment, and for each name
// there is another session's goroutine: nobody is disturbed by what happens to others.
func TestManyNamesOfASessionGoTogetherAndApart(t *testing.T) {
	t.Parallel()
	const names, cuts = 48, 20
	s := at(t, calm)
	links := make([]drivertest.Link, 2)
	fields := make([]field, names)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var work sync.WaitGroup
	for i := range links {
		o := s.openThrough(t, &links[i], fmt.Sprint("many ", i), longTTL)
		for n := range fields {
			work.Go(func() { fields[n].play(ctx, t, o, fmt.Sprint("n", n)) })
		}
	}
	for range cuts {
		for i := range links {
			links[i].LoseReply(1 + rand.IntN(10))
			time.Sleep(rand.N(50 * time.Millisecond))
		}
		links[rand.IntN(len(links))].Cut()
		time.Sleep(rand.N(100 * time.Millisecond))
	}
	for n := range fields { // all still get their turn
		before := fields[n].turns.Load()
		eventually(t, func() error {
			if fields[n].turns.Load() <= before+1 {
				return fmt.Errorf("nobody gets the lock %d any more", n)
			}
			return nil
		})
	}
	stop()
	work.Wait()
	o := s.open(t, "last", longTTL)
	for n := range fields {
		s.queued(t, fmt.Sprint("n", n), 0)
		// The server keeps a node that a join has made and never used, as it was given up.
		release(t, lock(t, o, fmt.Sprint("n", n)))
	}
}

// A field is what a lock protects.
type field struct {
	held  atomic.Bool
	token uint64 // of the latest holder
	turns atomic.Int64
}

// play locks and unlocks until ctx ends, and gives up now and then.
func (f *field) play(ctx context.Context, t *testing.T, o *session.Session, name string) {
	m := mutex.New(o, name)
	for ctx.Err() == nil {
		one, cancel := context.WithTimeout(ctx, patience)
		if rand.IntN(5) == 0 {
			cancel()
			one, cancel = context.WithTimeout(ctx, rand.N(30*time.Millisecond))
		}
		g, err := m.Lock(one)
		gaveUp := one.Err() != nil
		cancel()
		if err != nil {
			if !gaveUp || ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("lock %s: %v", name, err)
				return
			}
			continue
		}
		if !f.held.CompareAndSwap(false, true) {
			t.Errorf("lock %s has two holders", name)
		}
		if g.Token() <= f.token {
			t.Errorf("lock %s has the token %d after %d", name, g.Token(), f.token)
		}
		f.token = g.Token()
		f.turns.Add(1)
		if g.Context().Err() != nil {
			t.Errorf("lock %s is lost: %v", name, context.Cause(g.Context()))
		}
		f.held.Store(false)
		if err := g.Release(context.WithoutCancel(ctx)); err != nil {
			t.Errorf("unlock %s: %v", name, err)
		}
	}
}
