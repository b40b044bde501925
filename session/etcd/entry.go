package etcd

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Look implements driver.Lease.
func (l *lease) Look(ctx context.Context, e driver.Entry) (driver.View, error) {
	return l.s.viewAt(ctx, e.Name, e.Key, int64(e.Token), 0)
}

// viewAt returns the view from an entry at a revision, or at present, then
// linearizably, if that is 0. It fails with ErrEntryGone unless the key is there
// with this token: a key that was deleted and made again is another entry.
//
// A past revision is read from whichever member answers. One that has not come so
// far, or has compacted it away, says so, and we read the present instead.
func (s *store) viewAt(ctx context.Context, name, key string, token, rev int64) (driver.View, error) {
	op := "look at queue " + quoted(name)
	dir := s.keys.dir(name)
	for limit := int64(2); ; limit = 0 {
		opts := []clientv3.OpOption{
			clientv3.WithPrefix(), byJoin(clientv3.SortDescend), clientv3.WithMaxCreateRev(token), clientv3.WithLimit(limit),
		}
		if rev > 0 {
			opts = append(opts, clientv3.WithRev(rev), clientv3.WithSerializable())
		}
		resp, err := s.get(ctx, op, dir, opts...)
		if rev > 0 && (errors.Is(err, rpctypes.ErrFutureRev) || errors.Is(err, rpctypes.ErrCompacted)) {
			rev = 0
			continue
		}
		if err != nil {
			return driver.View{}, err
		}
		v, ok, err := s.view(name, key, token, resp.Kvs)
		if err != nil || ok || !resp.More {
			v.At = uint64(rev)
			if rev == 0 {
				v.At = uint64(resp.Header.Revision)
			}
			return v, err
		}
	}
}

// view makes a view of the latest keys of a queue, latest first. The first has to
// be the entry; of those behind it, the nearest is all that an exclusive entry
// needs to know. It is false if that one may be further on: what comes before
// is no entry.
func (s *store) view(name, key string, token int64, latest []*mvccpb.KeyValue) (driver.View, bool, error) {
	if len(latest) == 0 || string(latest[0].Key) != key || latest[0].CreateRevision != token {
		return driver.View{}, true, fmt.Errorf("entry %q: %w", key, driver.ErrEntryGone)
	}
	me, ok, err := s.entry(name, latest[0])
	if err == nil && !ok {
		err = fmt.Errorf("entry %q has lost its lease: %w", key, driver.ErrEntryGone)
	}
	if err != nil {
		return driver.View{}, true, err
	}
	v := driver.View{Me: me}
	for _, kv := range latest[1:] {
		e, ok, err := s.entry(name, kv)
		if err != nil || ok {
			v.Ahead = []driver.Entry{e}
			return v, true, err
		}
	}
	return v, len(latest) == 1, nil
}

// Update implements driver.Lease. The put is guarded on the version, so that one
// that arrives late loses against a later one, and keeps whatever lease the key
// has: naming none would detach it, and it would stay for ever.
//
// The version we know may be out of date because an earlier Update of ours took
// effect and its reply was lost. Then the else branch tells the present one, and
// whether there is anything left to do.
func (l *lease) Update(ctx context.Context, e driver.Entry, value string) (driver.Entry, error) {
	op := "update an entry of queue " + quoted(e.Name)
	for {
		resp, err := l.updateTxn(ctx, e, value)
		if err != nil {
			return driver.Entry{}, l.s.failed(ctx, op, err)
		}
		if resp.Succeeded {
			e.Version, e.Value = uint64(resp.Header.Revision), value
			return e, nil
		}
		kvs := rangeOf(resp.Responses, 0)
		if len(kvs) == 0 || uint64(kvs[0].CreateRevision) != e.Token {
			return driver.Entry{}, fmt.Errorf("%s: %w", op, driver.ErrEntryGone)
		}
		e.Version = uint64(kvs[0].ModRevision)
		if string(kvs[0].Value) == stored(e, value) {
			e.Value = value
			return e, nil
		}
	}
}

func (l *lease) updateTxn(ctx context.Context, e driver.Entry, value string) (*clientv3.TxnResponse, error) {
	rctx, cancel := l.s.request(ctx)
	defer cancel()
	return l.s.client.Txn(rctx).If(
		clientv3.Compare(clientv3.CreateRevision(e.Key), "=", int64(e.Token)),
		clientv3.Compare(clientv3.ModRevision(e.Key), "=", int64(e.Version)),
	).Then(
		clientv3.OpPut(e.Key, stored(e, value), clientv3.WithIgnoreLease()),
	).Else(
		clientv3.OpGet(e.Key),
	).Commit()
}

// stored returns what an entry with this value has in the store.
func stored(e driver.Entry, value string) string {
	if inKey(e.Kind) {
		return value
	}
	return encodeValue(e.ID, e.Info, value)
}

// Leave implements driver.Lease. The delete is guarded on the token; one that is
// retried or late finds another entry's token, or nothing, and leaves it alone.
//
// The first attempt at an entry of our own goes without the guard, which saves
// the server a good part of the work: the key is that entry's and no other's,
// until the answer frees its slot. If there is no answer, the slot is never used
// again, as the request may arrive late.
func (l *lease) Leave(ctx context.Context, e driver.Entry) (err error) {
	op := "leave queue " + quoted(e.Name)
	if e.Token == 0 {
		return l.leaveUnseen(ctx, op, e)
	}
	rctx, cancel := l.s.request(ctx)
	defer cancel()
	if l.slots.claim(e.ID, e.Token) {
		if _, err = l.s.kv.DeleteRange(rctx, &pb.DeleteRangeRequest{Key: []byte(e.Key)}); err == nil {
			l.slots.deleted(e.ID)
		}
	} else {
		_, err = l.s.client.Txn(rctx).If(
			clientv3.Compare(clientv3.CreateRevision(e.Key), "=", int64(e.Token)),
		).Then(clientv3.OpDelete(e.Key)).Commit()
	}
	if err == nil {
		l.slots.free(e.Name, e.ID)
	}
	return l.s.failed(ctx, op, err)
}

// leaveUnseen is Leave for an entry from Entries, which has no token.
func (l *lease) leaveUnseen(ctx context.Context, op string, e driver.Entry) error {
	if e.ID == "" {
		return driver.Permanent(fmt.Errorf("%s: %q has neither token nor ID: it cannot be told from another entry", op, e.Key))
	}
	seen, ok, err := l.leftover(ctx, op, e.Name, e.Key)
	if err != nil || !ok || seen.ID != e.ID {
		return err
	}
	return l.Leave(ctx, seen)
}
