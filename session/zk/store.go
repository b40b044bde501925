package zk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

const (
	// maxWarned bounds the nodes that are remembered as having been warned of.
	maxWarned = 1000

	// maxOwners bounds the sessions whose identities are remembered.
	maxOwners = 4096

	// inFlight bounds the reads of one look that are under way at once.
	inFlight = 64
)

// A Dialer makes a connection to a server.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// A store is what is known of an ensemble. Each lease has a connection of its own,
// as in ZooKeeper a lease is a session and a session a connection; for what needs
// no lease there is one more, made on demand.
type store struct {
	servers []string
	root    string // the chroot, "" or beginning with a slash
	auth    []Auth
	acl     []zk.ACL
	timeout time.Duration
	dial    Dialer
	logger  *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // what goes on in the background

	opening chan struct{} // holds one while the reader is made

	mu     sync.Mutex
	reader *conn // nil until it is needed
	conns  map[*conn]struct{}
	warned map[string]struct{}
	owners map[string]string // identities, by lease
}

// Backend implements driver.Store.
func (s *store) Backend() string { return "zookeeper" }

// Close implements driver.Store.
func (s *store) Close() error {
	s.cancel()
	defer s.work.Wait()
	s.mu.Lock()
	reader, conns := s.reader, slices.Collect(maps.Keys(s.conns))
	clear(s.conns)
	s.mu.Unlock()
	if reader != nil {
		reader.Close() // says so to the server, unless that does not answer for a second
	}
	for _, c := range conns {
		c.stop()
	}
	return nil
}

func (s *store) isClosed() bool { return s.ctx.Err() != nil }

// connect begins a session and remembers it, to end it with the store.
func (s *store) connect(ctx context.Context, timeout time.Duration) (*conn, error) {
	c, err := s.dialConn(ctx, timeout)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed() {
		c.stop()
		return nil, errClosed
	}
	s.conns[c] = struct{}{}
	return c, nil
}

// forget ends a connection whose session is over.
func (s *store) forget(c *conn) {
	c.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// reading returns the connection for what needs no lease. One caller makes it for all.
func (s *store) reading(ctx context.Context) (*conn, error) {
	if c := s.reads(); c != nil {
		return c, nil
	}
	select {
	case s.opening <- struct{}{}:
		defer func() { <-s.opening }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c := s.reads(); c != nil { // somebody was faster
		return c, nil
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout) // others wait for it
	defer cancel()
	c, err := s.connect(limited, s.timeout)
	if err != nil {
		return nil, err
	}
	s.work.Go(c.giveUp)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, s.reader) // whose session is over
	s.reader = c
	return c, nil
}

// reads returns the connection for what needs no lease, unless there is none, or its session
// is over.
func (s *store) reads() *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader == nil || s.reader.isGone() {
		return nil
	}
	return s.reader
}

// queueDir is the node that a queue's entries are below.
func (s *store) queueDir(name string) string { return s.root + "/" + encodeName(name) }

func (s *store) sessionPath(lease string) string { return s.root + sessions + "/" + lease }

func (s *store) limitPath(name string) string { return s.root + limits + "/" + encodeName(name) }

// makeDirs makes a node and those above it, as containers: the server removes them
// when they are empty.
func (s *store) makeDirs(ctx context.Context, c *conn, path string) error {
	parts := strings.Split(path, "/")
	for n := 2; n <= len(parts); n++ {
		dir := strings.Join(parts[:n], "/")
		_, err := call(ctx, c, func() (string, error) { return c.CreateContainer(dir, nil, zk.FlagContainer, s.acl) })
		if err != nil && !errors.Is(err, zk.ErrNodeExists) {
			if errors.Is(err, zk.ErrNoAuth) {
				if _, e := c.exists(ctx, dir); e == nil {
					continue // it is there, and somebody else's
				}
			}
			return err
		}
	}
	return nil
}

// withDir makes a call that needs a node to be there, and makes that if it is not:
// the server may remove an empty one at any time.
func (s *store) withDir(ctx context.Context, c *conn, dir string, f func() error) error {
	for attempt := 0; ; attempt++ {
		err := f()
		if !errors.Is(err, zk.ErrNoNode) || attempt == 3 {
			return err
		}
		if err := s.makeDirs(ctx, c, dir); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return err
		}
	}
}

// warnOnce logs something about a node, once or nearly so: the memory for it is
// bounded.
func (s *store) warnOnce(path, message string) {
	s.mu.Lock()
	_, done := s.warned[path]
	if !done && len(s.warned) == maxWarned {
		clear(s.warned)
	}
	s.warned[path] = struct{}{}
	s.mu.Unlock()
	if !done {
		s.logger.Warn(message, "node", path)
	}
}

// Read implements driver.Store.
func (s *store) Read(ctx context.Context, name string, n int) (driver.Queue, error) {
	op := "read queue " + quoted(name)
	c, err := s.reading(ctx)
	if err == nil {
		err = c.catchUp(ctx)
	}
	var q driver.Queue
	if err == nil {
		q, err = s.readQueue(ctx, c, name, n)
	}
	if err != nil {
		return driver.Queue{}, s.failed(ctx, op, err)
	}
	return q, nil
}

