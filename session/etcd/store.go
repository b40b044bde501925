package etcd

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/session/driver"
)

const (
	// maxWarned bounds the keys that are remembered as having been warned of.
	maxWarned = 1000

	// pageSize is how many keys List reads at a time.
	pageSize = 500
)

// A store is a connection to a cluster.
type store struct {
	client  *clientv3.Client
	kv      pb.KVClient // of the same client, for requests that are made often
	keys    keyspace
	timeout time.Duration // of each request
	overdue *watchdog     // for that
	logger  *slog.Logger
	release func() error // of the client, where it is ours

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines, which end with ctx and a request's timeout

	identities *identities
	keepalives *keepalives

	mu     sync.Mutex
	stream *stream
	warned map[string]struct{}
}

// Backend implements driver.Store.
func (s *store) Backend() string { return "etcd" }

// Close implements driver.Store.
func (s *store) Close() error {
	s.cancel()
	s.work.Wait()
	return s.release()
}

// warnOnce logs something about a key, once while the process lives or nearly
// so: the memory for it is bounded.
func (s *store) warnOnce(key, message string, err error) {
	s.mu.Lock()
	_, done := s.warned[key]
	if !done && len(s.warned) == maxWarned {
		clear(s.warned)
	}
	s.warned[key] = struct{}{}
	s.mu.Unlock()
	switch {
	case done:
	case err != nil:
		s.logger.Warn(message, "key", key, "error", err)
	default:
		s.logger.Warn(message, "key", key)
	}
}

// byJoin reads entries in join order.
func byJoin(order clientv3.SortOrder) clientv3.OpOption {
	return clientv3.WithSort(clientv3.SortByCreateRevision, order)
}

// Read implements driver.Store.
func (s *store) Read(ctx context.Context, name string, limit int) ([]driver.Entry, error) {
	// What is no entry must not eat up the limit, so then more is read.
	for n := limit; ; n *= 8 {
		entries, _, more, err := s.read(ctx, name, n)
		if err != nil {
			return nil, err
		}
		if limit == 0 || len(entries) >= limit || !more {
			return entries[:min(len(entries), cmp.Or(limit, len(entries)))], nil
		}
	}
}

// read returns the entries among the first n keys of a queue, the revision that
// this is of, and whether there are more keys.
func (s *store) read(ctx context.Context, name string, n int) (entries []driver.Entry, rev int64, more bool, err error) {
	op := "read queue " + quoted(name)
	resp, err := s.get(ctx, op, s.keys.dir(name), clientv3.WithPrefix(), byJoin(clientv3.SortAscend), clientv3.WithLimit(int64(n)))
	if err != nil {
		return nil, 0, false, err
	}
	entries, err = s.entries(name, resp.Kvs)
	return entries, resp.Header.Revision, resp.More, err
}

// Watch implements driver.Store.
func (s *store) Watch(ctx context.Context, name string, f func([]driver.Entry) error) error {
	entries, rev, _, err := s.read(ctx, name, 0)
	if err != nil {
		return err
	}
	if err := f(entries); err != nil {
		return err
	}
	q := newQueue(entries)
	w := s.watch(ctx, s.keys.dir(name), clientv3.WithPrefix(), clientv3.WithRev(rev+1))
	defer w.stop()
	for {
		changed, err := s.follow(name, q, w.events)
		switch {
		case driver.IsPermanent(err): // what was read, not the reading
			return err
		case err != nil:
			return s.watchFailed(ctx, "watch queue "+quoted(name), w, err)
		case !changed:
			continue
		}
		if err := f(q.sorted()); err != nil {
			return err
		}
	}
}

// follow waits for events and applies them to q, together with all that are
// there by then. It reports whether an entry was affected.
func (s *store) follow(name string, q *queue, events clientv3.WatchChan) (changed bool, err error) {
	resp, ok := <-events
	for {
		if !ok {
			return changed, errChannelClosed
		}
		if err := resp.Err(); err != nil {
			return changed, err
		}
		for _, ev := range resp.Events {
			affected, err := s.apply(name, q, ev)
			if err != nil {
				return changed, err
			}
			changed = changed || affected
		}
		select {
		case resp, ok = <-events:
		default:
			return changed, nil
		}
	}
}

