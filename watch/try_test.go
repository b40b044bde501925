package watch_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/memory"
)

// A heedless store makes every entry, as one does whose reply is lost before the entry is
// judged, so that it is found, and adopted.
type (
	heedlessStore struct{ driver.Store }
	heedlessLease struct{ driver.Lease }
)

func (s heedlessStore) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	l, sent, err := s.Store.Grant(ctx, spec)
	return heedlessLease{l}, sent, err
}

func (l heedlessLease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	c.Admit = nil
	return l.Lease.Join(ctx, c)
}

// Who only tries does not wait, whatever the store has let in.
func TestTryNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.NewStore()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		holder, err := st.Session(ctx, &session.Options{Identity: "holder"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = holder.Close(context.Background()) }()
		s, err := session.New(ctx, heedlessStore{st.Connect()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close(context.Background()) }()
		if _, err := mutex.New(holder, "x").Lock(ctx); err != nil {
			t.Fatal(err)
		}
		_, err = mutex.New(s, "x").TryLock(ctx)
		if e, ok := errors.AsType[*session.Error](err); !errors.Is(err, session.ErrHeld) || !ok || e.Holder != "holder" {
			t.Errorf("the error is %v, want ErrHeld, and who holds", err)
		}
		if q, err := st.Connect().Read(ctx, "x", 0); err != nil || len(q.Entries) != 1 {
			t.Errorf("the queue is %+v, %v, want the holder alone", q, err)
		}
	})
}
