package etcd

import (
	"context"
	"math"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// answersOfAnySize lets a queue be as long as it wants to.
var answersOfAnySize = grpc.MaxCallRecvMsgSize(math.MaxInt32)

// request bounds a request, so that one that is lost on its way is followed by
// another, to a member that is perhaps better off. The owner calls the function
// when it has its answer.
//
// A deadline of the context would travel with the request and cost the server a
// timer for each; that we stop waiting is enough.
func (s *store) request(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	r := s.overdue.add(cancel)
	return ctx, func() {
		s.overdue.remove(r)
		cancel()
	}
}

// A watchdog cancels requests that take longer than a limit, or up to a quarter
// of it more. One timer serves all of them: to start and stop one for each makes
// the runtime wake a thread, which takes longer than what else we do.
type watchdog struct {
	limit time.Duration

	mu     sync.Mutex
	ticks  int64 // quarters of the limit that have passed while there were requests
	active map[*pending]struct{}
	timer  *time.Timer // runs while there are requests
	armed  bool
}

// A pending request is one without an answer.
type pending struct {
	cancel context.CancelFunc
	since  int64 // in ticks
}

func newWatchdog(limit time.Duration) *watchdog {
	return &watchdog{limit: limit, active: map[*pending]struct{}{}}
}

func (w *watchdog) add(cancel context.CancelFunc) *pending {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &pending{cancel: cancel, since: w.ticks}
	w.active[r] = struct{}{}
	if !w.armed {
		w.armed = true
		if w.timer == nil {
			w.timer = time.AfterFunc(w.limit/4, w.tick)
		} else {
			w.timer.Reset(w.limit / 4)
		}
	}
	return r
}

func (w *watchdog) remove(r *pending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.active, r)
}

// tick cancels what has been seen by four ticks before this one, and goes on as
// long as there is something to watch.
func (w *watchdog) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ticks++
	for r := range w.active {
		if w.ticks-r.since > 4 {
			delete(w.active, r)
			r.cancel()
		}
	}
	if w.armed = len(w.active) > 0; w.armed {
		w.timer.Reset(w.limit / 4)
	}
}

// get makes a range request.
func (s *store) get(ctx context.Context, op, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	rctx, cancel := s.request(ctx)
	defer cancel()
	resp, err := s.client.Get(rctx, key, opts...)
	return resp, s.failed(ctx, op, err)
}

// txn makes a transaction of parts as below. It spares what the client library
// does to build one, which a lock that nobody competes for would feel.
func (s *store) txn(ctx context.Context, guards []*pb.Compare, then, otherwise []*pb.RequestOp) (*pb.TxnResponse, error) {
	rctx, cancel := s.request(ctx)
	defer cancel()
	resp, err := s.kv.Txn(rctx, &pb.TxnRequest{Compare: guards, Success: then, Failure: otherwise}, answersOfAnySize)
	return resp, recognised(err)
}

// read makes range requests, several of them at one revision.
func (s *store) read(ctx context.Context, ranges ...*pb.RangeRequest) ([]*pb.RangeResponse, error) {
	if len(ranges) == 1 {
		rctx, cancel := s.request(ctx)
		defer cancel()
		resp, err := s.kv.Range(rctx, ranges[0], answersOfAnySize)
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

func reading(r *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
}

// remove deletes the keys.
func (s span) remove() *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: s.from, RangeEnd: s.to}}}
}

// put writes a key, under a lease unless that is 0.
func (s span) put(value string, lease clientv3.LeaseID) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{
		Key: s.from, Value: []byte(value), Lease: int64(lease),
	}}}
}
