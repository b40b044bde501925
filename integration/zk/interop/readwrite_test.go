package interop

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/internal/zkpeer"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/session"
)

// Curator's InterProcessReadWriteLock and our rwmutex are one lock.

func TestReadersOfBothHoldTogether(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		name, m := nameFor(t), rwmutex.New(p.open(t, "ours"), nameFor(t))
		g, err := m.RLock(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := acquire(bounded(t), p.curator.Reader(), name); err != nil {
			t.Fatal(err)
		}
		second, err := m.RLock(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.TryLock(bounded(t)); !errors.Is(err, session.ErrHeld) {
			t.Errorf("TryLock beside readers returned %v, want ErrHeld", err)
		}
		refused(t, p.curator.Writer(), name)
		for _, g := range []*session.Grant{g, second} {
			if err := g.Release(bounded(t)); err != nil {
				t.Fatal(err)
			}
		}
		refused(t, p.curator.Writer(), name) // while its own kind still reads
		release(t, p.curator.Reader(), name)
		p.queued(t, name, 0)
	})
}

func TestWritersOfBothWaitForReadersOfTheOther(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		name, m := nameFor(t), rwmutex.New(p.open(t, "ours"), nameFor(t))
		ctx := bounded(t)
		if err := acquire(ctx, p.curator.Reader(), name); err != nil {
			t.Fatal(err)
		}
		writes := begin(func() (*session.Grant, error) { return m.Lock(ctx) })
		p.queued(t, name, 2)
		reads := acquiring(t, theirOwn(t, p).Reader(), name) // behind our writer
		p.queued(t, name, 3)
		writes.pending(t)
		reads.pending(t)
		release(t, p.curator.Reader(), name)
		g := writes.must(t)
		reads.pending(t)
		r, err := m.Downgrade(ctx, g)
		if err != nil {
			t.Fatal(err)
		}
		// What a downgrade is, Curator does not know.
		reads.pending(t)
		refused(t, p.curator.Reader(), name)
		if err := r.Release(ctx); err != nil {
			t.Fatal(err)
		}
		reads.must(t)
	})
}

// theirOwn is another Curator: one holds a lock of a path once.
func theirOwn(t *testing.T, p *place) *zkpeer.Curator {
	t.Helper()
	c, err := classes.Start(bounded(t), p.servers, ttl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestReadersOfOursWaitForAWaitingWriterOfTheirs(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		name, m := nameFor(t), rwmutex.New(p.open(t, "ours"), nameFor(t))
		ctx := bounded(t)
		g, err := m.RLock(ctx)
		if err != nil {
			t.Fatal(err)
		}
		writes := acquiring(t, p.curator.Writer(), name)
		p.queued(t, name, 2)
		reads := begin(func() (*session.Grant, error) { return m.RLock(ctx) })
		p.queued(t, name, 3)
		writes.pending(t)
		reads.pending(t)
		if err := g.Release(ctx); err != nil {
			t.Fatal(err)
		}
		writes.must(t)
		reads.pending(t)
		release(t, p.curator.Writer(), name)
		if err := reads.must(t).Release(ctx); err != nil {
			t.Fatal(err)
		}
		p.queued(t, name, 0)
	})
}

func TestMixedReadersAndWritersNeverOverlap(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		const rounds = 12
		name := nameFor(t)
		one, two := rwmutex.New(p.open(t, "one"), name), rwmutex.New(p.open(t, "two"), name)
		hall := &hall{t: t}
		ctx := bounded(t)
		var wg sync.WaitGroup
		for i, take := range []func() error{
			func() error { return one.Do(ctx, hall.write) },
			func() error { return two.Do(ctx, hall.write) },
			func() error { return one.RDo(ctx, hall.read) },
			func() error { return two.RDo(ctx, hall.read) },
			func() error { return theirTurn(p.curator.Writer(), name)(ctx, func(uint64) { _ = hall.write(ctx) }) },
			func() error { return theirTurn(p.curator.Reader(), name)(ctx, func(uint64) { _ = hall.read(ctx) }) },
		} {
			wg.Go(func() {
				for range rounds {
					if err := take(); err != nil {
						t.Errorf("contender %d: %v", i+1, err)
						return
					}
				}
			})
		}
		wg.Wait()
		p.queued(t, name, 0)
	})
}

// A hall sees who is in it at once.
type hall struct {
	t                *testing.T
	readers, writers atomic.Int32
}

func (h *hall) write(context.Context) error {
	if w, r := h.writers.Add(1), h.readers.Load(); w != 1 || r != 0 {
		h.t.Errorf("%d writers and %d readers are inside", w, r)
	}
	time.Sleep(time.Millisecond) // for others to come in
	h.writers.Add(-1)
	return nil
}

func (h *hall) read(context.Context) error {
	h.readers.Add(1)
	if w := h.writers.Load(); w != 0 {
		h.t.Errorf("%d writers are inside with a reader", w)
	}
	time.Sleep(time.Millisecond)
	h.readers.Add(-1)
	return nil
}
