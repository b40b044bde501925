package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdembed "go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/embed"
	"github.com/fairlead-go/fairlead/session/etcd"
)

// A barrier is where a client's joins and leaves may be stopped on their way to
// the server, and their answers lost.
type barrier struct {
	mu    sync.Mutex
	stops func(txn *pb.TxnRequest) bool // nil: none
	open  chan struct{}                 // closed when those that were stopped may go on
	loses func(txn *pb.TxnRequest) bool // nil: none
	sent  []*pb.TxnRequest
}

func (b *barrier) option() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		var txn *pb.TxnRequest
		switch r := req.(type) {
		case *pb.TxnRequest:
			txn = r
		case *pb.DeleteRangeRequest:
			txn = &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}}}
		default:
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		lost, err := b.pass(ctx, txn)
		if err == nil {
			err = invoke(ctx, method, req, reply, cc, opts...)
		}
		if lost && err == nil {
			return status.Error(codes.Unavailable, "the answer is lost")
		}
		return err
	})
}

func (b *barrier) pass(ctx context.Context, txn *pb.TxnRequest) (lost bool, err error) {
	b.mu.Lock()
	b.sent = append(b.sent, txn)
	lost = b.loses != nil && b.loses(txn)
	stopped, open := b.stops != nil && b.stops(txn), b.open
	b.mu.Unlock()
	if stopped {
		select {
		case <-open:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return lost, nil
}

// stop stops the requests that match from now on, and no others any more. The function
// that it returns lets go on those that were stopped and, unless there was another stop
// since, all others.
func (b *barrier) stop(t *testing.T, match func(*pb.TxnRequest) bool) (resume func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	open := make(chan struct{})
	b.stops, b.open = match, open
	resume = sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.open == open { // and not stopped anew meanwhile
			b.stops = nil
		}
		close(open)
	})
	t.Cleanup(resume)
	return resume
}

// lose loses the answers to the requests that match from now on.
func (b *barrier) lose(match func(*pb.TxnRequest) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loses = match
}

func (b *barrier) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.sent)
}

// last is the request that was sent last.
func (b *barrier) last() *pb.TxnRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent[len(b.sent)-1]
}

// await waits until so many requests were sent.
func (b *barrier) await(t *testing.T, n int) {
	t.Helper()
	eventually(t, func() error {
		if got := b.count(); got < n {
			return fmt.Errorf("%d requests were sent, want %d", got, n)
		}
		return nil
	})
}

// batchRequests returns those of the requests that were sent which are batches.
func (b *barrier) batchRequests() (batches []*pb.TxnRequest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, txn := range b.sent {
		if isBatch(txn) {
			batches = append(batches, txn)
		}
	}
	return batches
}

// batches returns them as their members.
func (b *barrier) batches() (batches [][]*pb.RequestOp) {
	for _, txn := range b.batchRequests() {
		batches = append(batches, txn.Success)
	}
	return batches
}

// isBatch tells whether several joins or leaves go together.
func isBatch(txn *pb.TxnRequest) bool {
	return len(txn.Compare) == 0 && len(txn.Success) > 1 && touched(txn.Success[0]) != ""
}

// sizes returns how many members the batches had that were sent.
func (b *barrier) sizes() (sizes []int) {
	for _, batch := range b.batches() {
		sizes = append(sizes, len(batch))
	}
	return sizes
}

func anything(*pb.TxnRequest) bool { return true }

// onlyOne matches the next request.
func onlyOne() func(*pb.TxnRequest) bool {
	var over bool // guarded by the barrier's mutex
	return func(*pb.TxnRequest) bool {
		defer func() { over = true }()
		return !over
	}
}

// touched is the key that a member of a batch makes or deletes.
func touched(op *pb.RequestOp) string {
	ops := []*pb.RequestOp{op}
	if txn := op.GetRequestTxn(); txn != nil {
		ops = txn.Success
	}
	for _, op := range ops {
		if put := op.GetRequestPut(); put != nil {
			return string(put.Key)
		}
		if d := op.GetRequestDeleteRange(); d != nil {
			return string(d.Key)
		}
	}
	return ""
}

// together makes calls while another join, or leave, is under way, so that they
// wait for it, or for the next of their queue; then that may go on. It returns when
// the calls have.
func together(t *testing.T, p *party, b *barrier, first func(), calls ...func()) {
	t.Helper()
	etcd.SetLanes(p.Lease, 1)
	etcd.SetPatience(p.Lease, time.Hour)
	resume, before := b.stop(t, anything), b.count()
	var work sync.WaitGroup
	work.Go(first)
	b.await(t, before+1)
	for _, call := range calls {
		work.Go(call)
	}
	eventually(t, func() error {
		if n := etcd.Waiting(p.Lease) + b.count() - before - 1; n != len(calls) {
			return fmt.Errorf("%d of %d wait, or have gone for another of their queue", n, len(calls))
		}
		return nil
	})
	resume()
	work.Wait()
}

