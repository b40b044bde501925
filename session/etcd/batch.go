package etcd

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/protobuf/proto"
)

const (
	// lanes is how many joins, or leaves, may be under way before others wait for
	// them. With one, two goroutines would take turns; with many, batches would be
	// small.
	lanes = 4

	// maxBatch bounds the transactions of a batch. A server allows for 128
	// operations, by default, and counts those that are nested on top of the
	// outer ones.
	maxBatch = 64

	// maxBatchSize bounds the bytes of a batch; a server takes 1.5 MiB, by
	// default. What is larger by itself goes alone.
	maxBatchSize = 512 << 10

	// patience bounds how long a transaction waits for those under way: one of
	// them may be lost, and the others have nothing to do with it.
	patience = 200 * time.Millisecond
)

// A batcher groups commits. A transaction that finds fewer than so many under way goes
// at once, as it is. Those that come meanwhile wait, and go together when one has been
// answered: nested in one transaction, each with its own guards and branches. So
// they share one entry of the cluster's log, and one request.
//
// The invariants:
//
//   - No batch has two transactions of one queue, or of queues whose names continue
//     one another. Two entries with one revision would have no order, and etcd
//     compares for all transactions of a batch before it does anything for one.
//   - A transaction is sent after those of its queue that came before: where one of
//     them still waits, it goes when the next comes.
//   - A batch is of one lease, and of either joins or leaves, as there is a batcher
//     for each.
//   - What a transaction is told is the outcome of its own guards and branches. A
//     batch that the server rejects has had no effect, or is one whose effects each
//     transaction finds by its guards; the transactions then go alone, and each is
//     told what it meets there.
//   - A join is sent once, and given up when its answer is overdue. A leave may be
//     sent again, but then guarded: only the first request may lack its guard, and
//     who asked is told whether that one was answered.
//   - Who asks no longer is not waited for, and waits for nobody.
//   - Where some wait, requests are under way, or the watchdog looks after them.
type batcher struct {
	s *store

	mu       sync.Mutex
	lanes    int                // requests that may be under way before others wait
	turn     int                // moves on when those under way are not waited for any more
	underWay int                // requests of this turn
	waiting  map[string]*member // by queue
	overdue  *pending           // of the first that waits
	most     int                // transactions of a batch
}

// A member is a transaction that goes with others.
type member struct {
	queue string
	req   *pb.TxnRequest
	again *pb.TxnRequest // what to send when the answer is overdue; nil: nothing

	done  chan struct{} // closed when there is an outcome
	resp  *pb.TxnResponse
	first bool // it was req that was answered, so that it cannot arrive late
	err   error
}

// An unsent is the error of a transaction whose caller gave up before it was sent: it
// has had no effect, and will have none.
type unsent struct{ error }

func (e unsent) Unwrap() error { return e.error }

func isUnsent(err error) bool {
	_, ok := errors.AsType[unsent](err)
	return ok
}

// errAlone is the outcome of a transaction whose batch was rejected.
var errAlone = errors.New("the batch was rejected")

func (s *store) newBatcher() *batcher {
	return &batcher{s: s, lanes: lanes, waiting: map[string]*member{}, most: maxBatch}
}

// txn makes a transaction that concerns one queue, together with others if there are
// many. When its answer is overdue, again is sent beside it, or, where that is nil,
// it is given up. first tells that req itself was answered. The outcome is unknown
// when it fails, as with store.commit, unless the error is an unsent.
func (b *batcher) txn(ctx context.Context, queue string, req, again *pb.TxnRequest) (resp *pb.TxnResponse, first bool, err error) {
	turn, m := b.enter(queue, req, again)
	if m == nil {
		defer b.exit(turn)
		return b.s.send(ctx, req, again)
	}
	select {
	case <-m.done:
	case <-ctx.Done():
		if b.forget(m) {
			return nil, false, unsent{ctx.Err()}
		}
		return nil, false, ctx.Err()
	}
	if m.err == errAlone {
		return b.s.send(ctx, req, again)
	}
	return m.resp, m.first, m.err
}

// enter returns a member if the transaction has to wait; else it may go, and calls
// exit with the turn.
func (b *batcher) enter(queue string, req, again *pb.TxnRequest) (turn int, m *member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.underWay < b.lanes { // so none waits
		b.underWay++
		return b.turn, nil
	}
	if before := b.waiting[queue]; before != nil {
		b.launch([]*member{before})
	}
	m = &member{queue: queue, req: req, again: again, done: make(chan struct{})}
	b.waiting[queue] = m
	if b.overdue == nil {
		b.overdue = &pending{cancel: func() { b.s.start(b.hurry) }}
		b.s.patience.add(b.overdue)
	}
	return b.turn, m
}

// exit says that a request of that turn is no longer under way.
func (b *batcher) exit(turn int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if turn != b.turn {
		return
	}
	if b.underWay--; b.underWay < b.lanes {
		b.send()
	}
}

// hurry sends what waits, whatever is under way.
func (b *batcher) hurry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn++
	b.underWay = 0
	b.send()
}

// forget keeps a transaction that still waits from being sent. It returns false where
// that has been done.
func (b *batcher) forget(m *member) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	waits := b.waiting[m.queue] == m
	if waits {
		delete(b.waiting, m.queue)
	}
	return waits
}

// send sends all that wait. b.mu is held.
func (b *batcher) send() {
	if b.overdue != nil {
		b.s.patience.remove(b.overdue, false)
		b.overdue = nil
	}
	batches := pack(b.waiting, b.most)
	clear(b.waiting)
	for _, batch := range batches {
		b.launch(batch.members)
	}
}

