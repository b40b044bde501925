package dashboard

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/memory"
)

// A broken store lists nothing until it is mended.
type broken struct {
	driver.Store
	mended atomic.Bool
}

func (b *broken) List(ctx context.Context, prefix string) ([]driver.Queue, error) {
	if b.mended.Load() {
		return b.Store.List(ctx, prefix)
	}
	return nil, errors.New("the disk is full")
}

// That a list took long because there was no answer says nothing of how long one takes.
func TestListThatFailedIsSaidWhyAndAskedForAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &broken{Store: memory.NewStore().Connect()}
		s, err := session.New(t.Context(), store, &session.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close(context.Background()) }()
		const interval = time.Second
		b := NewBoard(s, "", interval)
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		defer work.Wait()
		defer cancel()
		work.Go(func() { b.Run(ctx) })
		time.Sleep(listTimeout + interval/2)
		all := b.store()
		if len(all) != 1 || all[0].err == nil {
			t.Fatalf("the answers without a store are %v", all)
		}
		for _, want := range []string{"has not answered within 5s", "the disk is full"} {
			if text := all[0].err.Error(); !strings.Contains(text, want) {
				t.Errorf("%q does not say %q", text, want)
			}
		}
		store.mended.Store(true)
		time.Sleep(interval)
		if all = b.store(); len(all) != 2 || all[1].err != nil {
			t.Errorf("the answers an interval later are %v", all)
		}
	})
}