// joining returns calls that join, and where their outcomes will be.
func joining(p *party, claims []driver.Claim) (calls []func(), views []driver.View, errs []error) {
	views, errs = make([]driver.View, len(claims)), make([]error, len(claims))
	for i, c := range claims {
		calls = append(calls, func() { views[i], errs[i] = p.Join(p.t.Context(), c) })
	}
	return calls, views, errs
}

// leaving is joining for leaves.
func leaving(p *party, entries []driver.Entry) (calls []func(), errs []error) {
	errs = make([]error, len(entries))
	for i, e := range entries {
		calls = append(calls, func() { errs[i] = p.Leave(p.t.Context(), e) })
	}
	return calls, errs
}

func claims(names ...string) (cs []driver.Claim) {
	for _, name := range names {
		cs = append(cs, claim(name))
	}
	return cs
}

func numbered(prefix string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s%d", prefix, i))
	}
	return names
}

// A request that finds nothing under way is sent as it is, at once.
func TestOneThatIsAloneIsNoBatch(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	for range 3 {
		p.leave(p.join("q").Me)
	}
	if n := len(b.batches()); n > 0 {
		t.Errorf("%d batches, want none", n)
	}
}

func TestJoinsAndLeavesOfDifferentQueuesGoTogether(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	calls, views, errs := joining(p, claims("a", "a-b", "c/d", "c/e"))
	together(t, p, &b, func() { p.join("first") }, calls...)
	var entries []driver.Entry
	for i, v := range views {
		if errs[i] != nil || len(v.Ahead) > 0 || v.Me.Token == 0 {
			t.Fatalf("Join returned %+v, %v", v, errs[i])
		}
		if now, err := p.Look(t.Context(), v.Me); err != nil || now.Me.Token != v.Me.Token || len(now.Ahead) > 0 {
			t.Errorf("Look at %q returned %+v, %v", v.Me.Name, now, err)
		}
		entries = append(entries, v.Me)
	}
	last := p.join("last").Me
	calls, errs = leaving(p, entries)
	together(t, p, &b, func() { p.leave(last) }, calls...)
	for i, e := range entries {
		if errs[i] != nil {
			t.Errorf("Leave returned %v", errs[i])
		}
		if q := p.queue(e.Name); len(q) > 0 {
			t.Errorf("queue %q is %v, want it empty", e.Name, q)
		}
	}
	if got := b.sizes(); !slices.Equal(got, []int{4, 4}) {
		t.Errorf("batches of %v, want one of 4 joins and one of 4 leaves", got)
	}
}

// waiting makes a call while another is under way, gives it up when it waits for that,
// and returns its error. The other goes on when the function that is returned is called.
func waiting(t *testing.T, p *party, b *barrier, first func(), call func(context.Context) error) (resume func(), err error) {
	t.Helper()
	etcd.SetLanes(p.Lease, 1)
	etcd.SetPatience(p.Lease, time.Hour)
	open, before := b.stop(t, anything), b.count()
	var work sync.WaitGroup
	work.Go(first)
	b.await(t, before+1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- call(ctx) }()
	eventually(t, func() error {
		if n := etcd.Waiting(p.Lease); n != 1 {
			return fmt.Errorf("%d wait, want 1", n)
		}
		return nil
	})
	cancel()
	err = <-ended
	if n := b.count(); n != before+1 {
		t.Errorf("%d requests were sent, want that of the first alone", n-before)
	}
	return func() { open(); work.Wait() }, err
}

// Who gives up while it waits for others has nothing sent, and nobody has to ask what
// became of it.
func TestJoinThatWasGivenUpBeforeItWasSentIsSettled(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	c := claim("given-up")
	resume, err := waiting(t, p, &b, func() { p.join("first") }, func(ctx context.Context) error {
		_, err := p.Join(ctx, c)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Join returned %v, want that its context has ended", err)
	}
	before := b.count()
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Resolve(done, c); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Resolve returned %v, want ErrEntryGone", err)
	}
	if n := b.count() - before; n > 0 {
		t.Errorf("it took %d requests to find that out", n)
	}
	resume()
	if q := p.queue("given-up"); len(q) > 0 {
		t.Errorf("the queue is %v, want it empty", q)
	}
	v, err := p.Join(t.Context(), claim("given-up"))
	if err != nil {
		t.Fatal(err)
	}
	p.leave(v.Me)
}

