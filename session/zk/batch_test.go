package zk_test

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/zk"
)

// A barrier is where a lease's joins and leaves may be stopped on their way to the
// server, and their answers lost.
type barrier struct {
	mu    sync.Mutex
	stops func(ops []any) bool // nil: none
	open  chan struct{}        // closed when those that were stopped may go on
	loses func(ops []any) bool // nil: none
	sent  [][]any
}

// behind enters a lease whose requests pass through the barrier.
func behind(t *testing.T, b *barrier, link *drivertest.Link) *party {
	t.Helper()
	p := enter(t, link)
	zk.Interpose(p.Lease, b.pass)
	return p
}

func (b *barrier) pass(ops []any, send func() ([]gozk.MultiResponse, error)) ([]gozk.MultiResponse, error) {
	b.mu.Lock()
	b.sent = append(b.sent, ops)
	lost := b.loses != nil && b.loses(ops)
	stopped, open := b.stops != nil && b.stops(ops), b.open
	b.mu.Unlock()
	if stopped {
		<-open
	}
	answers, err := send()
	if lost {
		return nil, gozk.ErrConnectionClosed
	}
	return answers, err
}

// stop stops the requests that match from now on. The function that it returns
// lets them go on, and all others.
func (b *barrier) stop(t *testing.T, match func([]any) bool) (resume func()) {
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
func (b *barrier) lose(match func([]any) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loses = match
}

func (b *barrier) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.sent)
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

// batches returns the nodes that were to be made or deleted by requests that were for
// several.
func (b *barrier) batches() (batches [][]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ops := range b.sent {
		if isBatch(ops) {
			batches = append(batches, touched(ops))
		}
	}
	return batches
}

// sizes returns how many members the batches had.
func (b *barrier) sizes() (sizes []int) {
	for _, batch := range b.batches() {
		sizes = append(sizes, len(batch))
	}
	return sizes
}

// joined returns the IDs of those that were to join a queue, in the order in which they were
// sent, without so many requests.
func (b *barrier) joined(queue string, skip int) (ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ops := range b.sent[skip:] {
		for _, op := range ops {
			if c, ok := op.(*gozk.CreateRequest); ok && path.Base(path.Dir(c.Path)) == queue {
				id, _, _ := strings.Cut(strings.TrimPrefix(path.Base(c.Path), "_c_"), "-lock-")
				ids = append(ids, strings.ReplaceAll(id, "-", ""))
			}
		}
	}
	return ids
}

func anything([]any) bool { return true }

func isBatch(ops []any) bool { return len(touched(ops)) > 1 }

// touched returns the nodes that operations make or delete, beside words.
func touched(ops []any) (paths []string) {
	for _, op := range ops {
		switch op := op.(type) {
		case *gozk.CreateRequest:
			paths = append(paths, op.Path)
		case *gozk.DeleteRequest:
			paths = append(paths, op.Path)
		}
	}
	return slices.DeleteFunc(paths, zk.IsWord)
}

