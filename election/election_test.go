package election_test

import (
	"errors"
	"testing"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
)

func TestWhoHoldsPermitsIsNoLeader(t *testing.T) {
	s, err := memory.NewStore().Session(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(t.Context()) }()
	if _, err := semaphore.New(s, "name", 1).Acquire(t.Context(), 1); err != nil {
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
}
