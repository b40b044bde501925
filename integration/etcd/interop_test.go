package etcd_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

// A contender takes turns on a name: it acquires, calls f with its fencing
// token, or 0 if its library has none, and releases.
type contender struct {
	who  string
	turn func(ctx context.Context, f func(token uint64)) error
}

func ourMutex(s *session.Session, name string) contender {
	return contender{"mutex", func(ctx context.Context, f func(uint64)) error {
		g, err := mutex.New(s, name).Lock(ctx)
		if err != nil {
			return err
		}
		f(g.Token())
		return g.Release(ctx)
	}}
}

func ourElection(s *session.Session, name string) contender {
	return contender{"election", func(ctx context.Context, f func(uint64)) error {
		term, err := election.New(s, name).Campaign(ctx, "ours")
		if err != nil {
			return err
		}
		f(term.Token())
		return term.Resign(ctx)
	}}
}

func theirMutex(s *concurrency.Session, name string) contender {
	return contender{"concurrency.Mutex", func(ctx context.Context, f func(uint64)) error {
		m := concurrency.NewMutex(s, name)
		if err := m.Lock(ctx); err != nil {
			return err
		}
		f(0)
		return m.Unlock(ctx)
	}}
}

func theirElection(s *concurrency.Session, name string) contender {
	return contender{"concurrency.Election", func(ctx context.Context, f func(uint64)) error {
		e := concurrency.NewElection(s, name)
		if err := e.Campaign(ctx, "theirs"); err != nil {
			return err
		}
		f(0)
		return e.Resign(ctx)
	}}
}

func TestMixedContendersExcludeEachOther(t *testing.T) {
	t.Parallel()
	const rounds = 25
	name, ctx := nameFor(t), bounded(t)
	one := open(t, shared.Addr(), quiet("one", 0))
	two := open(t, shared.Addr(), quiet("two", 0))
	contenders := []contender{
		ourMutex(one, name), ourMutex(one, name), ourMutex(two, name), ourElection(two, name),
		// Theirs take one session each: on a common one they do not exclude each other.
		theirMutex(foreignSession(t), name), theirMutex(foreignSession(t), name),
		theirElection(foreignSession(t), name), theirElection(foreignSession(t), name),
	}

	var inside, turns, overlaps atomic.Int32
	var lastToken atomic.Uint64
	var wg sync.WaitGroup
	for _, c := range contenders {
		wg.Go(func() {
			for range rounds {
				err := c.turn(ctx, func(token uint64) {
					if inside.Add(1) != 1 {
						overlaps.Add(1)
					}
					if token != 0 {
						if last := lastToken.Swap(token); last >= token {
							t.Errorf("token %d was granted after %d", token, last)
						}
					}
					turns.Add(1)
					inside.Add(-1)
				})
				if err != nil {
					t.Errorf("%s: %v", c.who, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := overlaps.Load(); n != 0 {
		t.Errorf("two contenders held at once, %d times", n)
	}
	if got, want := int(turns.Load()), rounds*len(contenders); got != want {
		t.Errorf("%d turns were taken, want %d", got, want)
	}
	queued(t, name, 0)
}

func TestTheirWaiterProceedsOnOurRelease(t *testing.T) {
	t.Parallel()
	name := nameFor(t)
	g := lock(t, open(t, shared.Addr(), quiet("ours", 0)), name)
	m := concurrency.NewMutex(foreignSession(t), name)
	theirs := begin(func() (struct{}, error) { return struct{}{}, m.Lock(bounded(t)) })
	queued(t, name, 2)
	if err := concurrency.NewMutex(foreignSession(t), name).TryLock(bounded(t)); !errors.Is(err, concurrency.ErrLocked) {
		t.Errorf("their TryLock while we hold: %v, want ErrLocked", err)
	}
	theirs.pending(t)
	release(t, g)
	theirs.must(t)
	if err := m.Unlock(bounded(t)); err != nil {
		t.Error(err)
	}
	queued(t, name, 0)
}

func TestOurWaiterProceedsOnTheirRelease(t *testing.T) {
	t.Parallel()
	name := nameFor(t)
	m := concurrency.NewMutex(foreignSession(t), name)
	if err := m.Lock(bounded(t)); err != nil {
		t.Fatal(err)
	}
	s := open(t, shared.Addr(), quiet("ours", 0))
	ours := locking(bounded(t), s, name)
	queued(t, name, 2)
	_, err := mutex.New(s, name).TryLock(bounded(t))
	if !errors.Is(err, session.ErrHeld) {
		t.Errorf("our TryLock while they hold: %v, want ErrHeld", err)
	}
	if e, ok := errors.AsType[*session.Error](err); !ok || e.Token != uint64(m.Header().Revision) {
		t.Errorf("our TryLock names the holder as %+v, want token %d", e, m.Header().Revision)
	}
	ours.pending(t)
	if err := m.Unlock(bounded(t)); err != nil {
		t.Fatal(err)
	}
	release(t, ours.must(t))
	queued(t, name, 0)
}

// The waiter between two of ours is another library's, and dies: who waits
// behind it must neither be let in nor wait for ever.
func TestTheirWaiterDiesBetweenOurs(t *testing.T) {
	t.Parallel()
	name := nameFor(t)
	s := open(t, shared.Addr(), quiet("ours", 0))
	g := lock(t, s, name)
	doomed, err := concurrency.NewSession(shared.admin, concurrency.WithTTL(30))
	if err != nil {
		t.Fatal(err)
	}
	defer doomed.Orphan() // its lease is gone by then
	theirs := begin(func() (struct{}, error) {
		return struct{}{}, concurrency.NewMutex(doomed, name).Lock(bounded(t))
	})
	queued(t, name, 2)
	ours := locking(bounded(t), s, name)
	queued(t, name, 3)
	if _, err := shared.admin.Revoke(bounded(t), doomed.Lease()); err != nil {
		t.Fatal(err)
	}
	queued(t, name, 2)
	ours.pending(t)
	release(t, g)
	release(t, ours.must(t))
	<-theirs.done // with whatever their library makes of it
}
