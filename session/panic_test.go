package session_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/memory"
)

// A driver may ask the claim's Admit when the entry is made already. Where that panics, the
// entry leaves.
func TestEntryOfAJoinThatPanicsLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, st := patient(t), memory.NewStore()
		inner, err := st.Session(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = inner.Close(context.Background()) }()
		fragile := true
		s, err := session.New(ctx, drivertest.Interpose(inner.Store(), func(ctx context.Context, op drivertest.Op, call func(context.Context) error) error {
			err := call(ctx)
			if op == drivertest.OpJoin && fragile {
				fragile = false
				panic("in Admit")
			}
			return err
		}), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close(context.Background()) }()
		func() {
			defer func() {
				if recover() == nil {
					t.Error("it did not panic")
				}
			}()
			_, _ = s.Join(ctx, driver.Claim{Name: "x", Kind: "mutex", Mode: driver.Exclusive, Admit: func(driver.View) bool { return true }})
		}()
		g, err := mutex.New(inner, "x").Lock(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Release(ctx); err != nil {
			t.Error(err)
		}
	})
}