// Such a claim may be joined after all: then its outcome is as unknown as any.
func TestClaimThatWasGivenUpMayBeJoined(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	c := claim("given-up")
	resume, _ := waiting(t, p, &b, func() { p.join("first") }, func(ctx context.Context) error {
		_, err := p.Join(ctx, c)
		return err
	})
	resume()
	b.lose(anything)
	if _, err := p.Join(t.Context(), c); err == nil {
		t.Fatal("its answer was to be lost")
	}
	b.lose(nil)
	if v, err := p.Resolve(t.Context(), c); err != nil || v.Me.ID != c.ID {
		t.Errorf("Resolve returned %+v, %v, want the entry", v, err)
	}
}

// A leave that was never sent leaves no doubt about the key: the next one is sent without
// a guard again, and the slot can be used.
func TestLeaveThatWasGivenUpBeforeItWasSentLeavesNoDoubt(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	other, e := p.join("other").Me, p.join("given-up").Me
	resume, err := waiting(t, p, &b, func() { p.leave(other) }, func(ctx context.Context) error { return p.Leave(ctx, e) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Leave returned %v, want that its context has ended", err)
	}
	resume()
	p.leave(e)
	if last := b.last(); len(last.Compare) > 0 {
		t.Errorf("it was sent as if another deletion were under way: %v", last)
	}
	if q := p.queue("given-up"); len(q) > 0 {
		t.Errorf("the queue is %v, want it empty", q)
	}
}

// Two entries of one queue with one revision would have no order.
func TestNoBatchHasTwoOfOneQueue(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	calls, views, errs := joining(p, claims("a", "b", "a", "a", "b", "c"))
	together(t, p, &b, func() { p.join("first") }, calls...)
	byQueue, entries := map[string]map[uint64]bool{}, []driver.Entry{}
	for i, v := range views {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if byQueue[v.Me.Name] == nil {
			byQueue[v.Me.Name] = map[uint64]bool{}
		}
		byQueue[v.Me.Name][v.Me.Token] = true
		entries = append(entries, v.Me)
	}
	if len(byQueue["a"]) != 3 || len(byQueue["b"]) != 2 {
		t.Errorf("the tokens are %v: two of one queue are the same", byQueue)
	}
	last := p.join("last").Me
	calls, errs = leaving(p, entries)
	together(t, p, &b, func() { p.leave(last) }, calls...)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if len(b.batches()) == 0 {
		t.Error("there was no batch")
	}
	for _, batch := range b.batches() {
		seen := map[string]bool{}
		for _, op := range batch {
			key := touched(op)
			queue := key[:strings.LastIndexByte(key, '/')]
			if seen[queue] {
				t.Errorf("a batch has two of %s", queue)
			}
			seen[queue] = true
		}
	}
}

// A range of the keys of "a" has those of "a/0", too, and before them.
func TestNoBatchHasQueuesWhoseNamesContinueOneAnother(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	calls, views, errs := joining(p, claims("a", "a/0", "c", "a/0/c", "a/0/d"))
	together(t, p, &b, func() { p.join("first") }, calls...)
	for i, v := range views {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if now, err := p.Look(t.Context(), v.Me); err != nil || now.Me.Token != v.Me.Token || len(now.Ahead) > 0 {
			t.Errorf("Look at %q returned %+v, %v", v.Me.Name, now, err)
		}
	}
	if len(b.batches()) == 0 {
		t.Error("there was no batch")
	}
	for _, batch := range b.batches() {
		for _, op := range batch {
			dir := touched(op)[:strings.LastIndexByte(touched(op), '/')+1]
			for _, other := range batch {
				if other != op && strings.HasPrefix(touched(other), dir) {
					t.Errorf("a batch has %s and %s", touched(op), touched(other))
				}
			}
		}
	}
}

// What a join finds in its queue is its own, whatever its neighbours find in theirs.
func TestMembersOfABatchHaveTheirOwnOutcome(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	holder := p.join("held").Me
	limited := claim("limited")
	limited.Kind, limited.Mode, limited.Value, limited.Limit = "semaphore", driver.Permit, "1", 2
	if _, err := p.Join(t.Context(), limited); err != nil {
		t.Fatal(err)
	}
	stale := p.join("stale").Me
	p.leave(stale)
	newer := p.join("stale").Me

	cs := claims("free", "held", "held", "limited", "taken", "new")
	cs[1].Admit = func(v driver.View) bool { return len(v.Ahead) == 0 }
	cs[3].Kind, cs[3].Mode, cs[3].Value, cs[3].Limit = "semaphore", driver.Permit, "1", 3
	cs[5].Kind, cs[5].Mode, cs[5].Value, cs[5].Limit = "semaphore", driver.Permit, "1", 3
	calls, views, errs := joining(p, cs)
	together(t, p, &b, func() { p.join("first") }, calls...)
	for _, i := range []int{0, 4} {
		if errs[i] != nil || len(views[i].Ahead) > 0 {
			t.Errorf("join of a free queue: %+v, %v", views[i], errs[i])
		}
	}
	if !errors.Is(errs[1], driver.ErrRefused) {
		t.Errorf("join of a held queue, on condition that it is free: %v, want ErrRefused", errs[1])
	}
	if errs[2] != nil || len(views[2].Ahead) != 1 || views[2].Ahead[0].Token != holder.Token {
		t.Errorf("join of a held queue: %+v, %v", views[2], errs[2])
	}
	if limit, ok := errors.AsType[*driver.LimitError](errs[3]); !ok || limit.Limit != 2 {
		t.Errorf("join under another limit: %v, want a LimitError with 2", errs[3])
	}
	if errs[5] != nil || views[5].Limit.N != 3 {
		t.Errorf("join of a queue without limit: %+v, %v", views[5], errs[5])
	}

	last := p.join("last").Me
	calls, errs = leaving(p, []driver.Entry{stale, views[0].Me, views[5].Me})
	together(t, p, &b, func() { p.leave(last) }, calls...)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if q := p.queue("stale"); len(q) != 1 || q[0] != newer.Token {
		t.Errorf("a late leave made %v of the queue, want the newer entry, %d", q, newer.Token)
	}
}

// A batch that is on its way when one of its joins is settled comes too late for
// that one, and for the others only until they know the new epoch.
func TestBatchFromBeforeAResolveNeverAppliesToWhatWasResolved(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	etcd.SetLanes(p.Lease, 1)
	etcd.SetPatience(p.Lease, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	resume := b.stop(t, anything)
	var work sync.WaitGroup
	work.Go(func() { p.join("first") })
	b.await(t, 1)
	const n = 5
	late := claim("late")
	calls, _, errs := joining(p, claims(numbered("q", n)...))
	gaveUp := make(chan error, 1)
	go func() {
		_, err := p.Join(ctx, late)
		gaveUp <- err
	}()
	for _, call := range calls {
		work.Go(call)
	}
	eventually(t, func() error {
		if etcd.Waiting(p.Lease) != n+1 {
			return errors.New("not all wait")
		}
		return nil
	})
	release := b.stop(t, isBatch)
	resume()
	b.await(t, 2)

	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("a join whose context has ended returned %v", err)
	}
	if _, err := p.Resolve(t.Context(), late); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Resolve returned %v, want ErrEntryGone", err)
	}
	release()
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if got := b.sizes(); len(got) == 0 || got[0] != n+1 {
		t.Errorf("batches of %v, want the first to be of %d", got, n+1)
	}
	if q := p.queue("late"); len(q) > 0 {
		t.Errorf("a join from before the Resolve applied: the queue is %v", q)
	}
	for i := range n {
		if q := p.queue(fmt.Sprintf("q%d", i)); len(q) != 1 {
			t.Errorf("queue %d is %v, want one entry", i, q)
		}
	}
}

