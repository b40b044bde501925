package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/integration/bench/report"
	"github.com/fairlead-go/fairlead/internal/zkserver"
	_ "github.com/fairlead-go/fairlead/session/zk"
)

func zookeeperStore() store {
	return store{name: "zk", start: startZooKeeper, expiring: 4 * time.Second, subjects: append(oursOn("zk://"),
		subject{name: "zk.Lock", kind: mutexes, queues: true, open: zkPeer(newZKLock)},
		subject{name: "raw Create+Delete", kind: writes, open: zkPeer(newZKRaw)},
		subject{name: "raw queue", kind: queues, open: zkPeer(newZKQueue)},
	)}
}

type zookeeperServer struct {
	*zkserver.Server
	conn *zk.Conn // to look at it
}

// startZooKeeper starts a server, whose compiler may do what it does in production.
func startZooKeeper(ctx context.Context, dir string) (server, error) {
	s, err := zkserver.Start(zkserver.Config{
		Dir:      filepath.Join(dir, "zookeeper"),
		Settings: map[string]string{"maxClientCnxns": "0"},
		JVM:      []string{"-Xmx1g", "-XX:TieredStopAtLevel=4"},
		Commands: []string{"wchs"},
	})
	if err != nil {
		return nil, err
	}
	c, err := dialZooKeeper(ctx, s.Addr(), sessionTTL)
	if err != nil {
		s.Close()
		return nil, err
	}
	return &zookeeperServer{s, c}, nil
}

func (s *zookeeperServer) addr() string { return s.Addr() }

func (s *zookeeperServer) endpoint() string { return s.Addr() }

func (s *zookeeperServer) version(ctx context.Context) (string, error) {
	text, err := s.Command(ctx, "srvr")
	v, _, _ := strings.Cut(strings.TrimPrefix(text, "Zookeeper version: "), "-")
	return "ZooKeeper " + v, err
}

func (s *zookeeperServer) stop() error {
	s.conn.Close()
	s.Close()
	return nil
}

// queued counts nodes: the layout is that of the client library's lock.
func (s *zookeeperServer) queued(_ context.Context, name string) (int, error) {
	ok, stat, err := s.conn.Exists(zkNode(name))
	if err != nil || !ok {
		return 0, err
	}
	return int(stat.NumChildren), nil
}

// told returns the figures that the server's answer to a four-letter word has behind
// these labels.
func (s *zookeeperServer) told(ctx context.Context, word string, labels ...string) ([]float64, error) {
	text, err := s.Command(ctx, word)
	if err != nil {
		return nil, err
	}
	figures := make([]float64, len(labels))
	for i, label := range labels {
		_, tail, ok := strings.Cut(text, label+":")
		if !ok {
			return nil, fmt.Errorf("zookeeper answers %s without %q: %q", word, label, text)
		}
		line, _, _ := strings.Cut(tail, "\n")
		if figures[i], err = strconv.ParseFloat(strings.TrimSpace(line), 64); err != nil {
			return nil, fmt.Errorf("read what zookeeper answers to %s: %w", word, err)
		}
	}
	return figures, nil
}

// counters: each request has one answer, so what is sent beyond that are events.
func (s *zookeeperServer) counters(ctx context.Context) (map[report.Metric]float64, error) {
	v, err := s.told(ctx, "srvr", "Received", "Sent")
	if err != nil {
		return nil, err
	}
	return map[report.Metric]float64{report.Requests: v[0], report.Events: v[1] - v[0]}, nil
}

func (s *zookeeperServer) watchers(ctx context.Context) (float64, error) {
	v, err := s.told(ctx, "wchs", "Total watches")
	if err != nil {
		return 0, err
	}
	return v[0], nil
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// dialZooKeeper waits for a session.
func dialZooKeeper(ctx context.Context, addr string, ttl time.Duration) (*zk.Conn, error) {
	c, events, err := zk.Connect([]string{addr}, ttl/2, zk.WithLogger(quiet{}), zk.WithLogInfo(false))
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

// zkConn is a client of the client library.
type zkConn struct {
	conn *zk.Conn
	make func(c *zk.Conn, name string) contender
}

func zkPeer(make func(c *zk.Conn, name string) contender) func(context.Context, string, time.Duration) (client, error) {
	return func(ctx context.Context, addr string, ttl time.Duration) (client, error) {
		c, err := dialZooKeeper(ctx, addr, ttl)
		if err != nil {
			return nil, err
		}
		return &zkConn{c, make}, nil
	}
}

func (c *zkConn) contender(_ context.Context, name string) (contender, error) {
	return c.make(c.conn, name), nil
}

func (c *zkConn) close(context.Context) error {
	c.conn.Close()
	return nil
}

// zkLock is the lock of the client library, which knows of no contexts.
type zkLock struct{ *zk.Lock }

func newZKLock(c *zk.Conn, name string) contender {
	return &zkLock{zk.NewLock(c, zkNode(name), zk.WorldACL(zk.PermAll))}
}

func (l *zkLock) lock(context.Context) error { return l.Lock.Lock() }

func (l *zkLock) unlock(context.Context) error { return l.Unlock() }

// zkRaw makes an ephemeral node and deletes it, and excludes nobody.
type zkRaw struct {
	conn *zk.Conn
	path string
}

func newZKRaw(c *zk.Conn, name string) contender { return &zkRaw{c, zkNode(name)} }

func (r *zkRaw) lock(context.Context) error {
	_, err := r.conn.Create(r.path, nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	return err
}

func (r *zkRaw) unlock(context.Context) error { return r.conn.Delete(r.path, -1) }

// zkQueue makes a node with the next number, waits until that with the number before is
// deleted, and deletes its own: a commit, a read and an event, and a commit.
type zkQueue struct {
	conn   *zk.Conn
	parent string
	place  string
}

func newZKQueue(c *zk.Conn, name string) contender { return &zkQueue{conn: c, parent: zkNode(name)} }

func (q *zkQueue) lock(ctx context.Context) (err error) {
	const prefix = "/place-"
	q.place, err = q.conn.Create(q.parent+prefix, nil, zk.FlagEphemeral|zk.FlagSequence, zk.WorldACL(zk.PermAll))
	if errors.Is(err, zk.ErrNoNode) {
		if _, err = q.conn.Create(q.parent, nil, 0, zk.WorldACL(zk.PermAll)); err == nil || errors.Is(err, zk.ErrNodeExists) {
			return q.lock(ctx)
		}
	}
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimPrefix(q.place, q.parent+prefix))
	if err != nil {
		return err
	}
	there, _, gone, err := q.conn.ExistsW(fmt.Sprintf("%s%s%010d", q.parent, prefix, n-1))
	if err != nil || !there {
		return err
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *zkQueue) unlock(context.Context) error { return q.conn.Delete(q.place, -1) }