// together makes calls while another join, or leave, is under way, so that they
// wait for it, or go as the next of their queue comes; then that may go on. It returns
// when the calls have.
func together(t *testing.T, p *party, b *barrier, first func(), calls ...func()) {
	t.Helper()
	zk.SetLanes(p.Lease, 1)
	resume, before := b.stop(t, anything), b.count()
	var work sync.WaitGroup
	work.Go(first)
	b.await(t, before+1)
	for _, call := range calls {
		work.Go(call)
	}
	eventually(t, func() error {
		if n := zk.Waiting(p.Lease) + b.count() - before - 1; n != len(calls) {
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

// claims are claims for queues that have a node.
func claims(p *party, names ...string) (cs []driver.Claim) {
	for _, name := range names {
		p.leave(p.join(name).Me)
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

// Nobody waits who is alone: a join is one transaction, a leave one deletion, and where
// nobody else is in the queue, that is all.
func TestOneThatIsAloneIsSentAsItIs(t *testing.T) {
	var b barrier
	p := behind(t, &b, nil)
	p.leave(p.join("q").Me)
	before := b.count()
	v := p.join("q")
	p.leave(v.Me)
	if len(v.Ahead) > 0 || v.Followed {
		t.Errorf("alone in the queue one sees %+v", v)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if sent := b.sent[before:]; len(sent) != 2 || len(sent[0]) != 3 || len(sent[1]) != 1 {
		t.Errorf("requests %v, want a transaction of three and a deletion", sent)
	}
}

func TestJoinsAndLeavesOfDifferentQueuesGoTogether(t *testing.T) {
	var b barrier
	p := behind(t, &b, nil)
	other := enter(t, nil)
	ahead := other.join("held").Me
	calls, views, errs := joining(p, append(claims(p, "a", "a-b", "c/d"), claim("held")))
	together(t, p, &b, func() { p.join("first") }, calls...)
	var entries []driver.Entry
	for i, v := range views {
		if errs[i] != nil || v.Me.Token == 0 {
			t.Fatalf("Join returned %+v, %v", v, errs[i])
		}
		if held := v.Me.Name == "held"; held != (len(v.Ahead) == 1 && v.Ahead[0].Token == ahead.Token) {
			t.Errorf("the view from %q is %+v", v.Me.Name, v)
		}
		if now, err := p.Look(t.Context(), v.Me); err != nil || now.Me.Token != v.Me.Token || now.Me.ID != v.Me.ID {
			t.Errorf("Look at %q returned %+v, %v", v.Me.Name, now, err)
		}
		entries = append(entries, v.Me)
	}
	last := p.join("last").Me
	calls, errs = leaving(p, entries)
	together(t, p, &b, func() { p.leave(last) }, calls...)
	for i, e := range entries {
		if q := p.queue(e.Name); errs[i] != nil || slices.Contains(q, e.Token) {
			t.Errorf("Leave returned %v, and the queue is %v", errs[i], q)
		}
	}
	if got := b.sizes(); !slices.Equal(got, []int{4, 4}) {
		t.Errorf("batches of %v, want two of 4", got)
	}
}

// Of one queue, each has its own transaction, and they go in the order in which they came.
func TestNoBatchHasTwoOfOneQueue(t *testing.T) {
	var b barrier
	p := behind(t, &b, nil)
	zk.SetLanes(p.Lease, 1)
	cs := claims(p, "a", "b", "a", "b", "c", "a")
	calls, views, errs := joining(p, cs)
	resume, before := b.stop(t, anything), b.count()
	var work sync.WaitGroup
	work.Go(func() { p.join("first") })
	b.await(t, before+1)
	for i, call := range calls {
		work.Go(call)
		eventually(t, func() error { // one after the other
			if n := zk.Waiting(p.Lease) + b.count() - before - 1; n != i+1 {
				return fmt.Errorf("%d wait, or have gone, want %d", n, i+1)
			}
			return nil
		})
	}
	resume()
	work.Wait()
	var entries []driver.Entry
	for i, v := range views {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		entries = append(entries, v.Me)
	}
	for name, n := range map[string]int{"a": 3, "b": 2, "c": 1} {
		if q := p.queue(name); len(q) != n || len(slices.Compact(q)) != n {
			t.Errorf("the tokens of %q are %v, want %d different ones", name, q, n)
		}
		var came []string
		for _, c := range cs {
			if c.Name == name {
				came = append(came, c.ID)
			}
		}
		if sent := b.joined(name, before); !slices.Equal(sent, came) {
			t.Errorf("of %q, %v was sent, and %v came", name, sent, came)
		}
	}
	last := p.join("last").Me
	calls, errs = leaving(p, entries)
	together(t, p, &b, func() { p.leave(last) }, calls...)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if len(b.batches()) != 2 {
		t.Errorf("%d batches, want 2", len(b.batches()))
	}
	for _, batch := range b.batches() {
		queues := map[string]bool{}
		for _, p := range batch {
			queues[path.Dir(p)] = true
		}
		if len(queues) != len(batch) {
			t.Errorf("a batch is %v: it has two of a queue", batch)
		}
	}
}

// A transaction is refused for one of its members, and each is told what it meets.
func TestMembersOfARefusedBatchHaveTheirOwnOutcome(t *testing.T) {
	var b barrier
	p := behind(t, &b, nil)
	calls, views, errs := joining(p, append(claims(p, "a", "b"), claim("without-a-node")))
	together(t, p, &b, func() { p.join("first") }, calls...)
	var entries []driver.Entry
	for i, v := range views {
		if q := p.queue(v.Me.Name); errs[i] != nil || len(v.Ahead) > 0 || !slices.Equal(q, []uint64{v.Me.Token}) {
			t.Fatalf("Join returned %+v, %v, and the queue is %v", v, errs[i], q)
		}
		entries = append(entries, v.Me)
	}
	if err := byHand(t, server.Addr(), "").Delete(entries[1].Key, -1); err != nil {
		t.Fatal(err)
	}
	last := p.join("last").Me
	calls, errs = leaving(p, entries)
	together(t, p, &b, func() { p.leave(last) }, calls...)
	for i, e := range entries {
		if q := p.queue(e.Name); errs[i] != nil || len(q) > 0 {
			t.Errorf("Leave returned %v, and the queue is %v", errs[i], q)
		}
	}
	if got := b.sizes(); !slices.Equal(got, []int{3, 3}) {
		t.Errorf("batches of %v, want two of 3", got)
	}
}

// A batch that is on its way when one of its joins is settled comes too late for that
// one. The others are made again, under the new epoch.
func TestBatchFromBeforeAResolveNeverAppliesToWhatWasResolved(t *testing.T) {
	for _, settle := range []string{"Resolve", "Withdraw"} {
		t.Run(settle, func(t *testing.T) {
			var b barrier
			p := behind(t, &b, nil)
			zk.SetLanes(p.Lease, 1)
			cs := claims(p, "late", "q", "r")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			resume, before := b.stop(t, anything), b.count()
			var work sync.WaitGroup
			work.Go(func() { p.join("first") })
			b.await(t, before+1)
			gaveUp := make(chan error, 1)
			go func() { gaveUp <- errOf(p.Join(ctx, cs[0])) }()
			calls, _, errs := joining(p, cs[1:])
			for _, call := range calls {
				work.Go(call)
			}
			waits(t, p, len(cs))
			release := b.stop(t, isBatch)
			resume()
			eventually(t, func() error {
				if len(b.batches()) == 0 {
					return errors.New("no batch was sent")
				}
				return nil
			})
			cancel()
			if err := <-gaveUp; !errors.Is(err, context.Canceled) {
				t.Errorf("a join whose context has ended returned %v", err)
			}
			if settle == "Withdraw" {
				if err := p.Withdraw(t.Context(), cs[0]); err != nil {
					t.Errorf("Withdraw returned %v", err)
				}
			} else if _, err := p.Resolve(t.Context(), cs[0]); !errors.Is(err, driver.ErrEntryGone) {
				t.Errorf("Resolve returned %v, want ErrEntryGone", err)
			}
			release()
			work.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Error(err)
			}
			if q := p.queue("late"); len(q) > 0 {
				t.Errorf("a join from before its %s applied: the queue is %v", settle, q)
			}
			for _, name := range []string{"q", "r"} {
				if q := p.queue(name); len(q) != 1 {
					t.Errorf("queue %q is %v, want one entry", name, q)
				}
			}
		})
	}
}

// waits waits until so many joins and leaves wait for others.
func waits(t *testing.T, p *party, n int) {
	t.Helper()
	eventually(t, func() error {
		if got := zk.Waiting(p.Lease); got != n {
			return fmt.Errorf("%d wait, want %d", got, n)
		}
		return nil
	})
}

// A lost reply is one for each member: none is told of an outcome, none is sent
// again, and each finds out by itself.
func TestLostReplyOfABatchIsLostForEachMember(t *testing.T) {
	var b barrier
	p := behind(t, &b, nil)
	cs := claims(p, numbered("q", 3)...)
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
		if q := p.queue(c.Name); !slices.Equal(q, []uint64{v.Me.Token}) {
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
	if got := b.sizes(); !slices.Equal(got, []int{3, 3}) {
		t.Errorf("batches of %v, want two of 3", got)
	}
}

// A connection that is lost takes along what was under way on it.
func TestBatchEndsWithItsConnection(t *testing.T) {
	var b barrier
	var link drivertest.Link
	p := behind(t, &b, &link)
	cs := claims(p, numbered("q", 3)...)
	calls, _, errs := joining(p, cs)
	var once sync.Once
	b.lose(func(ops []any) bool {
		if isBatch(ops) {
			once.Do(link.Cut)
		}
		return false
	})
	together(t, p, &b, func() { p.join("first") }, calls...)
	for i, c := range cs {
		v, err := driver.View{}, errs[i]
		if err != nil {
			v, err = p.Resolve(bounded(t), c)
		}
		want := []uint64{v.Me.Token}
		if errors.Is(err, driver.ErrEntryGone) {
			want, err = []uint64{}, nil
		}
		if q := p.queue(c.Name); err != nil || errs[i] != nil && !slices.Equal(q, want) {
			t.Errorf("a join that ended with %v is settled as %+v, %v, and the queue is %v", errs[i], v, err, q)
		}
	}
	p.leave(p.join("after").Me)
}

// giveUp makes a call while another is under way, and gives it up while it waits for that.
// The other goes on when the function that is returned is called.
func giveUp(t *testing.T, p *party, b *barrier, first func(), call func(context.Context) error) (resume func(), err error) {
	t.Helper()
	zk.SetLanes(p.Lease, 1)
	open, before := b.stop(t, anything), b.count()
	var work sync.WaitGroup
	work.Go(first)
	b.await(t, before+1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- call(ctx) }()
	waits(t, p, 1)
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
	p := behind(t, &b, nil)
	c := claims(p, "given-up")[0]
	resume, err := giveUp(t, p, &b, func() { p.join("first") }, func(ctx context.Context) error { return errOf(p.Join(ctx, c)) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Join returned %v, want that its context has ended", err)
	}
	withdrawn, again := claim("given-up"), claim("given-up")
	for _, c := range []driver.Claim{withdrawn, again} {
		ctx, giveUp := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- errOf(p.Join(ctx, c)) }()
		waits(t, p, 1)
		giveUp()
		<-ended
	}
	before := b.count()
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Resolve(done, c); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Resolve returned %v, want ErrEntryGone", err)
	}
	if err := p.Withdraw(done, withdrawn); err != nil {
		t.Errorf("Withdraw returned %v", err)
	}
	if n := b.count() - before; n > 0 {
		t.Errorf("it took %d requests to find that out", n)
	}
	resume()
	if q := p.queue("given-up"); len(q) > 0 {
		t.Errorf("the queue is %v, want it empty", q)
	}
	b.lose(anything) // such a claim may be joined after all: then its outcome is as unknown as any
	if _, err := p.Join(t.Context(), again); err == nil {
		t.Fatal("its answer was to be lost")
	}
	b.lose(nil)
	v, err := p.Resolve(t.Context(), again)
	if err != nil || v.Me.ID != again.ID {
		t.Errorf("Resolve returned %+v, %v, want the entry", v, err)
	}
	p.leave(v.Me)
}

// A session may end, and withdraw its claims, while a Join of one has yet to be sent, or
// to be sent anew. Nothing comes of that any more.
func TestJoinThatIsUnderWayMakesNothingOnceItIsWithdrawn(t *testing.T) {
	for what, lanes := range map[string]int{"waiting for others": 1, "on its way": 2} {
		t.Run(what, func(t *testing.T) {
			var b barrier
			p := behind(t, &b, nil)
			zk.SetLanes(p.Lease, lanes)
			cs := claims(p, "first", "withdrawn")
			before := b.count()
			resume := b.stop(t, func(ops []any) bool { return len(touched(ops)) > 0 })
			ended := make([]chan error, len(cs))
			for i, c := range cs {
				ended[i] = make(chan error, 1)
				go func() { ended[i] <- errOf(p.Join(t.Context(), c)) }()
				b.await(t, before+min(i+1, lanes))
			}
			waits(t, p, len(cs)-lanes)
			if err := p.Withdraw(t.Context(), cs[1]); err != nil {
				t.Fatal(err)
			}
			resume()
			if err := <-ended[0]; err != nil {
				t.Errorf("the other's Join returned %v", err)
			}
			if err := <-ended[1]; err == nil || !strings.Contains(err.Error(), "given up") {
				t.Errorf("Join returned %v, want that the claim was given up", err)
			}
			if q := p.queue("withdrawn"); len(q) > 0 {
				t.Errorf("the queue is %v, want it empty", q)
			}
		})
	}
}

func TestLeaveThatWasGivenUpBeforeItWasSentLeavesTheEntry(t *testing.T) {
	var b barrier
	p := behind(t, &b, nil)
	other, e := p.join("other").Me, p.join("given-up").Me
	resume, err := giveUp(t, p, &b, func() { p.leave(other) }, func(ctx context.Context) error { return p.Leave(ctx, e) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Leave returned %v, want that its context has ended", err)
	}
	resume()
	if q := p.queue("given-up"); !slices.Equal(q, []uint64{e.Token}) {
		t.Errorf("the queue is %v, want the entry", q)
	}
	p.leave(e)
	if q := p.queue("given-up"); len(q) > 0 {
		t.Errorf("the queue is %v, want it empty", q)
	}
}

// Who gives up has its turn already, perhaps, and must pass it on.
func TestTurnIsNotLostWithWhoGivesUp(t *testing.T) {
	p := enter(t, nil)
	zk.SetLanes(p.Lease, 1)
	cs := claims(p, numbered("q", 8)...)
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		for i, c := range cs {
			work.Go(func() {
				c.ID = claim("").ID
				if v, err := p.Join(ctx, c); err == nil {
					p.leave(v.Me)
				} else if err := p.Withdraw(bounded(t), c); err != nil {
					t.Error(err)
				}
			})
			if i == len(cs)/2 {
				work.Go(cancel)
			}
		}
		work.Wait()
		cancel()
	}
	for _, c := range cs {
		p.leave(p.join(c.Name).Me)
		if q := p.queue(c.Name); len(q) > 0 {
			t.Errorf("the queue is %v, want it empty", q)
		}
	}
}

// While there is no connection, nothing is sent, and what was given up by then never is.
func TestWhatIsGivenUpInAnOutageIsNeverSent(t *testing.T) {
	var b barrier
	var link drivertest.Link
	p := behind(t, &b, &link)
	cs := claims(p, numbered("q", 4)...)
	zk.SetLanes(p.Lease, 1)
	firstClaim := claim("first")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	join := func(c driver.Claim) (giveUp context.CancelFunc, ended <-chan error) {
		ctx, cancel := context.WithCancel(ctx)
		end := make(chan error, 1)
		go func() { end <- errOf(p.Join(ctx, c)) }()
		return cancel, end
	}
	open, before := b.stop(t, anything), b.count()
	giveUpFirst, first := join(firstClaim)
	b.await(t, before+1)
	var ends []<-chan error
	for _, c := range cs {
		_, ended := join(c)
		ends = append(ends, ended)
	}
	waits(t, p, len(cs))
	link.Freeze()
	link.Cut()
	eventually(t, func() error {
		if zk.Connected(p.Lease) {
			return errors.New("there is a connection")
		}
		return nil
	})
	giveUpFirst()
	<-first // so those who wait are next
	for range 10 {
		time.Sleep(5 * time.Millisecond)
		if n := zk.Waiting(p.Lease); n != len(cs) {
			t.Fatalf("%d wait for a connection, want %d", n, len(cs))
		}
	}
	cancel()
	for _, ended := range ends {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Join returned %v", err)
		}
	}
	if n := b.count(); n != before+1 {
		t.Errorf("%d requests were made, want that of the first alone", n-before)
	}
	open()
	link.Heal()
	if err := p.Withdraw(bounded(t), firstClaim); err != nil {
		t.Error(err)
	}
	for _, c := range cs {
		p.leave(p.join(c.Name).Me)
		if q := p.queue(c.Name); len(q) > 0 {
			t.Errorf("the queue is %v, want it empty", q)
		}
	}
}

// A leave wakes the waiter behind it, whatever goes along with it.
func TestLeavesThatGoTogetherWakeTheirWaiters(t *testing.T) {
	var b barrier
	p := behind(t, &b, nil)
	other := enter(t, nil)
	var entries []driver.Entry
	var ends []<-chan waited
	for _, name := range numbered("q", 4) {
		entries = append(entries, p.join(name).Me)
		v := other.join(name)
		ends = append(ends, other.wait(v))
	}
	last := p.join("last").Me
	calls, errs := leaving(p, entries)
	together(t, p, &b, func() { p.leave(last) }, calls...)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	for _, end := range ends {
		if v := over(t, end); len(v.Ahead) > 0 {
			t.Errorf("after the wait one sees %+v", v)
		}
	}
	if got := b.sizes(); !slices.Equal(got, []int{4}) {
		t.Errorf("batches of %v, want one of 4", got)
	}
}

// A batch has a bounded number of members, and of bytes. What is larger goes alone.
func TestBatchesAreBounded(t *testing.T) {
	var b barrier
	p := behind(t, &b, nil)
	cs := claims(p, numbered("q", zk.MaxBatch+10)...)
	calls, _, errs := joining(p, cs)
	together(t, p, &b, func() { p.join("first") }, calls...)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if got := b.sizes(); len(got) == 0 || slices.Max(got) > zk.MaxBatch {
		t.Errorf("batches of %v, want at most %d", got, zk.MaxBatch)
	}

	many := len(b.batches())
	cs = claims(p, numbered("large", 8)...)
	for i := range cs {
		cs[i].Value = strings.Repeat("x", zk.MaxBatchBytes/3)
	}
	cs[4].Value = strings.Repeat("x", 2*zk.MaxBatchBytes)
	calls, views, errs := joining(p, cs)
	together(t, p, &b, func() { p.join("second") }, calls...)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	for _, v := range views {
		if q := p.queue(v.Me.Name); !slices.Equal(q, []uint64{v.Me.Token}) {
			t.Errorf("the queue is %v, want %d", q, v.Me.Token)
		}
	}
	if got := b.sizes()[many:]; len(got) < 3 || slices.Max(got) > 2 {
		t.Errorf("batches of %v members, of which three are too large", got)
	}
}