// A lost reply is one for each member: none is told of an outcome, none is sent
// again, and each finds out by itself.
func TestLostReplyOfABatchIsLostForEachMember(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	cs := claims(numbered("q", 5)...)
	calls, _, errs := joining(p, cs)
	b.lose(isBatch)
	together(t, p, &b, func() { p.join("first") }, calls...)
	var entries []driver.Entry
	for i, c := range cs {
		if errs[i] == nil || driver.IsPermanent(errs[i]) {
			t.Errorf("Join returned %v, want a temporary error", errs[i])
		}
		v, err := p.Resolve(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if q := p.queue(c.Name); len(q) != 1 || q[0] != v.Me.Token {
			t.Errorf("the queue is %v, want %d alone", q, v.Me.Token)
		}
		entries = append(entries, v.Me)
	}
	last := p.join("last").Me
	calls, errs = leaving(p, entries)
	together(t, p, &b, func() { p.leave(last) }, calls...)
	b.lose(nil)
	for i, e := range entries {
		if errs[i] == nil {
			t.Error("Leave returned nil without an answer")
		}
		p.leave(e)
	}
	if n := len(b.batches()); n != 2 {
		t.Errorf("%d batches, want 2", n)
	}
}

// While a deletion may be under way, its key is nobody else's.
func TestLeaveOfABatchThatIsLateKeepsNewEntries(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	etcd.SetLanes(p.Lease, 1)
	etcd.SetPatience(p.Lease, time.Hour)
	first, entries := p.join("first").Me, []driver.Entry{p.join("q").Me, p.join("r").Me}
	n := b.count()
	ctx, cancel := context.WithCancel(t.Context())
	resume := b.stop(t, anything)
	var work sync.WaitGroup
	work.Go(func() { p.leave(first) })
	b.await(t, n+1)
	for _, e := range entries {
		work.Go(func() {
			if err := p.Leave(ctx, e); !errors.Is(err, context.Canceled) {
				t.Errorf("Leave returned %v", err)
			}
		})
	}
	eventually(t, func() error {
		if etcd.Waiting(p.Lease) != len(entries) {
			return errors.New("not all wait")
		}
		return nil
	})
	release := b.stop(t, isBatch)
	resume()
	b.await(t, n+2)
	cancel()
	work.Wait()
	etcd.SetPatience(p.Lease, time.Millisecond)

	for _, e := range entries {
		p.leave(e) // tried again, as the session does
	}
	want := map[string][]uint64{}
	for range 20 { // more than there are keys to be used in turn
		for _, name := range []string{"q", "r"} {
			want[name] = append(want[name], p.join(name).Me.Token)
		}
	}
	release()
	p.leave(p.join("after").Me) // waits for the batch
	for name, tokens := range want {
		if got := p.queue(name); fmt.Sprint(got) != fmt.Sprint(tokens) {
			t.Errorf("queue %q is %v after a late leave, want %v", name, got, tokens)
		}
	}
}

// Of a batch of leaves that is asked for again, both requests may arrive, either of
// them when the other was answered and the queues have new entries.
func TestBatchOfLeavesThatWasAskedAgainKeepsNewEntries(t *testing.T) {
	for _, late := range []string{"first", "second"} {
		t.Run(late, func(t *testing.T) {
			var b barrier
			p := enter(t, nil, b.option())
			names := []string{"q", "r", "s"}
			var entries []driver.Entry
			for _, name := range names {
				entries = append(entries, p.join(name).Me)
			}
			etcd.SetLanes(p.Lease, 1)
			etcd.SetPatience(p.Lease, time.Hour)
			first := p.join("first").Me
			n := b.count()
			resume := b.stop(t, anything)
			var work sync.WaitGroup
			work.Go(func() { p.leave(first) })
			b.await(t, n+1)
			for _, e := range entries {
				work.Go(func() { p.leave(e) })
			}
			eventually(t, func() error {
				if etcd.Waiting(p.Lease) != len(entries) {
					return errors.New("not all wait")
				}
				return nil
			})
			resumeFirst := b.stop(t, func(txn *pb.TxnRequest) bool { return isBatch(txn) && !hasGuards(txn) })
			if late == "second" {
				b.lose(hasGuards)
			}
			resume()
			b.await(t, n+3) // the batch, and once more
			if late == "second" {
				resumeFirst()
			}
			work.Wait()
			resumeFirst()
			b.lose(nil)
			sent := b.batchRequests()
			if len(sent) < 2 || hasGuards(sent[0]) || !hasGuards(sent[1]) {
				t.Fatalf("requests %v, want one that is not guarded and one that is", sent)
			}

			want := map[string][]uint64{}
			for range 20 { // more than there are keys to be used in turn
				for _, name := range names {
					want[name] = append(want[name], p.join(name).Me.Token)
				}
			}
			again := sent[0]
			if late == "second" {
				again = sent[1]
			}
			if _, err := pb.NewKVClient(raw(t, server, "", "").ActiveConnection()).Txn(t.Context(), again); err != nil {
				t.Fatal(err)
			}
			for name, tokens := range want {
				if got := p.queue(name); !slices.Equal(got, tokens) {
					t.Errorf("queue %q is %v after a late leave, want %v", name, got, tokens)
				}
			}
			reused := false
			for _, e := range entries {
				for _, now := range read(t, p, e.Name) {
					reused = reused || now.Key == e.Key
				}
			}
			if reused != (late == "second") {
				t.Errorf("that a key was used again is %v", reused)
			}
		})
	}
}

func read(t *testing.T, p *party, name string) []driver.Entry {
	t.Helper()
	q, err := p.store.Read(t.Context(), name, 0)
	if err != nil {
		t.Fatal(err)
	}
	return q.Entries
}

// hasGuards tells whether each member of a batch has a guard.
func hasGuards(txn *pb.TxnRequest) bool {
	return isBatch(txn) && !slices.ContainsFunc(txn.Success, func(op *pb.RequestOp) bool {
		return len(op.GetRequestTxn().GetCompare()) == 0
	})
}

// Where all that may be under way hang, others wait for a moment only.
func TestHungRequestsHoldNobodyUp(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	resume := b.stop(t, func(txn *pb.TxnRequest) bool { return strings.Contains(touched(nestedOp(txn)), "/hangs") })
	var hung sync.WaitGroup
	for _, c := range claims(numbered("hangs", etcd.Lanes)...) {
		hung.Go(func() { _, _ = p.Join(t.Context(), c) })
	}
	b.await(t, etcd.Lanes)
	calls, _, errs := joining(p, claims(numbered("q", 5)...))
	var work sync.WaitGroup
	for _, call := range calls {
		work.Go(call)
	}
	select {
	case <-ended(&work):
	case <-ended(&hung):
		t.Error("the others had to wait for those that hang")
	}
	resume()
	hung.Wait()
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// ended returns a channel that is closed when all of the work has ended.
func ended(work *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	return done
}

// While few are under way, one that hangs keeps nobody waiting at all.
func TestFewGoAtOnce(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	etcd.SetPatience(p.Lease, time.Hour)
	var work sync.WaitGroup
	resume := b.stop(t, anything)
	for i, c := range claims(numbered("hangs", etcd.Lanes-1)...) {
		work.Go(func() { _, _ = p.Join(t.Context(), c) })
		b.await(t, i+1)
	}
	work.Go(func() { p.join("q") })
	b.await(t, etcd.Lanes)
	work.Go(func() { p.join("r") })
	eventually(t, func() error {
		if etcd.Waiting(p.Lease) != 1 {
			return errors.New("one more than that does not wait")
		}
		return nil
	})
	resume()
	work.Wait()
}

// Who calls when another waits to be sent comes behind that. What is on its way at the same
// time has no order but the network's, so each call is made when all before it have been
// answered or wait.
func TestJoinsOfOneQueueKeepTheirOrder(t *testing.T) {
	const n = 6
	var b barrier
	p := enter(t, nil, b.option())
	etcd.SetLanes(p.Lease, 1)
	etcd.SetPatience(p.Lease, time.Hour)
	resume := b.stop(t, func(txn *pb.TxnRequest) bool { return strings.Contains(touched(nestedOp(txn)), "/first/") })
	var first, work sync.WaitGroup
	first.Go(func() { p.join("first") })
	b.await(t, 1)
	calls, views, errs := joining(p, claims(slices.Repeat([]string{"q"}, n)...))
	for i, call := range calls {
		work.Go(call)
		eventually(t, func() error {
			waiting, joined, underWay := etcd.Waiting(p.Lease), len(p.queue("q")), etcd.UnderWay(p.Lease)
			if joined+waiting != i+1 || waiting > 1 || underWay != 1 {
				return fmt.Errorf("%d have joined and %d wait of %d, and %d are under way", joined, waiting, i+1, underWay)
			}
			return nil
		})
	}
	resume()
	first.Wait()
	work.Wait()
	for i := range n {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if i > 0 && views[i].Me.Token <= views[i-1].Me.Token {
			t.Errorf("call %d has token %d, and call %d, which came before, %d", i, views[i].Me.Token, i-1, views[i-1].Me.Token)
		}
	}
}

// A gauge is where requests are delayed, and it is seen how many are on their way.
type gauge struct {
	delay time.Duration

	mu  sync.Mutex
	now int
	at  []int // the start of each, that one included
}

func (g *gauge) option() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if txn, ok := req.(*pb.TxnRequest); ok && touched(nestedOp(txn)) != "" {
			g.mu.Lock()
			g.now++
			g.at = append(g.at, g.now)
			g.mu.Unlock()
			defer func() {
				time.Sleep(g.delay)
				g.mu.Lock()
				defer g.mu.Unlock()
				g.now--
			}()
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	})
}

