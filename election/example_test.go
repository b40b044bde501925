package election_test

import (
	"context"
	"fmt"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
)

func ExampleElection_Run() {
	ctx := context.Background()
	s, err := session.Open(ctx, "memory://example", nil) // etcd://127.0.0.1:2379 in earnest
	if err != nil {
		panic(err)
	}
	defer s.Close(ctx)

	err = election.New(s, "billing/leader").Run(ctx, "10.0.0.7:8080", func(ctx context.Context) error {
		t, _ := election.TermFrom(ctx)
		fmt.Println("leading, token", t.Token())
		return nil // to lead on, return only when ctx is done
	})
	fmt.Println(err)
	// Output:
	// leading, token 1
	// <nil>
}

func ExampleElection_Observe() {
	ctx := context.Background()
	st := memory.NewStore()
	s, _ := st.Session(ctx, &session.Options{Identity: "web-1"})
	defer s.Close(ctx)
	e := election.New(s, "billing/leader")

	term, _ := e.Campaign(ctx, "10.0.0.7:8080")
	for leader, err := range e.Observe(ctx) {
		if err != nil || leader.Token == 0 {
			fmt.Println("nobody", err)
			break
		}
		fmt.Println(leader.Identity, "at", leader.Value)
		_ = term.Resign(ctx)
	}
	// Output:
	// web-1 at 10.0.0.7:8080
	// nobody <nil>
}
