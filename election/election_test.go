package election_test

import (
	"context"
	"errors"
	"testing"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
)

func TestWhoHoldsBesideOthersIsNoLeader(t *testing.T) {
	for what, hold := range map[string]func(ctx context.Context, s *session.Session) (*session.Grant, error){
		"permits": func(ctx context.Context, s *session.Session) (*session.Grant, error) {
			return semaphore.New(s, "name", 1).Acquire(ctx, 1)
		},
		"as a reader": func(ctx context.Context, s *session.Session) (*session.Grant, error) {
			return rwmutex.New(s, "name").RLock(ctx)
		},
		"as a writer that became a reader": func(ctx context.Context, s *session.Session) (*session.Grant, error) {
			m := rwmutex.New(s, "name")
			w, err := m.Lock(ctx)
			if err != nil {
				return nil, err
			}
			return m.Downgrade(ctx, w)
		},
	} {
		t.Run(what, func(t *testing.T) {
			s, err := memory.NewStore().Session(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close(t.Context()) }()
			if _, err := hold(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			e := election.New(s, "name")
			if l, err := e.Leader(t.Context()); !errors.Is(err, session.ErrNoLeader) {
				t.Errorf("the leader is %+v, %v", l, err)
			}
			for l, err := range e.Observe(t.Context()) {
				if err != nil || l != (election.Leader{}) {
					t.Errorf("the leader is observed to be %+v, %v", l, err)
				}
				break
			}
		})
	}
}
