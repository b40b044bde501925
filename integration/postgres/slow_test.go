package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// A connection with TLS and a password takes six answers, and one that is given up
// before the last of them is never made, however often it is tried.
func TestStoreWhoseAnswersAreASecondLateIsConnectedToAnew(t *testing.T) {
	t.Parallel()
	link := &drivertest.Link{}
	st := connect(t, link)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	s, err := session.New(ctx, st, &session.Options{TTL: patience})
	if err != nil {
		t.Fatal(err)
	}
	link.Delay(time.Second)
	link.Cut()
	g, err := mutex.New(s, "slow").Lock(ctx)
	if err != nil {
		t.Errorf("lock where each answer is a second late: %v", err)
	}
	link.Delay(0)
	if g != nil {
		if err := g.Release(ctx); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}