// launch sends a batch. b.mu is held.
func (b *batcher) launch(members []*member) {
	turn := b.turn
	if b.s.start(func() { b.commit(turn, members) }) {
		b.underWay++
	} else {
		settle(members, nil, false, errClosed)
	}
}

// commit sends a batch, and tells its members the outcome. It runs under nobody's
// context: who has given up must not fail the others.
func (b *batcher) commit(turn int, members []*member) {
	if len(members) == 1 {
		resp, first, err := b.s.send(b.s.ctx, members[0].req, members[0].again)
		b.exit(turn)
		settle(members, []*pb.TxnResponse{resp}, first, err)
		return
	}
	req, again := &pb.TxnRequest{}, &pb.TxnRequest{}
	for _, m := range members {
		req.Success = append(req.Success, nested(m.req))
		if m.again == nil {
			again = nil
		} else if again != nil {
			again.Success = append(again.Success, nested(m.again))
		}
	}
	resp, first, err := b.s.send(b.s.ctx, req, again)
	b.exit(turn)
	if isRejection(err) {
		b.shrink(err, len(members))
		err = errAlone
	}
	settle(members, parts(resp), first, err)
}

// settle tells members the outcome of their batch.
func settle(members []*member, resps []*pb.TxnResponse, first bool, err error) {
	for i, m := range members {
		m.first = first
		if m.err = err; err == nil {
			m.resp = resps[i]
		}
		close(m.done)
	}
}

// shrink makes batches smaller, where the server is configured to take less.
func (b *batcher) shrink(err error, n int) {
	if !errors.Is(err, rpctypes.ErrTooManyOps) && !errors.Is(err, rpctypes.ErrRequestTooLarge) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.most = min(b.most, max(n/2, 1))
}

// isRejection tells whether the server refused a request for what is in it. Of
// others the outcome is unknown, or they would meet the same alone.
func isRejection(err error) bool {
	return err != nil && (isPermanent(err) || errors.Is(err, rpctypes.ErrLeaseNotFound))
}

// A batch is what goes in one transaction.
type batch struct {
	members []*member
	size    int
	queues  map[string]bool // true for those of members, false for those that these lie in
}

// pack distributes transactions over batches: each goes into the first that takes it.
func pack(waiting map[string]*member, most int) []*batch {
	var batches []*batch
	for _, m := range waiting {
		size := proto.Size(m.req)
		i := slices.IndexFunc(batches, func(b *batch) bool { return b.takes(m, size, most) })
		if i < 0 {
			i, batches = len(batches), append(batches, &batch{queues: map[string]bool{}})
		}
		batches[i].add(m, size)
	}
	return batches
}

// takes tells whether the batch has room, and no member of a queue whose name
// continues that of the other: each range of the shorter one's keys has the keys of
// both.
func (b *batch) takes(m *member, size, most int) bool {
	if len(b.members) >= most || b.size+size > maxBatchSize {
		return false
	}
	if _, ok := b.queues[m.queue]; ok {
		return false
	}
	for outer := range containing(m.queue) {
		if b.queues[outer] {
			return false
		}
	}
	return true
}

func (b *batch) add(m *member, size int) {
	b.members = append(b.members, m)
	b.size += size
	for outer := range containing(m.queue) {
		b.queues[outer] = false
	}
	b.queues[m.queue] = true
}

// containing yields the names that a queue's name continues.
func containing(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range len(name) {
			if name[i] == '/' && !yield(name[:i]) {
				return
			}
		}
	}
}

// send makes a transaction; see batcher.txn.
func (s *store) send(ctx context.Context, req, again *pb.TxnRequest) (resp *pb.TxnResponse, first bool, err error) {
	if again == nil {
		rctx, done := s.attempt(ctx)
		resp, err = s.commit(rctx, req.Compare, req.Success, req.Failure)
		done(err)
		return resp, err == nil, err
	}
	resp, err = hedged(ctx, s, func(ctx context.Context) (*pb.TxnResponse, error) {
		resp, err := s.once(ctx, req)
		first = err == nil
		return resp, err
	}, func(ctx context.Context) (*pb.TxnResponse, error) { return s.once(ctx, again) })
	return resp, first, err
}

// once makes one request. Where that is a deletion and no more, it is sent as such,
// which saves the server a good part of the work.
func (s *store) once(ctx context.Context, req *pb.TxnRequest) (*pb.TxnResponse, error) {
	d := deletion(req)
	if d == nil {
		return s.commit(ctx, req.Compare, req.Success, req.Failure)
	}
	resp, err := s.kv.DeleteRange(ctx, d)
	if err != nil {
		return nil, recognised(err)
	}
	return &pb.TxnResponse{Header: resp.Header, Succeeded: true}, nil
}

// deletion returns the deletion that a transaction consists of, if that is all.
func deletion(req *pb.TxnRequest) *pb.DeleteRangeRequest {
	if len(req.Compare) > 0 || len(req.Success) != 1 {
		return nil
	}
	return req.Success[0].GetRequestDeleteRange()
}

// nested makes an operation of a transaction.
func nested(req *pb.TxnRequest) *pb.RequestOp {
	if deletion(req) != nil {
		return req.Success[0]
	}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: req}}
}

// parts takes the answer to a batch apart. The server fills in the revision on
// the outside alone.
func parts(resp *pb.TxnResponse) []*pb.TxnResponse {
	if resp == nil {
		return nil
	}
	resps := make([]*pb.TxnResponse, len(resp.Responses))
	for i, r := range resp.Responses {
		part := r.GetResponseTxn()
		if part == nil {
			part = &pb.TxnResponse{Succeeded: true}
		}
		part.Header = resp.Header
		resps[i] = part
	}
	return resps
}
