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
//	     (with Limit: and the queue's limit is the one we know)
//	     (with Admit, or to set the limit: and the queue has no key that we have not seen,
//	     which others that join all the time may put off, and insist leaves out then)
//	then read who is ahead, and put the entry (to set the limit: that, too)
//	else (with Limit or Admit) read what tells why
//
// Where the queue is long, it does not read who is ahead, but takes the place of its tail:
// see tails.
//
// The else branch is a definite answer: nothing was written, so we may correct
// what we believed and try again.
func (l *lease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	if err := checkClaim(c); err != nil {
		return driver.View{}, err
	}
	e := l.place(c)
	v, err := l.join(ctx, c, e)
	if _, limit := errors.AsType[*driver.LimitError](err); limit || errors.Is(err, driver.ErrRefused) {
		l.slots.free(c.Name, c.ID)
	}
	return v, err
}

// An assumption is what a Join is guarded on.
type assumption struct {
	epoch int64
	seen  int64        // we have seen all keys of the queue created up to this revision
	limit driver.Limit // of the queue; its version is 0 if no key has it
	set   bool         // there were no entries up to seen, so the limit is ours to set
	long  bool         // the queue, when the Join was sent, so that it took the place of the tail
	loose bool         // the keys that we have not seen are not guarded on: see insist
}

// assume returns what most often is the case: that the queue is empty or has the
// limit that it had.
func (l *lease) assume(c driver.Claim) assumption {
	if c.Limit == 0 {
		return assumption{}
	}
	if limit := l.limits.get(c.Name); limit.N == c.Limit {
		return assumption{limit: limit}
	}
	return assumption{limit: driver.Limit{N: c.Limit}, set: true}
}

// learn returns what is the case, or the error that the claim meets there.
func (l *lease) learn(c driver.Claim, resp *pb.TxnResponse) (assumption, error) {
	ahead, err := l.s.entries(c.Name, rangeOf(resp.Responses, 2))
	if err != nil {
		return assumption{}, err
	}
	a := assumption{seen: resp.Header.Revision}
	if a.limit, err = limitOf(c.Name, rangeOf(resp.Responses, 3)); err != nil {
		return a, err
	}
	if !isLimited(ahead) { // the limit is left over
		a.limit = driver.Limit{Version: a.limit.Version}
	}
	if c.Limit > 0 && len(ahead) == 0 {
		a.limit.N, a.set = c.Limit, true
	}
	if c.Limit > 0 && a.limit.N != c.Limit {
		return a, &driver.LimitError{Limit: a.limit.N, Ahead: ahead}
	}
	me := driver.Entry{Name: c.Name, ID: c.ID, Lease: l.ID(), Kind: c.Kind, Mode: c.Mode, Value: c.Value, Info: c.Info}
	if c.Admit != nil && !c.Admit(driver.View{Me: me, Ahead: ahead, Limit: a.limit}) {
		return a, &driver.Refused{Ahead: ahead}
	}
	return a, nil
}

// An emplacement is where and how a claim's entry is made.
type emplacement struct{ key, value string }

// place gives the claim a key that no other entry has, or may still get.
func (l *lease) place(c driver.Claim) emplacement {
	key, value := l.s.keys.entry(l.id, c, l.slots.take(c.Name, c.ID, !inKey(c.Kind), c.Limit > 0))
	return emplacement{key, value}
}

// placed returns where the claim's entry is, if it was made or may still be. For
// one that is known to be gone, or was never asked for, that is a key that no
// entry has.
func (l *lease) placed(c driver.Claim) emplacement {
	key, value := l.s.keys.entry(l.id, c, l.slots.find(c.ID))
	return emplacement{key, value}
}

func (l *lease) join(ctx context.Context, c driver.Claim, e emplacement) (driver.View, error) {
	op := "join queue " + quoted(c.Name)
	a := l.assume(c)
	for conflicts := 0; ; {
		a.epoch = l.epoch.Load()
		before, ok := l.slots.send(c.ID, a.epoch)
		if !ok {
			return driver.View{}, fmt.Errorf("%s: the claim was given up meanwhile", op)
		}
		resp, err := l.joinTxn(ctx, c, e, &a)
		if isUnsent(err) {
			l.slots.unsend(c.ID, before)
		}
		if err != nil {
			l.noteNoSpace(c, err)
			return driver.View{}, l.s.failed(ctx, op, err)
		}
		if resp.Succeeded {
			return l.joined(ctx, c, e, a, resp)
		}
		if !conditional(c) {
			resp, err = l.ask(ctx, op, c, e)
		}
		if err == nil {
			err = l.rejected(op, e, a.epoch, resp)
		}
		switch {
		case err != nil:
			return driver.View{}, err
		case l.epoch.Load() != a.epoch:
			continue // somebody has resolved another claim
		case !conditional(c):
			return driver.View{}, fmt.Errorf("%s: the transaction failed for no reason that can be seen", op)
		}
		if a, err = l.learn(c, resp); err != nil {
			return driver.View{}, err
		}
		if conflicts++; conflicts >= maxConflicts {
			if a, err = l.insist(ctx, op, c, e, a); err != nil {
				return driver.View{}, err
			}
		}
	}
}

