package interop

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/integration/internal/zkpeer"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/zk"
)

// A call runs beside the test.
type call[T any] struct {
	done chan struct{}
	v    T
	err  error
}

func begin[T any](f func() (T, error)) *call[T] {
	c := &call[T]{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.v, c.err = f()
	}()
	return c
}

// must waits for the call, which has to succeed.
func (c *call[T]) must(t *testing.T) T {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		t.Fatalf("still waiting after %v", patience)
	}
	if c.err != nil {
		t.Fatal(c.err)
	}
	return c.v
}

// pending fails the test when the call has ended already.
func (c *call[T]) pending(t *testing.T) {
	t.Helper()
	select {
	case <-c.done:
		t.Fatalf("ended too early: %v, %v", c.v, c.err)
	default:
	}
}

// acquire takes a lock of a peer's.
func acquire(ctx context.Context, l zkpeer.Locker, name string) error {
	ok, err := l.Acquire(ctx, "/"+name, patience)
	if err == nil && !ok {
		err = fmt.Errorf("not acquired within %v", patience)
	}
	return err
}

// acquiring starts to take a lock of a peer's.
func acquiring(t *testing.T, l zkpeer.Locker, name string) *call[struct{}] {
	ctx := bounded(t)
	return begin(func() (struct{}, error) { return struct{}{}, acquire(ctx, l, name) })
}

// refused fails the test if a peer gets a lock.
func refused(t *testing.T, l zkpeer.Locker, name string) {
	t.Helper()
	if ok, err := l.Acquire(bounded(t), "/"+name, moment); err != nil || ok {
		t.Fatalf("a lock that is held was acquired: %v, %v", ok, err)
	}
}

func release(t *testing.T, l zkpeer.Locker, name string) {
	t.Helper()
	if err := l.Release(bounded(t), "/"+name); err != nil {
		t.Fatal(err)
	}
}

// ours are the ways in which we take a name for ourselves.
var ours = map[string]func(ctx context.Context, s *session.Session, name string) (*session.Grant, error){
	"mutex": func(ctx context.Context, s *session.Session, name string) (*session.Grant, error) {
		return mutex.New(s, name).Lock(ctx)
	},
	"election": func(ctx context.Context, s *session.Session, name string) (*session.Grant, error) {
		term, err := election.New(s, name).Campaign(ctx, "ours")
		if err != nil {
			return nil, err
		}
		return term.Grant, nil
	},
}

func TestEitherWaitsForTheOther(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		s := p.open(t, "ours")
		for kind, take := range ours {
			for who, peer := range p.peers() {
				t.Run(kind+" and "+who, func(t *testing.T) {
					t.Parallel()
					name := nameFor(t)
					g, err := take(bounded(t), s, name)
					if err != nil {
						t.Fatal(err)
					}
					refused(t, peer, name)
					theirs := acquiring(t, peer, name)
					p.queued(t, name, 2)
					theirs.pending(t)
					if err := g.Release(bounded(t)); err != nil {
						t.Fatal(err)
					}
					theirs.must(t)

					if _, err := mutex.New(s, name).TryLock(bounded(t)); !errors.Is(err, session.ErrHeld) {
						t.Errorf("TryLock of what %s holds returned %v, want ErrHeld", who, err)
					}
					ctx := bounded(t)
					waits := begin(func() (*session.Grant, error) { return take(ctx, s, name) })
					p.queued(t, name, 2)
					waits.pending(t)
					release(t, peer, name)
					if err := waits.must(t).Release(bounded(t)); err != nil {
						t.Fatal(err)
					}
					p.queued(t, name, 0)
				})
			}
		}
	})
}

// A turn is what a contender does again and again.
type turn func(ctx context.Context, f func(token uint64)) error

func ourTurn(s *session.Session, kind, name string) turn {
	return func(ctx context.Context, f func(uint64)) error {
		g, err := ours[kind](ctx, s, name)
		if err != nil {
			return err
		}
		f(g.Token())
		return g.Release(ctx)
	}
}

func theirTurn(l zkpeer.Locker, name string) turn {
	return func(ctx context.Context, f func(uint64)) error {
		if err := acquire(ctx, l, name); err != nil {
			return err
		}
		f(0)
		return l.Release(ctx, "/"+name)
	}
}

