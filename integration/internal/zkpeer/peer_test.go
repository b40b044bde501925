package zkpeer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/internal/zkserver"
)

const (
	patience = 30 * time.Second
	session  = 4 * time.Second

	// moment is how long a peer waits for a lock that it should not get.
	moment = 300 * time.Millisecond
)

// shared is what all tests stand on. They differ in their paths.
var shared struct {
	server  *zkserver.Server
	classes Classes
}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "zkpeer-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if shared.classes, err = Compile(context.Background(), dir); err != nil {
		return 0, err
	}
	if shared.server, err = zkserver.Start(zkserver.Config{NoSync: true}); err != nil {
		return 0, err
	}
	defer shared.server.Close()
	return m.Run(), nil
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func pathFor(t *testing.T) string {
	return "/" + strings.ReplaceAll(t.Name(), "/", "-")
}

func curator(t *testing.T) *Curator {
	t.Helper()
	c, err := shared.classes.Start(bounded(t), shared.server.Addr(), session)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func kazoo(t *testing.T) *Kazoo {
	t.Helper()
	k, err := StartKazoo(bounded(t), shared.server.Addr(), session)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func goZooKeeper(t *testing.T) *GoZooKeeper {
	t.Helper()
	g := NewGoZooKeeper(shared.server.Addr(), session)
	t.Cleanup(g.Close)
	return g
}

func acquire(t *testing.T, l Locker, path string) {
	t.Helper()
	if ok, err := l.Acquire(bounded(t), path, patience); err != nil || !ok {
		t.Fatalf("Acquire(%s) = %v, %v; want the lock", path, ok, err)
	}
}

// refused fails the test when the lock is there to be had.
func refused(t *testing.T, l Locker, path string) {
	t.Helper()
	if ok, err := l.Acquire(bounded(t), path, moment); err != nil || ok {
		t.Fatalf("Acquire(%s) = %v, %v; want none, it is held", path, ok, err)
	}
}

func release(t *testing.T, l Locker, path string) {
	t.Helper()
	if err := l.Release(bounded(t), path); err != nil {
		t.Fatal(err)
	}
}

// Every pair, once with either as the holder: the other gets the lock neither
// while it is held nor before it was released, and then at once.
func TestPeersExcludeEachOther(t *testing.T) {
	peers := map[string]Peer{"curator": curator(t), "kazoo": kazoo(t), "gozk": goZooKeeper(t)}
	for holding, holder := range peers {
		for waiting, waiter := range peers {
			if holding == waiting || holding == "kazoo" && waiting == "curator" {
				continue // for the latter see TestCuratorDoesNotSeeKazoo
			}
			t.Run(waiting+" waits for "+holding, func(t *testing.T) {
				path := strings.ReplaceAll(pathFor(t), " ", "-")
				acquire(t, holder, path)
				refused(t, waiter, path)

				acquired := make(chan error, 1)
				go func() {
					ok, err := waiter.Acquire(t.Context(), path, patience)
					if err == nil && !ok {
						err = errors.New("it was not acquired")
					}
					acquired <- err
				}()
				release(t, holder, path)
				if err := <-acquired; err != nil {
					t.Fatal(err)
				}
				release(t, waiter, path)
			})
		}
	}
}

// What doc.go warns of. When this fails, Curator has learned kazoo's names.
func TestCuratorDoesNotSeeKazoo(t *testing.T) {
	t.Parallel()
	c, k, path := curator(t), kazoo(t), pathFor(t)
	acquire(t, k, path)
	acquire(t, c, path)
	release(t, c, path)
	release(t, k, path)
}

// The other warning of doc.go.
func TestKazooSeesOthersOnlyWhenToldTo(t *testing.T) {
	t.Parallel()
	g, k, path := goZooKeeper(t), kazoo(t), pathFor(t)
	acquire(t, g, path)
	acquire(t, k.Plain(), path)
	refused(t, k, path)
	release(t, k.Plain(), path)
	refused(t, k, path)
	release(t, g, path)
	acquire(t, k, path)
	release(t, k, path)
}

func TestKazooReadersShareAndWritersDoNot(t *testing.T) {
	t.Parallel()
	one, two, path := kazoo(t), kazoo(t), pathFor(t)
	acquire(t, one.Reader(), path)
	acquire(t, two.Reader(), path)
	refused(t, one.Writer(), path)
	release(t, one.Reader(), path)
	release(t, two.Reader(), path)
	acquire(t, one.Writer(), path)
	refused(t, two.Reader(), path)
	refused(t, two.Writer(), path)
	release(t, one.Writer(), path)
}

func TestCuratorReadersShareAndWritersDoNot(t *testing.T) {
	t.Parallel()
	one, two, path := curator(t), curator(t), pathFor(t)
	acquire(t, one.Reader(), path)
	acquire(t, two.Reader(), path)
	refused(t, one.Writer(), path)
	release(t, one.Reader(), path)
	refused(t, one.Writer(), path)
	release(t, two.Reader(), path)
	acquire(t, one.Writer(), path)
	refused(t, two.Reader(), path)
	refused(t, two.Writer(), path)
	release(t, one.Writer(), path)
}

func TestLocksOfAKilledPeerLastUntilTheirSessionExpires(t *testing.T) {
	t.Parallel()
	for name, peer := range map[string]Peer{"curator": curator(t), "kazoo": kazoo(t), "gozk": goZooKeeper(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, other := pathFor(t), goZooKeeper(t)
			acquire(t, peer, path)
			if err := peer.Kill(); err != nil {
				t.Fatal(err)
			}
			refused(t, other, path)
			acquire(t, other, path)
		})
	}
}

func TestPeersSessionCanBeExpired(t *testing.T) {
	t.Parallel()
	type withSession interface {
		Peer
		Session() (int64, []byte)
	}
	for name, peer := range map[string]withSession{"curator": curator(t), "kazoo": kazoo(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, other := pathFor(t), goZooKeeper(t)
			acquire(t, peer, path)
			id, password := peer.Session()
			if err := zkserver.Expire(bounded(t), shared.server.Addr(), id, password); err != nil {
				t.Fatal(err)
			}
			acquire(t, other, path)
		})
	}
}

func TestMistakesAreErrors(t *testing.T) {
	t.Parallel()
	for name, peer := range map[string]Peer{"curator": curator(t), "kazoo": kazoo(t), "gozk": goZooKeeper(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, ctx := pathFor(t), bounded(t)
			if err := peer.Release(ctx, path); err == nil {
				t.Error("Release of what is not held is no error")
			}
			acquire(t, peer, path)
			if ok, err := peer.Acquire(ctx, path, moment); err == nil {
				t.Errorf("Acquire of what is held already = %v and no error", ok)
			}
			peer.Close()
			if _, err := peer.Acquire(ctx, path, moment); err == nil {
				t.Error("Acquire after Close is no error")
			}
		})
	}
}
