package etcd

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Look implements driver.Lease.
func (l *lease) Look(ctx context.Context, e driver.Entry) (driver.View, error) {
	return l.s.viewAt(ctx, e, 0)
}

// viewAt returns the view from an entry, of which mode, name, key and token count, at a
// revision, or at present, then linearizably, if that is 0. It fails with ErrEntryGone
// unless the key is there with this token: a key that was deleted and made again is
// another entry.
//
// A past revision is read from whichever member answers. One that has not come so
// far, or has compacted it away, says so, and we read the present instead.
func (s *store) viewAt(ctx context.Context, e driver.Entry, rev int64) (driver.View, error) {
	op := "look at queue " + quoted(e.Name)
	most := int64(0)
	if e.Mode == driver.Exclusive {
		most = 2 // itself and the nearest ahead
	}
	sparing := most > 0 && s.lengths.areLong(e.Name)
	for {
		g, err := s.glimpse(ctx, e, rev, most, sparing)
		switch {
		case isElsewhere(err) && rev > 0:
			rev = 0
			continue
		case isElsewhere(err) && sparing:
			sparing = false
			continue
		case err != nil:
			return driver.View{}, s.failed(ctx, op, err)
		}
		v, err := s.view(e, g.latest)
		if err == nil && e.Mode == driver.Permit {
			v.Limit, err = limitOf(e.Name, g.limit)
		}
		if err == nil && most > 0 && len(v.Ahead) == 0 && g.more {
			most, sparing = 0, false // what is nearest is no entry
			continue
		}
		v.At = uint64(g.at)
		return v, err
	}
}

// A glimpse is what was read of a queue for a view from one of its entries.
type glimpse struct {
	latest []*mvccpb.KeyValue // no later than the entry, latest first
	more   bool               // there are earlier ones
	limit  []*mvccpb.KeyValue // of the queue, for a permit
	at     int64              // the revision
}

// glimpse reads a queue at a revision, or at present if that is 0, and returns so many
// keys at most, or all if most is 0.
//
// Where it is sparing it reads, of a long queue, keys alone, which a server of etcd 3.7
// has in memory, and then the nearest, if there is one, at the same revision.
func (s *store) glimpse(ctx context.Context, e driver.Entry, rev, most int64, sparing bool) (g glimpse, err error) {
	queue := prefixed(s.keys.dir(e.Name)).at(rev, pb.RangeRequest_DESCEND, most)
	queue.MaxCreateRevision = int64(e.Token)
	queue.KeysOnly = sparing
	reads := []*pb.RangeRequest{queue}
	switch {
	case sparing:
		reads = append(reads, one(e.Key).at(rev, pb.RangeRequest_ASCEND, 0))
	case e.Mode == driver.Permit:
		reads = append(reads, one(s.keys.limit(e.Name)).at(rev, pb.RangeRequest_ASCEND, 0))
	}
	got, err := s.read(ctx, reads...)
	if err != nil {
		return g, err
	}
	g = glimpse{latest: got[0].Kvs, more: got[0].More, at: cmp.Or(rev, got[0].Header.Revision)}
	s.lengths.note(e.Name, got[0].Count)
	switch {
	case sparing:
		g.latest, err = s.fill(ctx, g, got[1].Kvs)
	case e.Mode == driver.Permit:
		g.limit = got[1].Kvs
	}
	return g, err
}

// fill returns the latest keys with their values: the entry's, if it is there, and the next,
// which is read linearizably so that every member has it.
func (s *store) fill(ctx context.Context, g glimpse, entry []*mvccpb.KeyValue) ([]*mvccpb.KeyValue, error) {
	if len(entry) == 0 || len(g.latest) < 2 {
		return entry, nil
	}
	next := g.latest[1]
	read := one(string(next.Key)).at(g.at, pb.RangeRequest_ASCEND, 0)
	read.Serializable = false
	got, err := s.read(ctx, read)
	if err != nil {
		return nil, err
	}
	if kvs := got[0].Kvs; len(kvs) == 0 || kvs[0].CreateRevision != next.CreateRevision {
		return nil, fmt.Errorf("members disagree about revision %d: %q is there, and is not", g.at, next.Key)
	}
	return append(entry, got[0].Kvs...), nil
}

// view makes a view from the latest keys of a queue, latest first. The first has to
// be the entry.
func (s *store) view(e driver.Entry, latest []*mvccpb.KeyValue) (driver.View, error) {
	if len(latest) == 0 || string(latest[0].Key) != e.Key || uint64(latest[0].CreateRevision) != e.Token {
		return driver.View{}, fmt.Errorf("entry %q: %w", e.Key, driver.ErrEntryGone)
	}
	me, ok, err := s.entry(e.Name, latest[0])
	if err == nil && !ok {
		err = fmt.Errorf("entry %q has lost its lease: %w", e.Key, driver.ErrEntryGone)
	}
	if err != nil {
		return driver.View{}, err
	}
	ahead, err := s.entries(e.Name, latest[1:])
	slices.Reverse(ahead)
	if e.Mode == driver.Exclusive && len(ahead) > 0 {
		ahead = ahead[len(ahead)-1:]
	}
	return driver.View{Me: me, Ahead: ahead}, err
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
	return repeated(ctx, l.s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return l.s.client.Txn(ctx).If(
			clientv3.Compare(clientv3.CreateRevision(e.Key), "=", int64(e.Token)),
			clientv3.Compare(clientv3.ModRevision(e.Key), "=", int64(e.Version)),
		).Then(
			clientv3.OpPut(e.Key, stored(e, value), clientv3.WithIgnoreLease()),
		).Else(
			clientv3.OpGet(e.Key),
		).Commit()
	})
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
// until the answer frees its slot. If there is no answer to it, the slot is never
// used again, as the request may arrive late.
func (l *lease) Leave(ctx context.Context, e driver.Entry) (err error) {
	op := "leave queue " + quoted(e.Name)
	if e.Token == 0 {
		return l.leaveUnseen(ctx, op, e)
	}
	guarded := removal(e)
	switch {
	case e.Mode == driver.Permit:
		err = l.leavePermit(ctx, e)
	case l.slots.claim(e.ID, e.Token):
		// Only the first request does without the guard, as only its answer frees
		// the slot.
		var first bool
		_, first, err = l.leaves.txn(ctx, e.Name, &pb.TxnRequest{Success: guarded.Success}, guarded, nil)
		if first || isUnsent(err) {
			l.slots.deleted(e.ID) // nothing is under way
		}
	default:
		_, _, err = l.leaves.txn(ctx, e.Name, guarded, guarded, nil)
	}
	if err == nil {
		l.slots.free(e.Name, e.ID)
	}
	return l.s.failed(ctx, op, err)
}

// removal deletes an entry, guarded on its token.
func removal(e driver.Entry) *pb.TxnRequest {
	entry := one(e.Key)
	return &pb.TxnRequest{
		Compare: []*pb.Compare{entry.created(pb.Compare_EQUAL, int64(e.Token))},
		Success: []*pb.RequestOp{entry.remove()},
	}
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
