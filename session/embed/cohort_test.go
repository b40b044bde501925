package embed_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/embed"
	"github.com/fairlead-go/fairlead/watch"
)

// Goroutines of two sessions that pass a lock on among themselves exclude each other on
// a real server, also when one of them is broken in the middle.
func TestCohortsOnAServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	srv, err := embed.Start(ctx, embed.Config{Dir: t.TempDir(), UnsafeNoFsync: true, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	var (
		wg        sync.WaitGroup
		sessions  []*session.Session
		plain     int
		tokens    = map[uint64]int{}
		last      uint64
		lost      sync.Map
		contended = make(chan struct{})
	)
	const passes, goroutines, rounds = 4, 16, 20 // of each session
	const want = 2 * goroutines * rounds
	for range 2 {
		s, err := session.Open(ctx, srv.Endpoint(), &session.Options{TTL: 3 * time.Second, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(context.WithoutCancel(ctx))
		sessions = append(sessions, s)
		m := mutex.NewWith(s, "x", &mutex.Options{LocalHandoff: passes})
		for range goroutines {
			wg.Go(func() {
				for range rounds {
					err := m.Do(ctx, func(inner context.Context) error {
						g, _ := session.GrantFrom(inner)
						if g.Token() < last {
							t.Errorf("token %d after %d", g.Token(), last)
						}
						plain, last = plain+1, g.Token()
						if tokens[last]++; tokens[last] > passes+1 {
							t.Errorf("token %d was passed on %d times", last, tokens[last]-1)
						}
						if plain == want/4 {
							close(contended)
							<-inner.Done() // broken, below
						}
						return nil
					})
					if _, broken := errors.AsType[*session.Broken](err); broken {
						lost.Store(err.Error(), true)
					} else if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	<-contended
	if err := sessions[0].Break(ctx, "x", last, nil); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if plain != want || len(tokens) > want/2 {
		t.Errorf("counted to %d, want %d, with %d tokens", plain, want, len(tokens))
	}
	broken := 0
	lost.Range(func(any, any) bool { broken++; return true })
	if broken != 1 {
		t.Errorf("%d were told that they were broken, want 1", broken)
	}
	if q, err := watch.Read(ctx, sessions[0], "x"); err != nil || len(q.Holders)+len(q.Waiters) > 0 {
		t.Errorf("left in the queue: %+v, %v", q, err)
	}
}