// crowd has n goroutines join one queue, and returns when all have.
func crowd(t *testing.T, p *party, n int, meanwhile func()) {
	t.Helper()
	calls, _, errs := joining(p, claims(slices.Repeat([]string{"q"}, n)...))
	var work sync.WaitGroup
	for _, call := range calls {
		work.Go(call)
	}
	meanwhile()
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if q := p.queue("q"); len(q) != n {
		t.Errorf("%d are in the queue, want %d", len(q), n)
	}
}

// Of those who want the same, a bounded number is on its way: few at first, and more with
// each answer.
func TestCrowdIsLetInABitAtATime(t *testing.T) {
	const n = 4*etcd.Crowd + 1
	var b barrier
	var g gauge
	p := enter(t, nil, g.option(), b.option())
	etcd.SetPatience(p.Lease, time.Hour)
	resume := b.stop(t, anything)
	crowd(t, p, n, func() {
		eventually(t, func() error {
			if waiting, sent := etcd.Waiting(p.Lease), b.count(); sent != etcd.Lanes || waiting != n-etcd.Lanes {
				return fmt.Errorf("%d were sent, and %d wait, want %d of %d", sent, waiting, etcd.Lanes, n)
			}
			return nil
		})
		resume()
	})
	if most := slices.Max(g.at); most > etcd.Crowd || most <= etcd.Lanes {
		t.Errorf("at most %d were on their way at once, want more than %d, up to %d", most, etcd.Lanes, etcd.Crowd)
	}
}

