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

// maxAnswered bounds the claims that a lease remembers as refused for lack of
// space. When it is full they are forgotten, and their Resolve takes longer.
const maxAnswered = 1000

// Join implements driver.Lease. It is one transaction:
//
//	if   the session key is at the epoch we know, and the entry is not there
//	     (with Admit: and the queue has no key that Admit has not seen)
//	then put the entry, and read the two latest: it, and the nearest ahead
//	else read the session key, the entry (with Admit: and the queue)
//
// The else branch is a definite answer: nothing was written, so we may correct
// what we believed and try again.
func (l *lease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	op := fmt.Sprintf("join queue %q", c.Name)
	key, err := l.s.keys.entry(l.id, c)
	if err != nil {
		return driver.View{}, err
	}
	// Admit has seen all keys created up to this revision. At first we hope
	// that there are none at all, which most often is the case or a reason to
	// refuse.
	var seen int64
	for {
		epoch := l.epoch.Load()
		resp, err := l.joinTxn(ctx, c, key, epoch, seen)
		if err != nil {
			l.noteNoSpace(c, err)
			return driver.View{}, l.s.failed(ctx, op, err)
		}
		if resp.Succeeded {
			return l.joined(ctx, c.Name, key, resp)
		}
		sessionKVs, entryKVs := rangeOf(resp, 0), rangeOf(resp, 1)
		switch {
		case len(sessionKVs) == 0:
			return driver.View{}, fmt.Errorf("%s: %w", op, driver.ErrLeaseGone)
		case len(entryKVs) > 0:
			// Ours, by its ID: the client library has sent the request twice.
			return l.s.viewAt(ctx, c.Name, key, entryKVs[0].CreateRevision, resp.Header.Revision)
		case l.advance(sessionKVs[0].ModRevision) != epoch:
			continue // somebody has resolved another claim
		case c.Admit == nil:
			return driver.View{}, fmt.Errorf("%s: the transaction failed for no reason that can be seen", op)
		}
		ahead, err := l.s.entries(c.Name, rangeOf(resp, 2))
		if err != nil {
			return driver.View{}, err
		}
		if !c.Admit(ahead) {
			return driver.View{}, &driver.Refused{Ahead: ahead}
		}
		seen = resp.Header.Revision
	}
}

func (l *lease) joinTxn(ctx context.Context, c driver.Claim, key string, epoch, seen int64) (*clientv3.TxnResponse, error) {
	dir := l.s.keys.dir(c.Name)
	guards := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(l.key), "=", epoch),
		clientv3.Compare(clientv3.CreateRevision(key), "=", 0),
	}
	otherwise := []clientv3.Op{
		clientv3.OpGet(l.key, clientv3.WithKeysOnly()),
		clientv3.OpGet(key, clientv3.WithKeysOnly()),
	}
	if c.Admit != nil {
		// True if every key of the range fulfils it, so also if there is none.
		// An Update keeps the create revision of its entry, and one that leaves
		// can but help.
		guards = append(guards, clientv3.Compare(clientv3.CreateRevision(dir), "<", seen+1).WithPrefix())
		otherwise = append(otherwise, clientv3.OpGet(dir, clientv3.WithPrefix(), byJoin(clientv3.SortAscend)))
	}
	rctx, cancel := l.s.request(ctx)
	defer cancel()
	return l.s.client.Txn(rctx).If(guards...).Then(
		clientv3.OpPut(key, c.Value, clientv3.WithLease(l.id)),
		clientv3.OpGet(dir, clientv3.WithPrefix(), byJoin(clientv3.SortDescend), clientv3.WithLimit(2)),
	).Else(otherwise...).Commit()
}

// joined makes the view from an entry that was just made.
func (l *lease) joined(ctx context.Context, name, key string, resp *clientv3.TxnResponse) (driver.View, error) {
	kvs := rangeOf(resp, 1)
	v, ok, err := l.s.view(name, key, resp.Header.Revision, kvs)
	if err != nil || ok {
		v.At = uint64(resp.Header.Revision)
		return v, err
	}
	return l.s.viewAt(ctx, name, key, resp.Header.Revision, resp.Header.Revision)
}

// advance moves the epoch on, never back, and returns it.
func (l *lease) advance(rev int64) int64 {
	for {
		epoch := l.epoch.Load()
		if rev <= epoch || l.epoch.CompareAndSwap(epoch, rev) {
			return max(rev, epoch)
		}
	}
}