// why reads what tells why a join was not made: the session's key and the entry's, and
// for a conditional join the queue and its limit.
func (l *lease) why(c driver.Claim, e emplacement) []*pb.RequestOp {
	ops := []*pb.RequestOp{one(l.key).all(), one(e.key).all()}
	if conditional(c) {
		ops = append(ops, prefixed(l.s.keys.dir(c.Name)).all(), one(l.s.keys.limit(c.Name)).all())
	}
	return ops
}

// conditional tells whether the store has to agree that the claim may join.
func conditional(c driver.Claim) bool { return c.Admit != nil || c.Limit > 0 }

// ask asks why, where the join has not asked itself.
func (l *lease) ask(ctx context.Context, op string, c driver.Claim, e emplacement) (*pb.TxnResponse, error) {
	resp, err := l.s.txn(ctx, nil, l.why(c, e), nil)
	return resp, l.s.failed(ctx, op, err)
}

// rejected finds out why a join was not made, and takes up a new epoch. Where the
// entry is there already, the client library has sent the request twice: that is
// an outcome to be resolved.
func (l *lease) rejected(op string, e emplacement, epoch int64, resp *pb.TxnResponse) error {
	sessionKVs, entryKVs := rangeOf(resp.Responses, 0), rangeOf(resp.Responses, 1)
	switch {
	case len(sessionKVs) == 0 || sessionKVs[0].ModRevision < epoch:
		return fmt.Errorf("%s: %w", op, driver.ErrLeaseGone)
	case len(entryKVs) > 0 && sessionKVs[0].ModRevision == epoch:
		return fmt.Errorf("%s: the key %s is there already", op, e.key)
	}
	l.advance(sessionKVs[0].ModRevision)
	return nil
}

func (l *lease) joinTxn(ctx context.Context, c driver.Claim, e emplacement, a *assumption) (*pb.TxnResponse, error) {
	dir, record := prefixed(l.s.keys.dir(c.Name)), span{}
	guards := []*pb.Compare{
		one(l.key).modified(pb.Compare_EQUAL, a.epoch),
		one(e.key).created(pb.Compare_EQUAL, 0),
	}
	ahead := dir.latest()
	if c.Mode != driver.Exclusive || a.loose {
		ahead = dir.all()
	}
	then := []*pb.RequestOp{ahead, one(e.key).put(e.value, l.id)}
	if c.Limit > 0 {
		record = one(l.s.keys.limit(c.Name))
		guards = append(guards, record.modified(pb.Compare_EQUAL, int64(a.limit.Version)))
	}
	if c.Limit > 0 && a.set {
		then = append(then, record.put(limitRecord{Limit: c.Limit}.encode(), clientv3.NoLease))
	}
	if !a.loose && (c.Admit != nil || c.Limit > 0 && a.set) {
		// An Update keeps the create revision of its entry, and one that leaves
		// can but help.
		guards = append(guards, dir.created(pb.Compare_LESS, a.seen+1))
	}
	req := &pb.TxnRequest{Compare: guards, Success: then}
	if conditional(c) {
		req.Failure = l.why(c, e)
	}
	resp, _, err := l.joins.txn(ctx, c.Name, req, nil, func() {
		if a.long = c.Mode == driver.Exclusive && !conditional(c) && l.s.lengths.areLong(c.Name); a.long {
			tail := one(l.s.keys.tail(c.Name))
			req.Success = []*pb.RequestOp{tail.all(), then[1], tail.put(e.key, l.id)}
		}
	})
	return resp, err
}

// joined makes the view from an entry that was just made.
func (l *lease) joined(ctx context.Context, c driver.Claim, e emplacement, a assumption, resp *pb.TxnResponse) (driver.View, error) {
	rev := resp.Header.Revision
	l.slots.made(c.ID, uint64(rev))
	if c.Limit > 0 && a.set {
		a.limit.Version = uint64(rev)
	}
	if c.Limit > 0 {
		l.limits.put(c.Name, a.limit)
	}
	me := driver.Entry{
		Name: c.Name, Key: e.key, ID: c.ID, Token: uint64(rev), Version: uint64(rev), Lease: l.ID(),
		Kind: c.Kind, Mode: c.Mode, Value: c.Value, Info: c.Info,
	}
	ahead, known, err := l.ahead(ctx, me, a, resp.Responses[0].GetResponseRange())
	if err != nil {
		return driver.View{}, err
	}
	if !known {
		return l.s.viewAt(ctx, me, rev)
	}
	v := driver.View{Me: me, Ahead: ahead, Limit: a.limit, At: uint64(rev)}
	if a.loose {
		err = l.judge(ctx, c, v)
	}
	return v, err
}