// readQueue reads the first n entries of a queue, all if n is 0, and its limit, which
// is the same before and after the entries are read: who changes it has to know all who
// joined under it.
func (s *store) readQueue(ctx context.Context, c *conn, name string, n int) (driver.Queue, error) {
	q, err := s.readEntries(ctx, c, name, n)
	for err == nil && len(q.Entries) > 0 && q.Entries[0].Mode == driver.Permit {
		var before driver.Limit
		if before, err = s.readLimit(ctx, c, name); err != nil {
			break
		}
		if before == q.Limit { // and was it, when the entries were read
			return q, nil
		}
		q, err = s.readEntries(ctx, c, name, n)
		q.Limit = before
	}
	return q, err
}

// readEntries is readQueue without the limit.
func (s *store) readEntries(ctx context.Context, c *conn, name string, n int) (driver.Queue, error) {
	q := driver.Queue{Name: name}
	l, err := c.children(ctx, s.queueDir(name))
	if errors.Is(err, zk.ErrNoNode) {
		return q, nil
	}
	if err != nil {
		return q, err
	}
	places, err := s.ordered(ctx, c, name, l.names)
	if err != nil {
		return q, err
	}
	if n > 0 { // some may be gone, or be no entries
		for len(q.Entries) < n && len(places) > 0 {
			some := places[:min(len(places), n)]
			places = places[len(some):]
			entries, err := s.entries(ctx, c, name, some)
			if err != nil {
				return q, err
			}
			q.Entries = append(q.Entries, entries...)
		}
	} else if q.Entries, err = s.entries(ctx, c, name, places); err != nil {
		return q, err
	}
	return q, err
}

// A place is a node of a queue, and what its name says.
type place struct {
	label
	name string
}

// places returns the nodes that are entries by their names.
func (s *store) places(queue string, names []string) []place {
	ps := make([]place, 0, len(names))
	for _, name := range names {
		if l, ok := parseNode(name); ok {
			ps = append(ps, place{l, name})
		} else {
			s.warnOnce(s.queueDir(queue)+"/"+name, "fairlead: ignoring a node in a queue that is no entry of any lock known; move it elsewhere")
		}
	}
	return ps
}

// ordered is places, in the order in which they were made. Their numbers tell it for as
// long as the server's counter has not come to its end. There it stays, and gives out
// numbers beyond, or the same ones again; then the servers are asked.
func (s *store) ordered(ctx context.Context, c *conn, queue string, names []string) ([]place, error) {
	ps := s.places(queue, names)
	if !slices.ContainsFunc(ps, func(p place) bool { return p.seq < 0 || p.seq == math.MaxInt32 }) {
		slices.SortFunc(ps, func(a, b place) int { return cmp.Compare(a.seq, b.seq) })
		return ps, nil
	}
	made := make(map[string]int64, len(ps))
	for _, p := range ps {
		n, err := c.exists(ctx, s.queueDir(queue)+"/"+p.name)
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			return nil, err
		}
		if err == nil {
			made[p.name] = n.stat.Czxid
		}
	}
	ps = slices.DeleteFunc(ps, func(p place) bool { return made[p.name] == 0 })
	slices.SortFunc(ps, func(a, b place) int { return cmp.Compare(made[a.name], made[b.name]) })
	return ps, nil
}