// Curator and kazoo are apart, as Curator does not see kazoo: for both at once see
// TestNobodyIsInsideWithUsThoughCuratorAndKazooMayBe.
func TestMixedContendersExcludeEachOther(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		one, two := p.open(t, "one"), p.open(t, "two")
		for who, peer := range map[string]zkpeer.Peer{"Curator": p.curator, "kazoo": p.kazoo} {
			t.Run(who, func(t *testing.T) {
				t.Parallel()
				name := nameFor(t)
				contend(t, []turn{
					ourTurn(one, "mutex", name), ourTurn(one, "mutex", name), ourTurn(two, "mutex", name), ourTurn(two, "election", name),
					theirTurn(peer, name), theirTurn(p.gozk, name),
				})
				p.queued(t, name, 0)
			})
		}
	})
}

// contend has all take turns, of which no two may overlap.
func contend(t *testing.T, turns []turn) {
	const rounds = 12
	var inside, taken atomic.Int32
	var last atomic.Uint64
	var wg sync.WaitGroup
	ctx := bounded(t)
	for i, take := range turns {
		wg.Go(func() {
			for range rounds {
				err := take(ctx, func(token uint64) {
					if n := inside.Add(1); n != 1 {
						t.Errorf("%d hold at once", n)
					}
					if token != 0 {
						if before := last.Swap(token); before >= token {
							t.Errorf("token %d was granted after %d", token, before)
						}
					}
					taken.Add(1)
					time.Sleep(time.Millisecond) // for others to come in
					inside.Add(-1)
				})
				if err != nil {
					t.Errorf("contender %d: %v", i+1, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if want := int32(rounds * len(turns)); taken.Load() != want {
		t.Errorf("%d turns were taken, want %d", taken.Load(), want)
	}
}

func TestMixedContendersAreServedInTheOrderOfTheirComing(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		one, two := p.open(t, "one"), p.open(t, "two")
		for who, peer := range map[string]zkpeer.Peer{"Curator": p.curator, "kazoo": p.kazoo} {
			t.Run(who, func(t *testing.T) {
				t.Parallel()
				name := nameFor(t)
				p.inOrder(t, one, name, []turn{
					theirTurn(p.gozk, name), ourTurn(two, "mutex", name), theirTurn(peer, name), ourTurn(one, "election", name),
				})
			})
		}
	})
}

// inOrder has a line of contenders come one after the other, behind a holder on
// the session.
func (p *place) inOrder(t *testing.T, s *session.Session, name string, line []turn) {
	t.Helper()
	g, err := mutex.New(s, name).Lock(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var order []int
	ctx := bounded(t)
	var calls []*call[struct{}]
	for i, take := range line {
		calls = append(calls, begin(func() (struct{}, error) {
			return struct{}{}, take(ctx, func(uint64) {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
			})
		}))
		p.queued(t, name, i+2)
	}
	if err := g.Release(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range calls {
		c.must(t)
	}
	if !slices.IsSorted(order) || len(order) != len(line) {
		t.Errorf("they were served in the order %v", order)
	}
}

// What guarantee 2 says of our successors holds for theirs as well.
func TestWeStopBeforeTheirsIsGranted(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		for who, peer := range p.peers() {
			t.Run(who, func(t *testing.T) {
				t.Parallel()
				name := nameFor(t)
				link := &drivertest.Link{}
				s := p.openThrough(t, link)
				g, err := mutex.New(s, name).Lock(bounded(t))
				if err != nil {
					t.Fatal(err)
				}
				theirs := acquiring(t, peer, name)
				p.queued(t, name, 2)
				link.Freeze()
				defer link.Heal()
				theirs.must(t)
				if err := g.Context().Err(); err == nil {
					t.Errorf("%s holds the lock, and the context of our grant is not done", who)
				}
				if !errors.Is(context.Cause(g.Context()), session.ErrLost) {
					t.Errorf("the context of our grant ended with %v, want ErrLost", context.Cause(g.Context()))
				}
				release(t, peer, name)
			})
		}
	})
}

// openThrough opens a session of ours over a network that can fail.
func (p *place) openThrough(t *testing.T, link *drivertest.Link) *session.Session {
	t.Helper()
	u, err := url.Parse("zk://" + p.servers)
	if err != nil {
		t.Fatal(err)
	}
	opts := &session.Options{Identity: "ours", TTL: ttl, Logger: quiet}
	store, err := zk.OpenWith(bounded(t), u, opts, link.Dial)
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.New(bounded(t), store, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}
