package zkpeer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// GoZooKeeper takes go-zookeeper's Lock, in this process. Each lock has a session
// of its own, because to end that is the only way to give up waiting.
type GoZooKeeper struct {
	servers []string
	timeout time.Duration

	mu     sync.Mutex
	closed bool
	locks  map[string]*goLock // by path; also while they are waited for
}

// NewGoZooKeeper returns a peer whose sessions have the timeout. servers is a
// connect string.
func NewGoZooKeeper(servers string, session time.Duration) *GoZooKeeper {
	return &GoZooKeeper{
		servers: strings.Split(servers, ","),
		timeout: session,
		locks:   make(map[string]*goLock),
	}
}

// Acquire differs from what Locker says in that the lock is given up when ctx is
// done.
func (g *GoZooKeeper) Acquire(ctx context.Context, path string, timeout time.Duration) (bool, error) {
	l, err := g.dial(path)
	if err != nil {
		return false, fmt.Errorf("go-zookeeper: acquire %s: %w", path, err)
	}
	acquired := make(chan error, 1)
	go func() { acquired <- l.lock.Lock() }()
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	select {
	case err = <-acquired:
		if err == nil {
			return true, nil
		}
		g.drop(path, l)
	case <-limit.C:
		g.drop(path, l) // which ends Lock
		<-acquired
		return false, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
		g.drop(path, l)
		<-acquired
	}
	return false, fmt.Errorf("go-zookeeper: acquire %s: %w", path, err)
}

func (g *GoZooKeeper) Release(_ context.Context, path string) error {
	g.mu.Lock()
	l := g.locks[path]
	g.mu.Unlock()
	if l == nil {
		return fmt.Errorf("go-zookeeper: release %s: it is not held", path)
	}
	err := l.lock.Unlock()
	g.drop(path, l)
	if err != nil {
		return fmt.Errorf("go-zookeeper: release %s: %w", path, err)
	}
	return nil
}

// Kill cuts the connections and lets nothing tell the server that they will not
// come back.
func (g *GoZooKeeper) Kill() error {
	for path, l := range g.close() {
		l.cut()
		g.drop(path, l)
	}
	return nil
}

func (g *GoZooKeeper) Close() {
	for path, l := range g.close() {
		g.drop(path, l)
	}
}

// close lets no more locks be made, and returns those that there are.
func (g *GoZooKeeper) close() map[string]*goLock {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	return maps.Clone(g.locks)
}

func (g *GoZooKeeper) dial(path string) (*goLock, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errors.New("the peer is closed")
	}
	if g.locks[path] != nil {
		return nil, errors.New("it is held, or waited for, already")
	}
	l := &goLock{}
	var err error
	l.conn, l.events, err = zk.Connect(g.servers, g.timeout, zk.WithDialer(l.dial), zk.WithLogger(silent{}))
	if err != nil {
		return nil, err
	}
	l.lock = zk.NewLock(l.conn, path, zk.WorldACL(zk.PermAll))
	g.locks[path] = l
	return l, nil
}

// drop ends the lock's session, and with it the lock, and waits until the client
// has ended too.
func (g *GoZooKeeper) drop(path string, l *goLock) {
	l.conn.Close()
	for range l.events {
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.locks[path] == l {
		delete(g.locks, path)
	}
}

// A goLock is a lock and the session that it is held in.
type goLock struct {
	conn   *zk.Conn
	events <-chan zk.Event // closed when conn has ended; it drops what does not fit
	lock   *zk.Lock

	mu   sync.Mutex
	dead bool
	wire net.Conn // nil before the first connection
}

func (l *goLock) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	c, err := net.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		c.Close()
		return nil, net.ErrClosed
	}
	l.wire = c
	return c, nil
}

// cut ends the connection, and keeps the client from making another.
func (l *goLock) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	if l.wire != nil {
		l.wire.Close()
	}
}

type silent struct{}

func (silent) Printf(string, ...any) {}