// entries reads nodes. Those that are gone, and those that no session keeps, are
// left out.
func (s *store) entries(ctx context.Context, c *conn, queue string, ps []place) ([]driver.Entry, error) {
	found := make([]driver.Entry, len(ps))
	errs := make([]error, len(ps))
	var wg sync.WaitGroup
	slots := make(chan struct{}, inFlight)
	for i, p := range ps {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			found[i], errs[i] = s.entry(ctx, c, queue, p)
		})
	}
	wg.Wait()
	entries := found[:0]
	for i, e := range found {
		switch {
		case errors.Is(errs[i], driver.ErrEntryGone):
		case errs[i] != nil:
			return nil, errs[i]
		default:
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// entry reads a node. It fails with ErrEntryGone when that is gone or no entry.
func (s *store) entry(ctx context.Context, c *conn, queue string, p place) (driver.Entry, error) {
	return s.entryBy(ctx, c.get, queue, p)
}

// entryBy is entry with a way to read.
func (s *store) entryBy(ctx context.Context, read func(context.Context, string) (node, error), queue string, p place) (driver.Entry, error) {
	path := s.queueDir(queue) + "/" + p.name
	n, err := read(ctx, path)
	if errors.Is(err, zk.ErrNoNode) {
		return driver.Entry{}, driver.ErrEntryGone
	}
	if err != nil {
		return driver.Entry{}, err
	}
	if n.stat.EphemeralOwner == 0 {
		s.warnOnce(path, "fairlead: ignoring a node in a queue that belongs to no session; delete it")
		return driver.Entry{}, driver.ErrEntryGone
	}
	e := driver.Entry{
		Name: queue, Key: path, ID: p.id, Mode: p.mode,
		Token: uint64(n.stat.Czxid), Version: uint64(n.stat.Version), Lease: leaseID(n.stat.EphemeralOwner),
	}
	if err := decodeEntry(&e, n.data); err != nil {
		return e, fmt.Errorf("queue %q: %w", queue, err)
	}
	return e, nil
}

func leaseID(session int64) string { return fmt.Sprintf("%x", uint64(session)) }

// Watch implements driver.Store. ZooKeeper tells that something has happened, and
// each time once: then the queue is read again, with new watches.
func (s *store) Watch(ctx context.Context, name string, f func(driver.Queue) error) error {
	op := "watch queue " + quoted(name)
	c, err := s.reading(ctx)
	if err == nil {
		err = c.catchUp(ctx)
	}
	var last *driver.Queue
	for err == nil {
		var q driver.Queue
		var ws []*watch
		if q, ws, err = s.readWatched(ctx, c, name); err != nil {
			break
		}
		if last == nil || !sameQueue(*last, q) {
			if err := f(q); err != nil {
				return err
			}
			last = &q
		}
		err = anyFires(ctx, c, ws)
	}
	return s.failed(ctx, op, err)
}

func sameQueue(a, b driver.Queue) bool {
	return a.Limit == b.Limit && slices.EqualFunc(a.Entries, b.Entries, func(x, y driver.Entry) bool {
		return x.Token == y.Token && x.Version == y.Version
	})
}

// readWatched reads a queue and watches all of it.
func (s *store) readWatched(ctx context.Context, c *conn, name string) (driver.Queue, []*watch, error) {
	dir := s.queueDir(name)
	for {
		// The watches come first, so that what happens while we read is told.
		_, w, err := c.childrenW(ctx, dir)
		if errors.Is(err, zk.ErrNoNode) {
			n, w, err := c.existsW(ctx, dir)
			if err == nil && n.stat != nil {
				continue // just made
			}
			return driver.Queue{Name: name}, []*watch{w}, err
		}
		if err != nil {
			return driver.Queue{}, nil, err
		}
		ws := []*watch{w}
		_, lw, err := c.existsW(ctx, s.limitPath(name))
		if err != nil {
			return driver.Queue{}, nil, err
		}
		ws = append(ws, lw)
		q, err := s.readQueue(ctx, c, name, 0)
		if err != nil {
			return q, nil, err
		}
		for i, e := range q.Entries {
			n, w, err := c.getW(ctx, e.Key)
			if errors.Is(err, zk.ErrNoNode) {
				continue // the watch on the children tells
			}
			if err != nil {
				return q, nil, err
			}
			ws = append(ws, w)
			if q.Entries[i].Version = uint64(n.stat.Version); n.data != nil {
				if err := decodeEntry(&q.Entries[i], n.data); err != nil {
					return q, nil, err
				}
			}
		}
		return q, ws, nil
	}
}

// List implements driver.Store.
func (s *store) List(ctx context.Context, prefix string) ([]driver.Queue, error) {
	op := "list queues under " + quoted(prefix)
	c, err := s.reading(ctx)
	if err == nil {
		err = c.catchUp(ctx)
	}
	var l listing
	if err == nil {
		l, err = c.children(ctx, s.root+"/")
		if s.root != "" {
			l, err = c.children(ctx, s.root)
		}
	}
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, s.failed(ctx, op, err)
	}
	var queues []driver.Queue
	for _, part := range l.names {
		name, ok := decodeName(part)
		if !ok || !strings.HasPrefix(name, prefix) {
			continue
		}
		q, err := s.readQueue(ctx, c, name, 0)
		if err != nil {
			return nil, s.failed(ctx, op, err)
		}
		if len(q.Entries) > 0 {
			queues = append(queues, q)
		}
	}
	slices.SortFunc(queues, func(a, b driver.Queue) int { return strings.Compare(a.Name, b.Name) })
	return queues, nil
}

// Identify implements driver.Store.
func (s *store) Identify(ctx context.Context, e driver.Entry) (string, error) {
	if e.Identity != "" || e.Lease == "" {
		return e.Identity, nil
	}
	s.mu.Lock()
	who, ok := s.owners[e.Lease]
	s.mu.Unlock()
	if ok {
		return who, nil
	}
	op := "identify the owner of " + quoted(e.Key)
	c, err := s.reading(ctx)
	if err != nil {
		return "", s.failed(ctx, op, err)
	}
	n, err := c.get(ctx, s.sessionPath(e.Lease))
	if errors.Is(err, zk.ErrNoNode) { // this server may not know the session yet
		if err = c.catchUp(ctx); err == nil {
			n, err = c.get(ctx, s.sessionPath(e.Lease))
		}
	}
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return "", s.failed(ctx, op, err)
	}
	who = decodeSession(n.data).Identity
	s.learn(e.Lease, who)
	return who, nil
}

// learn remembers whose a lease is.
func (s *store) learn(lease, who string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.owners) == maxOwners {
		clear(s.owners) // what is still needed is asked for again
	}
	s.owners[lease] = who
}

// quoted quotes a name for an error, without the cost of doing it well: most often
// there is no error.
func quoted(name string) string { return `"` + name + `"` }
