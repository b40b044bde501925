package watch

import (
	"context"
	"errors"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// SetLimit gives a queue of permits another limit, if it is in use. Who holds
// goes on holding; who waits and fits is woken. It blocks until the store has
// acknowledged it, and ends otherwise with ctx's error, with ErrClosed, with
// ErrKind, or with an error that trying again cannot heal. When a reply is lost
// it asks again.
//
// Under a smaller limit, who holds must not be taken for a waiter, and who was let
// in at once does not say that it holds. So a limit becomes smaller in two steps.
// The first asks of everybody who joins from then on to say so, and voids what is
// on its way. Those who were there before are in the queue as it is read then: the
// second sets the limit, and who of them holds. Nobody has to keep still for that.
func SetLimit(ctx context.Context, s *session.Session, name string, limit int64) error {
	_, err := ask(ctx, s, func(ctx context.Context) (struct{}, error) {
		for {
			done, err := setLimit(ctx, s.Store(), name, limit)
			if err == nil && done || err != nil && !errors.Is(err, driver.ErrConflict) {
				return struct{}{}, err
			}
			if ctx.Err() != nil {
				return struct{}{}, ctx.Err()
			}
		}
	})
	return err
}

// setLimit takes one step, and reports whether it was the last.
func setLimit(ctx context.Context, store driver.Store, name string, limit int64) (done bool, err error) {
	q, err := store.Read(ctx, name, 0)
	now := q.Limit
	switch {
	case err != nil:
		return false, err
	case len(q.Entries) == 0, now.N == limit:
		return true, nil
	case q.Entries[0].Mode != driver.Permit:
		return false, driver.Permanent(otherKind(q.Entries[0]))
	case limit > now.N:
		return true, store.SetLimit(ctx, name, now, driver.Limit{N: limit, Through: now.Through, Stamp: now.Stamp})
	case !now.Stamp:
		return false, store.SetLimit(ctx, name, now, driver.Limit{N: now.N, Through: now.Through, Stamp: true})
	}
	through := now.Through
	if n := tallyOf(q.Entries, 0, now).holding; n > 0 {
		through = max(through, q.Entries[n-1].Token)
	}
	return true, store.SetLimit(ctx, name, now, driver.Limit{N: limit, Through: through})
}