// ahead returns who was ahead of an entry when it was made, by what its transaction has
// read, and whether that tells.
func (l *lease) ahead(ctx context.Context, me driver.Entry, a assumption, read *pb.RangeResponse) (ahead []driver.Entry, known bool, err error) {
	if a.long {
		ahead, err = l.s.behindTail(ctx, me, read.Kvs)
		return ahead, len(ahead) > 0, err
	}
	l.s.lengths.note(me.Name, read.Count)
	ahead, err = l.s.entries(me.Name, read.Kvs)
	return ahead, len(ahead) > 0 || !read.More, err // what is nearest may be no entry
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

// Resolve implements driver.Lease. If the entry is not there once the claim is fenced,
// it never will be. A Join that was answered, and failed as it looked further, needs no fence.
func (l *lease) Resolve(ctx context.Context, c driver.Claim) (driver.View, error) {
	op := "resolve the claim on " + quoted(c.Name)
	gone := fmt.Errorf("%s: %w", op, driver.ErrEntryGone)
	if err := checkClaim(c); err != nil {
		return driver.View{}, gone
	}
	if l.slots.giveUp(c.ID) {
		l.slots.free(c.Name, c.ID)
		return driver.View{}, gone
	}
	if l.slots.refused(c.ID) { // what told its entry to leave may apply late, and take it away from who holds by it
		if err := l.Withdraw(ctx, c); err != nil {
			return driver.View{}, err
		}
		return driver.View{}, gone
	}
	e := l.placed(c)
	if token := l.slots.token(c.ID); token > 0 {
		v, err := l.s.viewAt(ctx, driver.Entry{Mode: c.Mode, Name: c.Name, Key: e.key, Token: token}, 0)
		if errors.Is(err, driver.ErrEntryGone) {
			l.slots.free(c.Name, c.ID)
		}
		return l.adopted(ctx, c, v, err)
	}
	resp, err := l.fence(ctx, op, c, e, clientv3.OpGet(e.key, clientv3.WithKeysOnly()))
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		if err := l.expunge(ctx, op, c, e); err != nil {
			return driver.View{}, err
		}
		return driver.View{}, gone
	case err != nil:
		return driver.View{}, err
	}
	l.forgetNoSpace(c)
	kvs := rangeOf(resp.Responses, 1)
	if len(kvs) == 0 {
		l.slots.free(c.Name, c.ID)
		return driver.View{}, gone
	}
	me := driver.Entry{Mode: c.Mode, Name: c.Name, Key: e.key, Token: uint64(kvs[0].CreateRevision)}
	v, err := l.s.viewAt(ctx, me, resp.Header.Revision)
	if err == nil && v.Me.ID != c.ID {
		return driver.View{}, gone // somebody else's
	}
	l.slots.made(c.ID, v.Me.Token)
	return l.adopted(ctx, c, v, err)
}

// Withdraw implements driver.Lease. It is Resolve, but deletes the entry.
func (l *lease) Withdraw(ctx context.Context, c driver.Claim) error {
	op := "withdraw the claim on " + quoted(c.Name)
	if err := checkClaim(c); err != nil {
		return nil // never asked for
	}
	if l.slots.giveUp(c.ID) {
		l.slots.free(c.Name, c.ID)
		return nil
	}
	e := l.placed(c)
	if token := l.slots.token(c.ID); token > 0 {
		return l.Leave(ctx, driver.Entry{Mode: c.Mode, Kind: c.Kind, Name: c.Name, Key: e.key, ID: c.ID, Token: token})
	}
	_, err := l.fence(ctx, op, c, e, clientv3.OpDelete(e.key))
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		err = l.expunge(ctx, op, c, e)
	case err == nil:
		l.forgetNoSpace(c)
		l.slots.free(c.Name, c.ID)
	}
	if err == nil && c.Limit > 0 {
		err = l.s.tidy(ctx, c.Name)
	}
	return err
}

