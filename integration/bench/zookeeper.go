package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	_ "github.com/fairlead-go/fairlead/session/zk"
)

func zookeeperStore() store {
	return store{name: "zk", start: startZooKeeper, subjects: []subject{
		{name: "fairlead mutex", excludes: true, join: joinOurs("zk://")},
		{name: "zk.Lock", excludes: true, join: joinZKLock},
		{name: "raw Create+Delete", join: joinZKRaw},
	}}
}

type zookeeperServer struct{ *zkserver.Server }

// startZooKeeper starts a server, whose compiler may do what it does in production.
func startZooKeeper(_ context.Context, dir string) (server, error) {
	s, err := zkserver.Start(zkserver.Config{
		Dir:      filepath.Join(dir, "zookeeper"),
		Settings: map[string]string{"maxClientCnxns": "0"},
		JVM:      []string{"-Xmx1g", "-XX:TieredStopAtLevel=4"},
	})
	if err != nil {
		return nil, err
	}
	return zookeeperServer{s}, nil
}

func (s zookeeperServer) addr() string { return s.Addr() }

func (s zookeeperServer) stop() error {
	s.Close()
	return nil
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// dialZooKeeper waits for a session.
func dialZooKeeper(ctx context.Context, addr string) (*zk.Conn, error) {
	c, events, err := zk.Connect([]string{addr}, sessionTTL*time.Second/2, zk.WithLogger(quiet{}), zk.WithLogInfo(false))
	if err != nil {
		return nil, err
	}
	for {
		select {
		case ev := <-events:
			if ev.State == zk.StateHasSession {
				return c, nil
			}
		case <-ctx.Done():
			c.Close()
			return nil, ctx.Err()
		}
	}
}

// zkNode is a name as one part of a path.
func zkNode(name string) string { return "/" + strings.NewReplacer("/", "-", " ", "-").Replace(name) }

// zkLock is a contender that uses the lock of the client library.
type zkLock struct {
	conn  *zk.Conn
	mutex *zk.Lock
}

func joinZKLock(ctx context.Context, addr string) (contender, error) {
	c, err := dialZooKeeper(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &zkLock{conn: c}, nil
}

func (l *zkLock) prepare(name string) {
	l.mutex = zk.NewLock(l.conn, zkNode(name), zk.WorldACL(zk.PermAll))
}

func (l *zkLock) lock(context.Context) error { return l.mutex.Lock() }

func (l *zkLock) unlock(context.Context) error { return l.mutex.Unlock() }

func (l *zkLock) close(context.Context) error {
	l.conn.Close()
	return nil
}

// zkRaw makes an ephemeral node and deletes it, and excludes nobody.
type zkRaw struct {
	conn *zk.Conn
	path string
}

func joinZKRaw(ctx context.Context, addr string) (contender, error) {
	c, err := dialZooKeeper(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &zkRaw{conn: c}, nil
}

func (r *zkRaw) prepare(name string) { r.path = zkNode(name) }

func (r *zkRaw) lock(context.Context) error {
	_, err := r.conn.Create(r.path, nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	return err
}

func (r *zkRaw) unlock(context.Context) error { return r.conn.Delete(r.path, -1) }

func (r *zkRaw) close(context.Context) error {
	r.conn.Close()
	return nil
}
