package postgres_test

import (
	"context"
	"flag"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

var handoffs = flag.Int("handoffs", 50_000, "how often the lock changes hands in TestHandOffsNeverOverlapNorStop")

// Sixteen sessions pass a lock on. With a TTL of an hour nobody looks by itself, so a wake-up
// that is lost would stop them all. The server flushes nothing, which lets it be as quick as it
// can.
func TestHandOffsNeverOverlapNorStop(t *testing.T) {
	const contenders = 16
	s, err := pgserver.Start(pgserver.Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	ctx := t.Context()
	var holders atomic.Int32
	var left, last atomic.Int64
	left.Store(int64(*handoffs))
	var wg sync.WaitGroup
	begun := time.Now()
	for range contenders {
		sess, err := session.Open(ctx, s.AdminURL("postgres"), &session.Options{TTL: time.Hour, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sess.Close(context.Background()) })
		wg.Go(func() {
			m := mutex.New(sess, "handoff")
			for left.Add(-1) >= 0 && !t.Failed() {
				limited, cancel := context.WithTimeout(ctx, patience)
				g, err := m.Lock(limited)
				cancel()
				if err != nil {
					t.Errorf("nobody was told that it is its turn: %v", err)
					return
				}
				if holders.Add(1) != 1 {
					t.Errorf("two hold at once")
				}
				if token := int64(g.Token()); last.Swap(token) >= token {
					t.Errorf("token %d is not larger than the one before", token)
				}
				holders.Add(-1)
				if err := g.Release(ctx); err != nil {
					t.Errorf("release: %v", err)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	t.Logf("%d hand-offs in %v, %v each", *handoffs, took.Round(time.Millisecond), (took / time.Duration(*handoffs)).Round(time.Microsecond))
}