// fence sees to it that no Join of the claim that is still in flight applies any more,
// and then does one thing more, to the entry's key. For the first it moves the session
// key to a new epoch, unless that has happened since the Join was sent.
//
// Of several at a time only one would succeed, and the others would try again: so where
// many outcomes are unknown they take turns. Those that were sent before the first
// one's turn need none of their own then: where the reply to a batch is lost, that is
// all of them.
func (l *lease) fence(ctx context.Context, op string, c driver.Claim, e emplacement, more clientv3.Op) (*clientv3.TxnResponse, error) {
	select {
	case l.fencing <- struct{}{}:
	case <-ctx.Done():
		return nil, l.s.failed(ctx, op, ctx.Err())
	}
	epoch, err := l.overtake(ctx, c)
	<-l.fencing
	if err != nil {
		return nil, l.s.failed(ctx, op, err)
	}
	resp, err := l.fencedTxn(ctx, e, epoch, more)
	return resp, l.s.failed(ctx, op, err)
}

// overtake moves the session key to a new epoch, where the claim's Join is not guarded on
// an older one already, and returns the epoch. Joins of other claims that this overtakes
// notice it, take up the new epoch and try again.
func (l *lease) overtake(ctx context.Context, c driver.Claim) (epoch int64, err error) {
	for {
		epoch = l.epoch.Load()
		if l.slots.fenced(c.ID, epoch) {
			return epoch, nil
		}
		resp, err := l.moveTxn(ctx, epoch)
		if err != nil {
			return 0, err
		}
		if resp.Succeeded {
			return l.advance(resp.Header.Revision), nil
		}
		kvs := rangeOf(resp.Responses, 0)
		if len(kvs) == 0 || kvs[0].ModRevision < epoch { // or the store has gone back in time
			return 0, driver.ErrLeaseGone
		}
		l.advance(kvs[0].ModRevision)
	}
}

// moveTxn moves the session key on from an epoch. It does nothing else, as it may be late:
// where it was refused for want of space, nothing has changed that it is guarded on.
func (l *lease) moveTxn(ctx context.Context, epoch int64) (*clientv3.TxnResponse, error) {
	return repeated(ctx, l.s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return l.s.client.Txn(ctx).If(
			clientv3.Compare(clientv3.ModRevision(l.key), "=", epoch),
		).Then(
			clientv3.OpPut(l.key, "", clientv3.WithIgnoreValue(), clientv3.WithIgnoreLease()),
		).Else(
			clientv3.OpGet(l.key, clientv3.WithKeysOnly()),
		).Commit()
	})
}

// fencedTxn does the one thing more for a claim that is fenced since that epoch. Its entry
// is older; one that has its key after it is not, so that this may be late as well.
func (l *lease) fencedTxn(ctx context.Context, e emplacement, epoch int64, more clientv3.Op) (*clientv3.TxnResponse, error) {
	session := clientv3.OpGet(l.key, clientv3.WithCountOnly())
	resp, err := repeated(ctx, l.s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return l.s.client.Txn(ctx).If(
			clientv3.Compare(clientv3.CreateRevision(e.key), "<", epoch),
		).Then(session, more).Else(session).Commit()
	})
	if err == nil && resp.Responses[0].GetResponseRange().Count == 0 {
		err = driver.ErrLeaseGone
	}
	return resp, err
}

// expunge is Withdraw for a server that is out of space: it refuses to move the
// epoch, which is a put, but still deletes. What it deletes is told by its value,
// or an election's by its key: either has the claim's ID.
//
// That the entry is gone then does not by itself mean that it stays gone: a
// Join in flight would be refused as long as there is no space, but perhaps
// arrives when there is. Only where the Join was answered, with "no space", is
// nothing in flight any more: the server answers so before it proposes the
// request to the cluster, or after it has applied it. Otherwise the outcome stays
// unknown, and whoever asks again is told once there is space, or the lease has
// ended.
func (l *lease) expunge(ctx context.Context, op string, c driver.Claim, e emplacement) error {
	rctx, cancel := l.s.request(ctx)
	defer cancel()
	resp, err := l.s.client.Txn(rctx).If(
		clientv3.Compare(clientv3.Value(e.key), "=", e.value), // false if it is not there
	).Then(clientv3.OpDelete(e.key)).Else(clientv3.OpGet(l.key, clientv3.WithCountOnly())).Commit()
	switch {
	case err != nil:
		return l.s.failed(ctx, op, err)
	case !resp.Succeeded && resp.Responses[0].GetResponseRange().Count == 0:
		return fmt.Errorf("%s: %w", op, driver.ErrLeaseGone)
	}
	if !l.forgetNoSpace(c) {
		return fmt.Errorf("%s: etcd is out of space, and a late request may still apply when it has some again", op)
	}
	l.slots.free(c.Name, c.ID)
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
func rangeOf(responses []*pb.ResponseOp, i int) []*mvccpb.KeyValue {
	if i >= len(responses) {
		return nil
	}
	if r, ok := responses[i].Response.(*pb.ResponseOp_ResponseRange); ok {
		return r.ResponseRange.Kvs
	}
	return nil
}
