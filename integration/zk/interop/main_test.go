package interop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	gozk "github.com/go-zookeeper/zk"
	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/integration/internal/zkpeer"
	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session"
	_ "github.com/fairlead-go/fairlead/session/zk"
)

const (
	// patience bounds everything that must happen, on a machine that may be busy.
	patience = 40 * time.Second

	// moment is how long a peer waits for what it should not get.
	moment = 300 * time.Millisecond

	// ttl is that of all sessions.
	ttl = 5 * time.Second
)

// A place is where contenders meet: a server or an ensemble, and one peer of each
// kind there, which tests share on paths of their own.
type place struct {
	servers string
	admin   *gozk.Conn
	curator *zkpeer.Curator
	kazoo   *zkpeer.Kazoo
	gozk    *zkpeer.GoZooKeeper
}

var (
	places  = map[string]*place{} // by name
	classes zkpeer.Classes
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err == nil && code == 0 {
		err = leak()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// leak finds goroutines that do not end. The client library's last ones take some
// seconds.
func leak() (err error) {
	for range 10 {
		if err = goleak.Find(); err == nil {
			break
		}
	}
	return err
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "interop-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if classes, err = zkpeer.Compile(context.Background(), dir); err != nil {
		return 0, err
	}
	one, err := zkserver.Start(zkserver.Config{NoSync: true})
	if err != nil {
		return 0, err
	}
	defer one.Close()
	three, err := zkserver.StartEnsemble(3, zkserver.Config{NoSync: true})
	if err != nil {
		return 0, err
	}
	defer three.Close()
	defer func() {
		for _, p := range places {
			p.leave()
		}
	}()
	for name, servers := range map[string]string{"standalone": one.Addr(), "ensemble": three.ConnectString()} {
		p := &place{servers: servers}
		places[name] = p
		if err := p.settle(); err != nil {
			return 0, err
		}
	}
	return m.Run(), nil
}

// settle starts the peers.
func (p *place) settle() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if p.admin, _, err = gozk.Connect(strings.Split(p.servers, ","), ttl, gozk.WithLogger(silent{}), gozk.WithLogInfo(false)); err != nil {
		return err
	}
	p.gozk = zkpeer.NewGoZooKeeper(p.servers, ttl)
	var wg sync.WaitGroup
	var errCurator, errKazoo error
	wg.Go(func() { p.curator, errCurator = classes.Start(ctx, p.servers, ttl) })
	wg.Go(func() { p.kazoo, errKazoo = zkpeer.StartKazoo(ctx, p.servers, ttl) })
	wg.Wait()
	return errors.Join(errCurator, errKazoo)
}

func (p *place) leave() {
	if p.curator != nil {
		p.curator.Close()
	}
	if p.kazoo != nil {
		p.kazoo.Close()
	}
	if p.gozk != nil {
		p.gozk.Close()
	}
	if p.admin != nil {
		p.admin.Close()
	}
}

// peers are those at the place, by name.
func (p *place) peers() map[string]zkpeer.Peer {
	return map[string]zkpeer.Peer{"Curator": p.curator, "kazoo": p.kazoo, "go-zookeeper": p.gozk}
}

var quiet = slog.New(slog.DiscardHandler)

type silent struct{}

func (silent) Printf(string, ...any) {}

// everywhere runs a test at each place, beside the other tests.
func everywhere(t *testing.T, f func(t *testing.T, p *place)) {
	t.Parallel()
	for name, p := range places {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, p)
		})
	}
}

// somewhere runs a test at the single server only: what depends on the libraries
// alone, and what takes long.
func somewhere(t *testing.T, f func(t *testing.T, p *place)) {
	t.Parallel()
	f(t, places["standalone"])
}

// nameFor is a name that is its own path, less the slash.
func nameFor(t *testing.T) string {
	return strings.ReplaceAll(strings.ReplaceAll(t.Name(), "/", "-"), " ", "-")
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// open opens a session of ours.
func (p *place) open(t *testing.T, identity string) *session.Session {
	t.Helper()
	return p.openAt(t, "", identity)
}

// openAt is open with a chroot.
func (p *place) openAt(t *testing.T, chroot, identity string) *session.Session {
	t.Helper()
	s, err := session.Open(bounded(t), "zk://"+p.servers+chroot, &session.Options{Identity: identity, TTL: ttl, Logger: quiet})
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

// queued waits until n contenders are in a queue.
func (p *place) queued(t *testing.T, name string, n int) {
	t.Helper()
	var names []string
	for begun := time.Now(); time.Since(begun) < patience; <-time.After(10 * time.Millisecond) {
		var err error
		if _, err = p.admin.Sync("/"); err == nil {
			names, _, err = p.admin.Children("/" + name)
		}
		if errors.Is(err, gozk.ErrNoNode) {
			names, err = nil, nil
		}
		if err == nil && len(names) == n {
			return
		}
	}
	t.Fatalf("%d contenders are in the queue %s, want %d: %v", len(names), name, n, names)
}