// Where answers take long, it becomes a smaller number.
func TestCrowdIsLetInMoreSlowlyByAServerThatIsSlow(t *testing.T) {
	t.Parallel()
	var g gauge
	p := enter(t, nil, g.option())
	etcd.SetPatience(p.Lease, time.Hour)
	p.leave(p.join("q").Me) // as fast as can be
	etcd.SetWindow(p.Lease, etcd.Crowd)
	g.at, g.delay = nil, etcd.Sluggish+50*time.Millisecond
	const settling = 4 * etcd.Crowd // while it becomes that
	crowd(t, p, settling+10*etcd.Lanes, func() {})
	if most := slices.Max(g.at[settling:]); most > etcd.Lanes {
		t.Errorf("later on at most %d were on their way at once, want %d", most, etcd.Lanes)
	}
}

// However busy a queue is, a join of another one, and its leave, are sent soon.
func TestCrowdThatNeverEndsHoldsNobodyElseUp(t *testing.T) {
	p := enter(t, nil)
	etcd.SetPatience(p.Lease, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for range 2 * etcd.Crowd {
		work.Go(func() {
			for ctx.Err() == nil {
				v, err := p.Join(t.Context(), claim("busy"))
				if err == nil {
					err = p.Leave(t.Context(), v.Me)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 20 {
		in, end := context.WithTimeout(t.Context(), patience)
		v, err := p.Join(in, claim("quiet"))
		if err == nil {
			err = p.Leave(in, v.Me)
		}
		if end(); err != nil {
			t.Error(err)
			break
		}
	}
	cancel()
	work.Wait()
}

// When all that may be on their way hang, others are let in before those are given up.
func TestCrowdOfWhichManyHangIsLetIn(t *testing.T) {
	const n = 3*etcd.Crowd + 1
	var b barrier
	p := enter(t, nil, b.option())
	etcd.SetWindow(p.Lease, etcd.Crowd)
	hanging := 0
	b.stop(t, func(txn *pb.TxnRequest) bool {
		if strings.Contains(touched(nestedOp(txn)), "/q/") {
			hanging++
		}
		return hanging <= etcd.Crowd
	})
	calls, _, errs := joining(p, claims(slices.Repeat([]string{"q"}, n)...))
	ended := make(chan error, n)
	for i, call := range calls {
		go func() { call(); ended <- errs[i] }()
	}
	joined := 0
	for i := range n {
		switch err := <-ended; {
		case err == nil:
			joined++
		case i == 0:
			t.Errorf("Join returned %v before others had joined", err)
		}
	}
	if joined != n-etcd.Crowd {
		t.Errorf("%d have joined, want %d", joined, n-etcd.Crowd)
	}
}

// What waits when the store is closed is told so, and so is what comes later.
func TestNobodyWaitsForAStoreThatIsClosed(t *testing.T) {
	var b barrier
	st := connect(t, server.Endpoint()+prefix(t), nil, nil, b.option())
	l, _, err := st.Grant(t.Context(), driver.Spec{TTL: 2 * time.Second, Identity: "party"})
	if err != nil {
		t.Fatal(err)
	}
	p := &party{l, t, st}
	etcd.SetLanes(l, 1)
	resume := b.stop(t, anything)
	var work sync.WaitGroup
	work.Go(func() { _, _ = p.Join(t.Context(), claim("first")) })
	b.await(t, 1)
	etcd.SetPatience(l, time.Hour)
	work.Go(func() {
		if _, err := p.Join(t.Context(), claim("waits")); !driver.IsPermanent(err) {
			t.Errorf("Join that waited when the store was closed returned %v, want a permanent error", err)
		}
	})
	eventually(t, func() error {
		if etcd.Waiting(l) != 1 {
			return errors.New("it does not wait")
		}
		return nil
	})
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	resume()
	work.Wait()
	for i := range 3 {
		work.Go(func() {
			if _, err := p.Join(t.Context(), claim(fmt.Sprint("later", i))); !driver.IsPermanent(err) {
				t.Errorf("Join of a store that is closed returned %v, want a permanent error", err)
			}
		})
	}
	select {
	case <-ended(&work):
	case <-time.After(patience):
		t.Fatal("somebody still waits")
	}
}

func nestedOp(txn *pb.TxnRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: txn}}
}

// What one may not do is no matter of its neighbours.
func TestMemberThatIsDeniedDeniesNobodyElse(t *testing.T) {
	s := start(t, embed.Config{Adjust: func(c *etcdembed.Config) { c.BcryptCost = 4 }})
	admin := raw(t, s, "", "")
	protect(t, admin, "/team")
	root := raw(t, s, "root", "root-secret")
	if _, err := root.RoleRevokePermission(t.Context(), "team", "/team/", clientv3.GetPrefixRangeEnd("/team/")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/team/.fairlead/", "/team/ok"} {
		_, err := root.RoleGrantPermission(t.Context(), "team", dir, clientv3.GetPrefixRangeEnd(dir), clientv3.PermissionType(clientv3.PermReadWrite))
		if err != nil {
			t.Fatal(err)
		}
	}
	var b barrier
	p := enterAt(t, "etcd://team:team-secret@"+s.Addr()+"/team", nil, b.option())
	cs := claims("ok1", "denied", "ok2", "ok3")
	calls, views, errs := joining(p, cs)
	together(t, p, &b, func() { p.join("ok0") }, calls...)
	if err := errs[1]; !driver.IsPermanent(err) || !strings.Contains(err.Error(), "permission denied") || !strings.Contains(err.Error(), "denied") {
		t.Errorf("Join of what is denied returned %v, want a permanent error that says so", err)
	}
	for _, i := range []int{0, 2, 3} {
		if errs[i] != nil || views[i].Me.Token == 0 {
			t.Errorf("Join beside one that is denied returned %v", errs[i])
		}
	}
	if got := b.sizes(); !slices.Equal(got, []int{len(cs)}) {
		t.Errorf("batches of %v, want one of %d", got, len(cs))
	}
}

// Where the server takes less than by default, all joins go through, and batches
// become smaller.
func TestBatchThatTheServerRefusesIsSentInParts(t *testing.T) {
	for name, adjust := range map[string]func(*etcdembed.Config){
		"operations": func(c *etcdembed.Config) { c.MaxTxnOps = 8 },
		"bytes":      func(c *etcdembed.Config) { c.MaxRequestBytes = 16 << 10 },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, embed.Config{Adjust: adjust})
			var b barrier
			p := enterAt(t, s.Endpoint()+"/q", nil, b.option())
			for round := range 6 {
				cs := claims(numbered(fmt.Sprintf("r%d-", round), 40)...)
				for i := range cs {
					cs[i].Value = strings.Repeat("x", 1<<10)
				}
				calls, _, errs := joining(p, cs)
				together(t, p, &b, func() { p.join(fmt.Sprint("first", round)) }, calls...)
				if err := errors.Join(errs...); err != nil {
					t.Fatal(err)
				}
			}
			if got := b.sizes(); got[0] != 40 || got[len(got)-1] >= 16 {
				t.Errorf("batches of %v, want 40 and then fewer", got)
			}
		})
	}
}

func TestOutOfSpaceEachMemberIsTold(t *testing.T) {
	s := start(t, embed.Config{Adjust: func(c *etcdembed.Config) { c.QuotaBackendBytes = 4 << 20 }})
	var b barrier
	p := enterAt(t, s.Endpoint()+prefix(t), nil, b.option())
	holders := []driver.Entry{p.join("first").Me, p.join("h1").Me, p.join("h2").Me}
	exhaust(t, raw(t, s, "", ""))
	cs := claims(numbered("q", 4)...)
	calls, _, errs := joining(p, cs)
	together(t, p, &b, func() { _, _ = p.Join(t.Context(), claim("q")) }, calls...)
	for i, c := range cs {
		if !driver.IsPermanent(errs[i]) || !strings.Contains(errs[i].Error(), "space") {
			t.Errorf("Join returned %v, want a permanent error about space", errs[i])
		}
		if _, err := p.Resolve(t.Context(), c); !errors.Is(err, driver.ErrEntryGone) {
			t.Errorf("Resolve returned %v, want ErrEntryGone", err)
		}
	}
	calls, errs = leaving(p, holders[1:])
	together(t, p, &b, func() { p.leave(holders[0]) }, calls...)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := len(b.batches()); n != 2 {
		t.Errorf("%d batches, want 2", n)
	}
}

// A lease that is gone is so for each of its joins, and for nobody else.
func TestJoinsOfABatchUnderALeaseThatIsGoneAreTold(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	calls, _, errs := joining(p, claims(numbered("q", 3)...))
	together(t, p, &b, func() {
		expire(t, raw(t, server, "", ""), p.ID())
		if _, err := p.Join(t.Context(), claim("first")); !errors.Is(err, driver.ErrLeaseGone) {
			t.Errorf("Join returned %v, want ErrLeaseGone", err)
		}
	}, calls...)
	for _, err := range errs {
		if !errors.Is(err, driver.ErrLeaseGone) {
			t.Errorf("Join returned %v, want ErrLeaseGone", err)
		}
	}
	if n := len(b.batches()); n != 1 {
		t.Errorf("%d batches, want 1", n)
	}
}
