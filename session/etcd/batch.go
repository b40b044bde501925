package etcd

import (
	"context"
	"errors"
	"iter"
	"math"
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

	// patience bounds for how long transactions wait while none of those under way
	// is answered: one of them may be lost, and the others have nothing to do with it.
	patience = 200 * time.Millisecond

	// crowd bounds how many of one queue may be under way, which cannot go together.
	// The server works on them one after another, for longer the longer the queue is.
	// All of ten thousand at once would each be given up before its turn. Of a lease's first
	// there are few: their answers tell how long it is.
	crowd = 64

	// sluggish is the time of an answer, at least, that says that fewer should be under
	// way, if it is also so many times that of the fastest.
	sluggish       = 100 * time.Millisecond
	sluggishFactor = 4
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
//   - Transactions of one queue set off in the order in which they came. Where one of
//     them still waits, it does when the next comes, unless the queue is crowded.
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
//   - Where some wait, requests are under way, and the watchdog looks after them.
type batcher struct {
	s *store

	mu       sync.Mutex
	lanes    int                  // requests that may be under way before others wait
	window   int                  // that many of a crowd may be
	halved   time.Time            // when that became less
	fastest  time.Duration        // answer
	answers  int                  // since some that waited were sent
	turn     int                  // moves on when those under way are not waited for any more
	underWay int                  // requests of this turn
	waiting  map[string][]*member // by queue, in the order in which they came
	overdue  *pending             // while some wait, counted from the last answer
	most     int                  // transactions of a batch
}

// A member is a transaction that goes with others.
type member struct {
	queue   string
	req     *pb.TxnRequest
	again   *pb.TxnRequest // what to send when the answer is overdue; nil: nothing
	sending func()         // called before req is sent, which it may change; nil: nothing to do

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
	return &batcher{s: s, lanes: lanes, window: lanes, fastest: math.MaxInt64 / sluggishFactor, waiting: map[string][]*member{}, most: maxBatch}
}

// txn makes a transaction that concerns one queue, together with others if there are
// many. When its answer is overdue, again is sent beside it, or, where that is nil,
// it is given up. sending, if it is not nil, is called before req is sent, and may change
// it; it has returned when a transaction that did not fail has. first tells that req itself
// was answered. The outcome is unknown when it fails, as with store.commit, unless the error
// is an unsent.
func (b *batcher) txn(ctx context.Context, queue string, req, again *pb.TxnRequest, sending func()) (resp *pb.TxnResponse, first bool, err error) {
	m := &member{queue: queue, req: req, again: again, sending: sending}
	if turn, now := b.enter(m); now {
		defer b.exit(turn, time.Now())
		m.prepare()
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

// enter tells whether the transaction may go now, and then calls exit with the turn. Else
// it waits.
func (b *batcher) enter(m *member) (turn int, now bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.underWay < b.lanes { // so none waits
		b.underWay++
		return b.turn, true
	}
	m.done = make(chan struct{})
	b.waiting[m.queue] = append(b.waiting[m.queue], m)
	if len(b.waiting[m.queue]) > 1 && b.underWay < b.window {
		b.launch([]*member{b.first(m.queue)})
	}
	if b.overdue == nil {
		b.watch()
	}
	return b.turn, false
}

func (m *member) prepare() {
	if m.sending != nil {
		m.sending()
	}
}

// exit says that a request of that turn, sent then, is no longer under way. How many of
// a crowd may be follows the times of the answers: one more with each, or half as many.
func (b *batcher) exit(turn int, sent time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	took := time.Since(sent)
	b.fastest = min(b.fastest, took)
	switch {
	case took <= max(sluggish, sluggishFactor*b.fastest):
		b.window = min(b.window+1, crowd)
	case sent.After(b.halved): // or it has been slow for the same reason
		b.window, b.halved = max(b.window/2, b.lanes), time.Now()
	}
	if turn == b.turn {
		b.underWay--
	}
	b.answers++
	if b.underWay < b.lanes || b.answers >= b.lanes && b.underWay < b.window {
		b.send()
	}
	b.watch()
}

// hurry sends what waits, whatever is under way.
func (b *batcher) hurry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn++
	b.underWay = 0
	b.send()
	b.watch()
}

// watch has the watchdog look after those that wait, from now on. b.mu is held.
func (b *batcher) watch() {
	if b.overdue != nil {
		b.s.patience.remove(b.overdue, false)
		b.overdue = nil
	}
	if len(b.waiting) > 0 {
		b.overdue = &pending{cancel: func() { b.s.start(b.hurry) }}
		b.s.patience.add(b.overdue)
	}
}

// first takes the first that waits of a queue. b.mu is held.
func (b *batcher) first(queue string) *member {
	m := b.waiting[queue][0]
	b.drop(queue, 0)
	return m
}

func (b *batcher) drop(queue string, i int) {
	if b.waiting[queue] = slices.Delete(b.waiting[queue], i, i+1); len(b.waiting[queue]) == 0 {
		delete(b.waiting, queue)
	}
}

// forget keeps a transaction that still waits from being sent. It returns false where
// that has been done.
func (b *batcher) forget(m *member) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiting[m.queue], m)
	if i >= 0 {
		b.drop(m.queue, i)
	}
	return i >= 0
}

// send sends the first of each queue, and of a crowd more, as many as may be under way.
// However busy a crowd is, it is called again after a few answers, so that others need
// not wait for its end. b.mu is held.
func (b *batcher) send() {
	b.answers = 0
	for again := true; again && len(b.waiting) > 0; again = b.underWay < b.window {
		var firsts []*member
		for queue := range b.waiting {
			firsts = append(firsts, b.first(queue))
		}
		for _, batch := range pack(firsts, b.most) {
			b.launch(batch.members)
		}
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
	sent := time.Now()
	for _, m := range members {
		m.prepare()
	}
	if len(members) == 1 {
		resp, first, err := b.s.send(b.s.ctx, members[0].req, members[0].again)
		b.exit(turn, sent)
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
	b.exit(turn, sent)
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
func pack(members []*member, most int) []*batch {
	var batches []*batch
	for _, m := range members {
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
