package etcd

import (
	"context"
	"errors"
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// answersOfAnySize lets a queue be as long as it wants to.
var answersOfAnySize = grpc.MaxCallRecvMsgSize(math.MaxInt32)

// get makes a range request.
func (s *store) get(ctx context.Context, op, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	resp, err := repeated(ctx, s, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return s.client.Get(ctx, key, opts...)
	})
	return resp, s.failed(ctx, op, err)
}

// txn makes a transaction of parts as below, one that does no harm and tells the
// same when it is made twice.
func (s *store) txn(ctx context.Context, guards []*pb.Compare, then, otherwise []*pb.RequestOp) (*pb.TxnResponse, error) {
	return repeated(ctx, s, func(ctx context.Context) (*pb.TxnResponse, error) {
		return s.commit(ctx, guards, then, otherwise)
	})
}

// commit makes a transaction for as long as the context lasts. It spares what the
// client library does to build one, which a lock that nobody competes for would
// feel.
func (s *store) commit(ctx context.Context, guards []*pb.Compare, then, otherwise []*pb.RequestOp) (*pb.TxnResponse, error) {
	resp, err := s.kv.Txn(ctx, &pb.TxnRequest{Compare: guards, Success: then, Failure: otherwise}, answersOfAnySize)
	return resp, recognised(err)
}

// read makes range requests, several of them at one revision.
func (s *store) read(ctx context.Context, ranges ...*pb.RangeRequest) ([]*pb.RangeResponse, error) {
	if len(ranges) == 1 {
		resp, err := repeated(ctx, s, func(ctx context.Context) (*pb.RangeResponse, error) {
			return s.kv.Range(ctx, ranges[0], answersOfAnySize)
		})
		return []*pb.RangeResponse{resp}, recognised(err)
	}
	ops := make([]*pb.RequestOp, len(ranges))
	for i, r := range ranges {
		ops[i] = reading(r)
	}
	resp, err := s.txn(ctx, nil, ops, nil)
	if err != nil {
		return nil, err
	}
	got := make([]*pb.RangeResponse, len(ranges))
	for i := range ranges {
		got[i] = resp.Responses[i].GetResponseRange()
		got[i].Header = resp.Header
	}
	return got, nil
}

// readSince reads keys as they were at a revision, from whichever member answers, or, where
// that one has not come so far, or has compacted it away, as they are now, linearizably.
// Revision 0 is the present, too.
func (s *store) readSince(ctx context.Context, rev int64, keys ...string) ([]*pb.RangeResponse, error) {
	for {
		reads := make([]*pb.RangeRequest, len(keys))
		for i, key := range keys {
			reads[i] = one(key).at(rev, pb.RangeRequest_ASCEND, 0)
		}
		got, err := s.read(ctx, reads...)
		if rev == 0 || !isElsewhere(err) {
			return got, err
		}
		rev = 0
	}
}

// isElsewhere tells whether a member has not come to the revision that was asked of it, or has
// compacted it away.
func isElsewhere(err error) bool {
	return errors.Is(err, rpctypes.ErrFutureRev) || errors.Is(err, rpctypes.ErrCompacted)
}

// A span is a range of keys.
type span struct{ from, to []byte }

func one(key string) span { return span{from: []byte(key)} }

func prefixed(dir string) span {
	return span{[]byte(dir), []byte(clientv3.GetPrefixRangeEnd(dir))}
}

// created and modified hold if the revision of each key of the span, if there
// are any, compares so. A key that is not there has revision 0.
func (s span) created(result pb.Compare_CompareResult, rev int64) *pb.Compare {
	return &pb.Compare{
		Key: s.from, RangeEnd: s.to, Target: pb.Compare_CREATE, Result: result,
		TargetUnion: &pb.Compare_CreateRevision{CreateRevision: rev},
	}
}

func (s span) modified(result pb.Compare_CompareResult, rev int64) *pb.Compare {
	return &pb.Compare{
		Key: s.from, RangeEnd: s.to, Target: pb.Compare_MOD, Result: result,
		TargetUnion: &pb.Compare_ModRevision{ModRevision: rev},
	}
}

// at reads the keys as they were at a revision, in the order of their creation,
// from whichever member answers. Revision 0 is the present, linearizably.
func (s span) at(rev int64, order pb.RangeRequest_SortOrder, limit int64) *pb.RangeRequest {
	return &pb.RangeRequest{
		Key: s.from, RangeEnd: s.to, Limit: limit, SortOrder: order, SortTarget: pb.RangeRequest_CREATE,
		Revision: rev, Serializable: rev > 0,
	}
}

// all reads the keys in the order of their creation.
func (s span) all() *pb.RequestOp { return reading(s.at(0, pb.RangeRequest_ASCEND, 0)) }

// latest reads the key that was created last.
func (s span) latest() *pb.RequestOp { return reading(s.at(0, pb.RangeRequest_DESCEND, 1)) }

// keys reads so many keys, without their values, or all if that is 0.
func (s span) keys(most int64) *pb.RequestOp {
	return reading(&pb.RangeRequest{Key: s.from, RangeEnd: s.to, Limit: most, KeysOnly: true})
}

func reading(r *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
}

// remove deletes the keys.
func (s span) remove() *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: s.from, RangeEnd: s.to}}}
}

// touch writes a key that is there, with the value and the lease that it has.
func (s span) touch() *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{
		Key: s.from, IgnoreValue: true, IgnoreLease: true,
	}}}
}

// put writes a key, under a lease unless that is 0.
func (s span) put(value string, lease clientv3.LeaseID) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{
		Key: s.from, Value: []byte(value), Lease: int64(lease),
	}}}
}