func (s *store) apply(name string, q *queue, ev *clientv3.Event) (bool, error) {
	if ev.Type == mvccpb.DELETE {
		return q.remove(string(ev.Kv.Key)), nil
	}
	e, ok, err := s.entry(name, ev.Kv)
	if err != nil {
		return false, err
	}
	if !ok { // an entry that has lost its lease is none any more
		return q.remove(string(ev.Kv.Key)), nil
	}
	q.put(e)
	return true, nil
}

// A queue is the entries of a name by key, and in order.
type queue struct{ entries map[string]driver.Entry }

func newQueue(entries []driver.Entry) *queue {
	q := &queue{make(map[string]driver.Entry, len(entries))}
	for _, e := range entries {
		q.put(e)
	}
	return q
}

func (q *queue) put(e driver.Entry) { q.entries[e.Key] = e }

func (q *queue) remove(key string) bool {
	_, ok := q.entries[key]
	delete(q.entries, key)
	return ok
}

func (q *queue) sorted() []driver.Entry {
	sorted := make([]driver.Entry, 0, len(q.entries))
	for _, e := range q.entries {
		sorted = append(sorted, e)
	}
	slices.SortFunc(sorted, func(a, b driver.Entry) int { return cmp.Compare(a.Token, b.Token) })
	return sorted
}

// List implements driver.Store.
func (s *store) List(ctx context.Context, prefix string) ([]driver.Queue, error) {
	byName := map[string][]driver.Entry{}
	op := "list queues under " + quoted(prefix)
	from := string(s.keys) + prefix
	end := clientv3.GetPrefixRangeEnd(from)
	if from == "" {
		from, end = "\x00", "\x00" // all keys there are
	}
	opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(pageSize)}
	for more := true; more; {
		resp, err := s.get(ctx, op, from, opts...)
		if err != nil {
			return nil, err
		}
		for _, kv := range resp.Kvs {
			if err := s.collect(byName, kv); err != nil {
				return nil, err
			}
			from = string(kv.Key) + "\x00"
		}
		if more = resp.More; len(opts) == 2 {
			opts = append(opts, clientv3.WithRev(resp.Header.Revision)) // all pages of one state
		}
	}
	queues := make([]driver.Queue, 0, len(byName))
	for name, entries := range byName {
		slices.SortFunc(entries, func(a, b driver.Entry) int { return cmp.Compare(a.Token, b.Token) })
		queues = append(queues, driver.Queue{Name: name, Entries: entries})
	}
	slices.SortFunc(queues, func(a, b driver.Queue) int { return strings.Compare(a.Name, b.Name) })
	return queues, s.remaining(ctx, queues)
}

// collect adds a key to the queue it belongs to, if to any.
func (s *store) collect(byName map[string][]driver.Entry, kv *mvccpb.KeyValue) error {
	name, _, ok := s.keys.split(string(kv.Key))
	if !ok || kv.Lease == 0 { // without a lease: of another program, most likely
		return nil
	}
	e, ok, err := s.entry(name, kv)
	if err == nil && ok {
		byName[name] = append(byName[name], e)
	}
	return err
}

// remaining fills in how long the first entry of each queue has left. It is for
// display, so of what it cannot learn it leaves the rest out.
func (s *store) remaining(ctx context.Context, queues []driver.Queue) error {
	const most = 200 // leases asked for: a request each
	known := map[string]time.Duration{}
	for _, q := range queues {
		first := &q.Entries[0]
		left, ok := known[first.Lease]
		if !ok {
			if len(known) == most {
				continue
			}
			var err error
			if left, err = s.left(ctx, first.Lease); err != nil {
				return ctx.Err()
			}
			known[first.Lease] = left
		}
		first.TTLLeft = left
	}
	return nil
}

func (s *store) left(ctx context.Context, lease string) (time.Duration, error) {
	id, err := parseLease(lease)
	if err != nil {
		return 0, err
	}
	rctx, cancel := s.request(ctx)
	defer cancel()
	resp, err := s.client.TimeToLive(rctx, id)
	if err != nil {
		return 0, err
	}
	return time.Duration(max(resp.TTL, 0)) * time.Second, nil
}
