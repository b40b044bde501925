package etcd

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/session/driver"
)

// limits is where the limits of queues live, relative to the prefix, by name.
//
// A limit has to outlive the session that set it, so its key has no lease. The
// last permit to leave takes it away; what a crash of the last holder leaves
// behind is swept by sessions that begin later.
const limits = driver.Reserved + "/v1/limit/"

// maxTidied is how often a queue is looked at whose limit is to go, while keys that are no
// permits keep coming. After that a later session may sweep it.
const maxTidied = 5

// maxSwept bounds how many limits a new session looks at, of the first maxListed.
const (
	maxSwept  = 100
	maxListed = 10_000
)

// limit is the key of a queue's limit.
func (ks keyspace) limit(name string) string { return string(ks) + limits + name }

// A limitRecord is the value of a limit's key.
type limitRecord struct {
	Limit   int64  `json:"limit"`
	Through uint64 `json:"through,omitempty"`
	Stamp   bool   `json:"stamp,omitempty"`
}

func (r limitRecord) encode() string {
	b, err := json.Marshal(r)
	if err != nil { // numbers always can be
		panic("etcd: encode limit: " + err.Error())
	}
	return string(b)
}

// limitOf reads the key of a queue's limit; none are there if it has none.
func limitOf(name string, kvs []*mvccpb.KeyValue) (driver.Limit, error) {
	if len(kvs) == 0 {
		return driver.Limit{}, nil
	}
	var r limitRecord
	if err := json.Unmarshal(kvs[0].Value, &r); err != nil || r.Limit < 1 {
		return driver.Limit{}, driver.Permanent(fmt.Errorf("the limit of queue %q is garbled: delete the key %q when nobody uses the queue",
			name, kvs[0].Key))
	}
	return driver.Limit{N: r.Limit, Through: r.Through, Stamp: r.Stamp, Version: uint64(kvs[0].ModRevision)}, nil
}

// SetLimit implements driver.Store. Joins are guarded on the revision that it
// replaces.
func (s *store) SetLimit(ctx context.Context, name string, from, to driver.Limit) error {
	op := "set the limit of queue " + quoted(name)
	record := one(s.keys.limit(name))
	rctx, cancel := s.request(ctx)
	defer cancel()
	resp, err := s.commit(rctx,
		[]*pb.Compare{record.modified(pb.Compare_EQUAL, int64(from.Version))},
		[]*pb.RequestOp{record.put(limitRecord{to.N, to.Through, to.Stamp}.encode(), clientv3.NoLease)}, nil)
	switch {
	case err != nil:
		return s.failed(ctx, op, err)
	case !resp.Succeeded || from.Version == 0:
		return fmt.Errorf("%s: %w", op, driver.ErrConflict)
	}
	return nil
}

// leavePermit is Leave for an entry of a queue that has a limit: the last one
// takes the limit with it. Whether it is the last is asked of the first key that
// is left, and then once more where that is no permit's: to look at all keys would cost
// more the longer the queue.
func (l *lease) leavePermit(ctx context.Context, e driver.Entry) error {
	entry, dir := one(e.Key), prefixed(l.s.keys.dir(e.Name))
	left := dir.keys(1)
	leave := &pb.TxnRequest{
		Compare: []*pb.Compare{entry.created(pb.Compare_EQUAL, int64(e.Token))},
		Success: []*pb.RequestOp{entry.remove(), left},
		Failure: []*pb.RequestOp{left},
	}
	resp, _, err := l.leaves.txn(ctx, e.Name, leave, leave, nil)
	if err != nil {
		return err
	}
	if l.s.havePermit(e.Name, rangeOf(resp.Responses, len(resp.Responses)-1)) {
		return nil
	}
	l.limits.forget(e.Name)
	return l.s.tidy(ctx, e.Name)
}

// tidy removes the limit of a queue that has no permits. What else there is, of a name that
// continues this one's or of another kind, may stay; but nothing may have come since it was
// looked at, as that may be a permit under the limit.
func (s *store) tidy(ctx context.Context, name string) error {
	dir, record := prefixed(s.keys.dir(name)), one(s.keys.limit(name))
	seen, most := int64(0), int64(1)
	for range maxTidied {
		resp, err := s.txn(ctx,
			[]*pb.Compare{dir.created(pb.Compare_LESS, seen+1)},
			[]*pb.RequestOp{record.remove()},
			[]*pb.RequestOp{dir.keys(most)})
		if err != nil {
			return s.failed(ctx, "tidy up queue "+quoted(name), err)
		}
		if resp.Succeeded || s.havePermit(name, rangeOf(resp.Responses, 0)) {
			return nil
		}
		if !resp.Responses[0].GetResponseRange().More {
			seen = resp.Header.Revision
		}
		most = 0
	}
	return nil
}

// havePermit tells whether any of the keys below a queue is that of a permit in it. One that
// we cannot read may be, and one without a lease, which a key read alone does not tell.
func (s *store) havePermit(name string, kvs []*mvccpb.KeyValue) bool {
	return slices.ContainsFunc(kvs, func(kv *mvccpb.KeyValue) bool {
		l, ours, err := parseKey(strings.TrimPrefix(string(kv.Key), s.keys.dir(name)))
		return ours && (err != nil || l.mode == driver.Permit)
	})
}

// sweep tidies up queues whose last holders have crashed. It looks at some of the
// limits, others each time; what it does not come to, a later session does.
func (s *store) sweep() {
	all := string(s.keys) + limits
	resp, err := s.get(s.ctx, "list limits", all, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithSerializable(),
		clientv3.WithLimit(maxListed))
	if err != nil {
		return
	}
	for _, i := range rand.Perm(len(resp.Kvs))[:min(len(resp.Kvs), maxSwept)] {
		name := string(resp.Kvs[i].Key[len(all):])
		used, err := s.get(s.ctx, "look for entries", s.keys.dir(name), clientv3.WithPrefix(), clientv3.WithKeysOnly(),
			clientv3.WithSerializable(), clientv3.WithLimit(1))
		if err != nil || !s.havePermit(name, used.Kvs) && s.tidy(s.ctx, name) != nil {
			return
		}
	}
}

// maxKnown bounds the limits that a lease remembers.
const maxKnown = 1000

// known are the limits of queues as last seen, so that most often a Join does not
// have to ask first.
type known struct {
	mu sync.Mutex
	of map[string]driver.Limit
}

func (k *known) get(name string) driver.Limit {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.of[name]
}

func (k *known) put(name string, limit driver.Limit) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of == nil || len(k.of) == maxKnown {
		k.of = map[string]driver.Limit{}
	}
	if limit.Version >= k.of[name].Version {
		k.of[name] = limit
	}
}

func (k *known) forget(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.of, name)
}