// Resolve implements driver.Lease. In one transaction it moves the session key to
// a new epoch and looks for the entry. If that is not there, it never will be: a
// Join that is still in flight is guarded on an older epoch. Joins of other
// claims that this overtakes notice it, take up the new epoch and try again.
//
// A Resolve that itself arrives late does no harm. It only moves the epoch on
// once more, and only while the session key is there, so it revives nothing.
func (l *lease) Resolve(ctx context.Context, c driver.Claim) (driver.View, error) {
	op := fmt.Sprintf("resolve the claim on %q", c.Name)
	key, err := l.s.keys.entry(l.id, c)
	if err != nil {
		return driver.View{}, err
	}
	resp, err := l.fence(ctx, op, clientv3.OpGet(key, clientv3.WithKeysOnly()))
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		if err := l.expunge(ctx, op, c, key); err != nil {
			return driver.View{}, err
		}
		return driver.View{}, fmt.Errorf("%s: %w", op, driver.ErrEntryGone)
	case err != nil:
		return driver.View{}, err
	}
	l.forgetNoSpace(c)
	kvs := rangeOf(resp, 1)
	if len(kvs) == 0 {
		return driver.View{}, fmt.Errorf("%s: %w", op, driver.ErrEntryGone)
	}
	return l.s.viewAt(ctx, c.Name, key, kvs[0].CreateRevision, resp.Header.Revision)
}

// Withdraw implements driver.Lease, as Resolve, but for what it does to the
// entry.
func (l *lease) Withdraw(ctx context.Context, c driver.Claim) error {
	op := fmt.Sprintf("withdraw the claim on %q", c.Name)
	key, err := l.s.keys.entry(l.id, c)
	if err != nil {
		return nil // never sent
	}
	_, err = l.fence(ctx, op, clientv3.OpDelete(key))
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return l.expunge(ctx, op, c, key)
	case err == nil:
		l.forgetNoSpace(c)
	}
	return err
}

// fence moves the session key to a new epoch, and does one thing more with it.
func (l *lease) fence(ctx context.Context, op string, more clientv3.Op) (*clientv3.TxnResponse, error) {
	rctx, cancel := l.s.request(ctx)
	defer cancel()
	resp, err := l.s.client.Txn(rctx).If(
		clientv3.Compare(clientv3.CreateRevision(l.key), ">", 0),
	).Then(
		clientv3.OpPut(l.key, "", clientv3.WithIgnoreValue(), clientv3.WithIgnoreLease()),
		more,
	).Commit()
	switch {
	case err != nil:
		return nil, l.s.failed(ctx, op, err)
	case !resp.Succeeded:
		return nil, fmt.Errorf("%s: %w", op, driver.ErrLeaseGone)
	}
	l.advance(resp.Header.Revision)
	return resp, nil
}

// expunge is Withdraw for a server that is out of space: it refuses to move the
// epoch, which is a put, but still deletes. The entry's key is unique to the
// claim, so it may be deleted unseen.
//
// That the entry is gone then does not by itself mean that it stays gone: a
// Join in flight would be refused as long as there is no space, but perhaps
// arrives when there is. Only where the Join was answered, with "no space", is
// nothing in flight any more: the server answers so before it proposes the
// request to the cluster, or after it has applied it. Otherwise the outcome stays
// unknown, and whoever asks again is told once there is space, or the lease has
// ended.
func (l *lease) expunge(ctx context.Context, op string, c driver.Claim, key string) error {
	rctx, cancel := l.s.request(ctx)
	defer cancel()
	resp, err := l.s.client.Txn(rctx).If(
		clientv3.Compare(clientv3.CreateRevision(l.key), ">", 0),
	).Then(clientv3.OpDelete(key)).Commit()
	switch {
	case err != nil:
		return l.s.failed(ctx, op, err)
	case !resp.Succeeded:
		return fmt.Errorf("%s: %w", op, driver.ErrLeaseGone)
	}
	if !l.forgetNoSpace(c) {
		return fmt.Errorf("%s: etcd is out of space, and a late request may still apply when it has some again", op)
	}
	return nil
}

// noteNoSpace remembers a Join that was answered with "no space".
func (l *lease) noteNoSpace(c driver.Claim, err error) {
	if !errors.Is(err, rpctypes.ErrNoSpace) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.answered) == maxAnswered {
		clear(l.answered)
	}
	l.answered[c.ID] = struct{}{}
}

// forgetNoSpace reports whether the Join was answered so, and forgets it.
func (l *lease) forgetNoSpace(c driver.Claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.answered[c.ID]
	delete(l.answered, c.ID)
	return ok
}

// rangeOf returns the keys that the i-th operation of a transaction has read.
func rangeOf(resp *clientv3.TxnResponse, i int) []*mvccpb.KeyValue {
	if i >= len(resp.Responses) {
		return nil
	}
	if r, ok := resp.Responses[i].Response.(*pb.ResponseOp_ResponseRange); ok {
		return r.ResponseRange.Kvs
	}
	return nil
}
