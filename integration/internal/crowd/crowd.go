// Package crowd has very many wait for one lock at the same time.
package crowd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

const (
	// sessions is how many processes the crowd is of.
	sessions = 8

	// patience bounds the whole, on a machine that may be busy.
	patience = 2 * time.Minute
)

// Serve has a crowd of that size wait behind a holder, and then be served: each once, one at a time, in
// the order in which they joined, and nobody is left behind. Each URL is of the same store.
func Serve(t *testing.T, size int, urls ...string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []*session.Session
	for i := range sessions {
		s, err := session.Open(ctx, urls[i%len(urls)], nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(ctx); err != nil {
				t.Errorf("close: %v", err)
			}
		}()
		all = append(all, s)
	}
	const name = "crowd"
	first, err := mutex.New(all[0], name).Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s := served{tokens: []uint64{first.Token()}}
	errs := make([]error, size)
	var wg sync.WaitGroup
	for i := range size {
		wg.Go(func() { errs[i] = s.serve(ctx, mutex.New(all[i%sessions], name)) })
	}
	if err := gathered(ctx, all[0], name, size); err != nil {
		t.Error(err)
	}
	begun := time.Now()
	if err := first.Release(ctx); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("of %d: %v", size, err)
	}
	t.Logf("%d were served in %v", size, time.Since(begun))
	if len(s.tokens) != size+1 || !slices.IsSorted(s.tokens) || len(slices.Compact(s.tokens)) != size+1 {
		t.Errorf("%d of %d were served, or not in the order of their tokens", len(s.tokens)-1, size)
	}
	for snapshot, err := range watch.Queue(ctx, all[0], name) {
		if err != nil || len(snapshot.Holders)+len(snapshot.Waiters) != 0 {
			t.Errorf("in the queue are left %d, %v", len(snapshot.Holders)+len(snapshot.Waiters), err)
		}
		break
	}
}

// gathered waits until all of the crowd are in the queue.
func gathered(ctx context.Context, s *session.Session, name string, size int) error {
	for snapshot, err := range watch.Queue(ctx, s, name) {
		if err != nil {
			return err
		}
		if len(snapshot.Waiters) == size {
			return nil
		}
	}
	return errors.New("the queue is no longer told of")
}

// served are the tokens of those who were, in that order.
type served struct {
	mu     sync.Mutex
	inside bool
	tokens []uint64
}

func (s *served) serve(ctx context.Context, m *mutex.Mutex) error {
	return m.Do(ctx, func(ctx context.Context) error {
		g, ok := session.GrantFrom(ctx)
		if !ok {
			return errors.New("a function runs without a grant")
		}
		if err := s.enter(g.Token()); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.inside = false
		return nil
	})
}

func (s *served) enter(token uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inside {
		return fmt.Errorf("token %d is served beside another", token)
	}
	s.inside = true
	s.tokens = append(s.tokens, token)
	return nil
}
