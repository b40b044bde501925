package etcd

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
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
	client   *clientv3.Client
	kv       pb.KVClient // of the same client, for requests that are made often
	keys     keyspace
	timeout  time.Duration // of each request
	overdue  *watchdog     // for that
	patience *watchdog     // of what waits to go with others
	logger   *slog.Logger
	release  func() error // of the client, where it is ours

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines, which end with ctx and a request's timeout

	identities *identities
	keepalives *keepalives
	lengths    *lengths

	watches pace // of streams, see attend

	mu      sync.Mutex
	stream  *stream         // for new watches
	streams map[*stream]int // how many watches are on each
	warned  map[string]struct{}
}

// Backend implements driver.Store.
func (s *store) Backend() string { return "etcd" }

// Close implements driver.Store.
func (s *store) Close() error {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.work.Wait()
	return s.release()
}

// start runs f in a goroutine that Close waits for. It returns false, and does
// nothing, when Close has begun.
func (s *store) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.work.Go(f)
	return true
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

// Read implements driver.Store.
func (s *store) Read(ctx context.Context, name string, n int) (driver.Queue, error) {
	// What is no entry must not eat up the number, so then more is read.
	for limit := n; ; limit *= 8 {
		q, resp, err := s.readQueue(ctx, name, limit)
		if err != nil {
			return driver.Queue{}, err
		}
		if n == 0 || len(q.Entries) >= n || !resp.More {
			q.Entries = q.Entries[:min(len(q.Entries), cmp.Or(n, len(q.Entries)))]
			return q, nil
		}
	}
}

// readQueue returns a queue with the entries among its first n keys, and what was
// answered about those.
func (s *store) readQueue(ctx context.Context, name string, n int) (q driver.Queue, resp *pb.RangeResponse, err error) {
	op := "read queue " + quoted(name)
	got, err := s.read(ctx,
		prefixed(s.keys.dir(name)).at(0, pb.RangeRequest_ASCEND, int64(n)),
		one(s.keys.limit(name)).at(0, pb.RangeRequest_ASCEND, 0))
	if err != nil {
		return q, nil, s.failed(ctx, op, err)
	}
	q.Name = name
	if q.Entries, err = s.entries(name, got[0].Kvs); err == nil && isLimited(q.Entries) {
		q.Limit, err = limitOf(name, got[1].Kvs)
	}
	return q, got[0], err
}

// isLimited reports whether a queue is one of permits. Otherwise a limit that may
// be there is left over.
func isLimited(entries []driver.Entry) bool {
	return len(entries) > 0 && entries[0].Mode == driver.Permit
}

// Watch implements driver.Store. It reads the queue and watches what happens after
// that, on two keys' worth of watches: those below the queue, and its limit.
func (s *store) Watch(ctx context.Context, name string, f func(driver.Queue) error) error {
	now, resp, err := s.readQueue(ctx, name, 0)
	if err != nil {
		return err
	}
	if err := f(now); err != nil {
		return err
	}
	q := newQueue(now)
	next := clientv3.WithRev(resp.Header.Revision + 1)
	entries := s.watch(ctx, s.keys.dir(name), clientv3.WithPrefix(), next)
	defer entries.stop()
	limit := s.watch(ctx, s.keys.limit(name), next)
	defer limit.stop()
	for {
		var changed bool
		from := entries
		select {
		case resp, ok := <-entries.events:
			changed, err = s.follow(q, entries.events, resp, ok, s.apply)
		case resp, ok := <-limit.events:
			from = limit
			changed, err = s.follow(q, limit.events, resp, ok, applyLimit)
		case <-entries.ended:
			err = errChannelClosed
		case <-limit.ended:
			err = errChannelClosed
		}
		switch {
		case driver.IsPermanent(err): // what was read, not the reading
			return err
		case err != nil:
			return s.watchFailed(ctx, "watch queue "+quoted(name), from, err)
		case !changed || q.halfKnown():
			continue
		}
		if err := f(q.now()); err != nil {
			return err
		}
	}
}

