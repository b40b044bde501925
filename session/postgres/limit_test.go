package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// permit joins a queue with a limit of one.
func (p *party) permit(name string) driver.View {
	p.t.Helper()
	c := claim(name)
	c.Kind, c.Mode, c.Limit, c.Value = "semaphore", driver.Permit, 1, "1"
	v, err := p.Join(bounded(p.t), c)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// Whoever changes a limit and closes has told those who wait for it: nobody else would.
func TestNewLimitIsToldOfBeforeItsStoreCloses(t *testing.T) {
	t.Parallel()
	url := namespace(t, "limited")
	a, b := enter(t, url, long, nil), enter(t, url, long, nil)
	held := a.permit("q")
	v := b.permit("q")
	ended := make(chan error, 1)
	ctx := bounded(t)
	go func() {
		_, err := b.Wait(ctx, v, driver.Obstacles{Entries: v.Ahead, Limit: true})
		ended <- err
	}()
	eventually(t, func() error {
		if ask[int](t, "SELECT count(*) FROM limited.entry WHERE waits_limit") == 0 {
			return errors.New("the waiter is not registered")
		}
		return nil
	})
	other, err := dial(url, &session.Options{TTL: long}, &drivertest.Link{}) // which shares nothing
	if err != nil {
		t.Fatal(err)
	}
	err = other.SetLimit(context.Background(), "q", held.Limit, driver.Limit{N: 2})
	if err := errors.Join(err, other.Close()); err != nil {
		t.Fatal(err)
	}
	ends(t, ended, patience)
}
