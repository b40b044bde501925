package main

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
)

func TestRunPrintsTheSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		if err := run(t.Context(), "memory://"+t.Name(), &out); err != nil {
			t.Fatal(err)
		}
		if want := "the sum is 6\n"; out.String() != want {
			t.Errorf("it printed %q, want %q", &out, want)
		}
	})
}

// An operator, say, ends the lease in the middle of the work: it stops there.
func TestSumStopsWhenTheLeaseExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewStore() // inside the bubble
		s := open(t, store)
		time.AfterFunc(90*time.Second, func() { store.Expire(s) })
		total, err := sum(t.Context(), s, []int{1, 2, 3}, time.Minute)
		if !errors.Is(err, session.ErrLost) {
			t.Errorf("the error is %v, want one that Is ErrLost", err)
		}
		if total != 1 {
			t.Errorf("the sum is %d, want 1, what there was when the lease ended", total)
		}
	})
}

// The store cannot be reached any more: the work stops by its own clock, before somebody
// else gets the lock.
func TestSumStopsBeforeTheNextHolderStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewStore()
		s, other := open(t, store), open(t, store)
		time.AfterFunc(90*time.Second, func() { store.Cut(s) })
		time.AfterFunc(2*time.Hour, func() { store.Heal(s) }) // so that it can be closed
		stopped := make(chan time.Time, 1)
		go func() {
			_, _ = sum(t.Context(), s, []int{1, 2, 3}, time.Hour)
			stopped <- time.Now()
		}()
		synctest.Wait() // until the sum has the lock

		grant, err := mutex.New(other, "examples/testing").Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		granted := time.Now()
		if err := grant.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if at := <-stopped; !at.Before(granted) {
			t.Errorf("the work stopped at %v, and the next holder started at %v", at, granted)
		}
	})
}

func open(t *testing.T, store *memory.Store) *session.Session {
	t.Helper()
	s, err := store.Session(t.Context(), &session.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	// The test's own context is done when it cleans up.
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	return s
}