// follow applies events to q, together with all that are there by then. It
// reports whether anything was affected.
func (s *store) follow(q *queue, events clientv3.WatchChan, resp clientv3.WatchResponse, ok bool,
	apply func(*queue, *clientv3.Event) (bool, error),
) (changed bool, err error) {
	for {
		if !ok {
			return changed, errChannelClosed
		}
		if err := resp.Err(); err != nil {
			return changed, err
		}
		for _, ev := range resp.Events {
			affected, err := apply(q, ev)
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

func (s *store) apply(q *queue, ev *clientv3.Event) (bool, error) {
	if ev.Type == mvccpb.DELETE {
		return q.remove(string(ev.Kv.Key)), nil
	}
	e, ok, err := s.entry(q.name, ev.Kv)
	if err != nil {
		return false, err
	}
	if !ok { // an entry that has lost its lease is none any more
		return q.remove(string(ev.Kv.Key)), nil
	}
	q.put(e)
	return true, nil
}

func applyLimit(q *queue, ev *clientv3.Event) (changed bool, err error) {
	if ev.Type == mvccpb.DELETE {
		q.limit = driver.Limit{}
		return true, nil
	}
	q.limit, err = limitOf(q.name, []*mvccpb.KeyValue{ev.Kv})
	return true, err
}

// A queue is the entries of a name by key, and its limit.
type queue struct {
	name    string
	entries map[string]driver.Entry
	limit   driver.Limit
}

func newQueue(from driver.Queue) *queue {
	q := &queue{name: from.Name, entries: make(map[string]driver.Entry, len(from.Entries)), limit: from.Limit}
	for _, e := range from.Entries {
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

// now returns the queue, its entries in order.
func (q *queue) now() driver.Queue {
	out := driver.Queue{Name: q.name, Entries: slices.SortedFunc(maps.Values(q.entries), byJoin)}
	if isLimited(out.Entries) {
		out.Limit = q.limit
	}
	return out
}

// halfKnown tells of a queue of permits whose limit is not known: entries and limit
// come on two watches, one of which is behind.
func (q *queue) halfKnown() bool {
	if q.limit.N > 0 {
		return false
	}
	for _, e := range q.entries {
		if e.Mode == driver.Permit {
			return true
		}
	}
	return false
}

func byJoin(a, b driver.Entry) int { return cmp.Compare(a.Token, b.Token) }

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
	var rev int64
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
		if more = resp.More; rev == 0 {
			rev = resp.Header.Revision
			opts = append(opts, clientv3.WithRev(rev)) // all pages of one state
		}
	}
	queues := make([]driver.Queue, 0, len(byName))
	for name, entries := range byName {
		slices.SortFunc(entries, byJoin)
		queues = append(queues, driver.Queue{Name: name, Entries: entries})
	}
	slices.SortFunc(queues, func(a, b driver.Queue) int { return strings.Compare(a.Name, b.Name) })
	if err := s.addLimits(ctx, op, prefix, queues, rev); err != nil {
		return nil, err
	}
	return queues, s.remaining(ctx, queues)
}

// addLimits adds the limits, of the same revision, to the queues that have one.
func (s *store) addLimits(ctx context.Context, op, prefix string, queues []driver.Queue, rev int64) error {
	if !slices.ContainsFunc(queues, func(q driver.Queue) bool { return isLimited(q.Entries) }) {
		return nil
	}
	all := s.keys.limit("")
	resp, err := s.get(ctx, op, all+prefix, clientv3.WithPrefix(), clientv3.WithRev(rev))
	if err != nil {
		return err
	}
	byName := make(map[string]*mvccpb.KeyValue, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		byName[string(kv.Key[len(all):])] = kv
	}
	for i, q := range queues {
		if kv := byName[q.Name]; kv != nil && isLimited(q.Entries) {
			if queues[i].Limit, err = limitOf(q.Name, []*mvccpb.KeyValue{kv}); err != nil {
				return err
			}
		}
	}
	return nil
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
			if left, err = s.Remaining(ctx, *first); err != nil {
				return ctx.Err()
			}
			known[first.Lease] = left
		}
		first.TTLLeft = left
	}
	return nil
}

// Remaining implements [driver.Remainer].
func (s *store) Remaining(ctx context.Context, e driver.Entry) (time.Duration, error) {
	id, err := parseLease(e.Lease)
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
