package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/etcd"
)

// tailKey is where the layout puts it.
func tailKey(t *testing.T, name string) string { return prefix(t) + "/.fairlead/v1/tail/" + name }

// long makes a store take any queue for a long one once it has seen it.
func (p *party) long() *party {
	etcd.SetLong(p.store, 0)
	return p
}

// joinLong joins a queue that has been seen, and tells who is nearest.
func (p *party) joinLong(name string) (v driver.View, nearest uint64) {
	p.t.Helper()
	if !etcd.IsLong(p.store, name) {
		p.t.Fatalf("the queue %s is not taken for a long one", name)
	}
	if v = p.join(name); len(v.Ahead) == 0 {
		return v, 0
	}
	return v, v.Ahead[len(v.Ahead)-1].Token
}

// A scanCounter counts ranges over more than one key, and those that read values.
type scanCounter struct {
	mu          sync.Mutex
	all, values int
	inJoins     int
}

func (c *scanCounter) option() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		c.mu.Lock()
		switch r := req.(type) {
		case *pb.RangeRequest:
			c.count(r, false)
		case *pb.TxnRequest:
			for _, op := range r.Success {
				c.count(op.GetRequestRange(), len(r.Compare) > 0)
			}
		}
		c.mu.Unlock()
		return invoke(ctx, method, req, reply, cc, opts...)
	})
}

func (c *scanCounter) count(r *pb.RangeRequest, join bool) {
	if len(r.GetRangeEnd()) == 0 {
		return
	}
	c.all++
	if !r.KeysOnly && !r.CountOnly {
		c.values++
	}
	if join {
		c.inJoins++
	}
}

// take returns what was counted since it was asked last.
func (c *scanCounter) take() (all, values, inJoins int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, values, inJoins = c.all, c.values, c.inJoins
	c.all, c.values, c.inJoins = 0, 0, 0
	return all, values, inJoins
}

// lagging has no member know a revision that is asked of any that answers.
func lagging() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		reads := []*pb.RangeRequest{}
		switch r := req.(type) {
		case *pb.RangeRequest:
			reads = append(reads, r)
		case *pb.TxnRequest:
			for _, op := range r.Success {
				reads = append(reads, op.GetRequestRange())
			}
		}
		for _, r := range reads {
			if r.GetSerializable() && r.GetRevision() > 0 {
				return rpctypes.ErrGRPCFutureRev
			}
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	})
}

// Who joins a long queue waits for who joined before, and nobody reads the queue for it.
// A turn is read, without values.
func TestLongQueueIsNotReadByThoseWhoJoin(t *testing.T) { joinLongQueue(t) }

// Nor where the member that is asked does not know yet what another has answered.
func TestLongQueueIsNotReadWhereMembersLag(t *testing.T) { joinLongQueue(t, lagging()) }

func joinLongQueue(t *testing.T, dial ...grpc.DialOption) {
	var scans scanCounter
	dial = append([]grpc.DialOption{scans.option()}, dial...)
	p, q := enter(t, nil, dial...).long(), enter(t, nil, dial...).long()
	last := p.join("q")
	q.leave(q.join("q").Me) // which shows both how long it is
	p.leave(p.join("q").Me)
	first, _ := p.joinLong("q") // the first tail
	want := first.Me.Token
	queue := []driver.View{last, first}
	ends := []<-chan waited{nil, p.wait(first)}
	owners := []*party{p, p}
	scans.take()
	for i := range 10 {
		who := []*party{p, q}[i%2]
		v, nearest := who.joinLong("q")
		if nearest != want {
			t.Fatalf("token %d is ahead of %d, want %d", nearest, v.Me.Token, want)
		}
		want = v.Me.Token
		queue, ends, owners = append(queue, v), append(ends, who.wait(v)), append(owners, who)
	}
	if all, _, inJoins := scans.take(); all != 0 {
		t.Errorf("%d ranges over the queue, %d of them in joins, for ten joins", all, inJoins)
	}
	for i, v := range queue {
		owners[i].leave(v.Me)
		if i+1 < len(queue) {
			if turn := over(t, ends[i+1]); len(turn.Ahead) != 0 || turn.Me.Token != queue[i+1].Me.Token || turn.Me.ID != queue[i+1].Me.ID {
				t.Fatalf("after a leave the next sees %+v", turn)
			}
		}
	}
	if all, values, _ := scans.take(); all < 11 || values != 0 {
		t.Errorf("%d ranges over the queue for 11 turns, %d of them with values; want one or two each, without", all, values)
	}
}

// Whoever waits for the tail is not let in while somebody is there who came in between
// and did not take its place, of another library or a session that thinks the queue short.
func TestWhoCameBetweenTailsHasItsTurn(t *testing.T) { meetBetween(t) }

// The look that finds them needs no values, also where members lag.
func TestWhoCameBetweenTailsIsFoundWhereMembersLag(t *testing.T) {
	var scans scanCounter
	meetBetween(t, scans.option(), lagging())
	if all, values, _ := scans.take(); all == 0 || values > 1 { // before it was known to be long
		t.Errorf("%d ranges over the queue, %d of them with values", all, values)
	}
}

func meetBetween(t *testing.T, dial ...grpc.DialOption) {
	p, short, admin := enter(t, nil, dial...).long(), enter(t, nil), raw(t, server, "", "")
	holder := p.join("q").Me
	p.leave(p.join("q").Me)
	first, _ := p.joinLong("q")
	alien := prefix(t) + "/q/alien"
	put(t, admin, alien, "", leaseOf(t, admin))
	ours := short.join("q")
	last, nearest := p.joinLong("q")
	if nearest != first.Me.Token {
		t.Fatalf("token %d is ahead, want that of the tail, %d", nearest, first.Me.Token)
	}
	end := p.wait(last)
	p.leave(holder)
	p.leave(first.Me)
	for _, between := range []string{ours.Me.Key, alien} {
		v := over(t, end)
		if len(v.Ahead) != 1 || v.Ahead[0].Key != between {
			t.Fatalf("%+v is ahead, want %s", v.Ahead, between)
		}
		end = p.wait(v)
		if _, err := admin.Delete(t.Context(), between); err != nil {
			t.Fatal(err)
		}
	}
	if v := over(t, end); len(v.Ahead) != 0 {
		t.Errorf("%+v is ahead of the last", v.Ahead)
	}
}

// Where the tail is of no use the queue tells who is ahead.
func TestTailThatIsGoneOrWrong(t *testing.T) {
	p, admin := enter(t, nil).long(), raw(t, server, "", "")
	holder := p.join("q").Me
	p.leave(p.join("q").Me)
	for _, c := range []struct {
		what string
		make func()
	}{
		{"none was taken", func() {}},
		{"it has left", func() { v, _ := p.joinLong("q"); p.leave(v.Me) }},
		{"it is of another queue", func() { put(t, admin, tailKey(t, "q"), p.join("r").Me.Key, 0) }},
		{"it has no sense", func() { put(t, admin, tailKey(t, "q"), "\xff", 0) }},
		{"it names itself", func() { put(t, admin, tailKey(t, "q"), tailKey(t, "q"), 0) }},
		{"it names one who did not take it", func() { put(t, admin, tailKey(t, "q"), holder.Key, 0) }},
		{"it was deleted", func() {
			if _, err := admin.Delete(t.Context(), tailKey(t, "q")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		c.make()
		v, nearest := p.joinLong("q")
		if nearest != holder.Token {
			t.Errorf("where %s, token %d is ahead, want the holder's, %d", c.what, nearest, holder.Token)
		}
		p.leave(v.Me)
	}
}

// Keys are used again: one that a tail names may have become that of the entry itself, which
// must not wait for itself.
func TestTailIsNotTheEntryItself(t *testing.T) {
	p, admin := enter(t, nil).long(), raw(t, server, "", "")
	holder := p.join("q").Me
	p.leave(p.join("q").Me)
	first, _ := p.joinLong("q")
	p.leave(first.Me)
	for {
		put(t, admin, tailKey(t, "q"), first.Me.Key, leaseID(t, p))
		v, nearest := p.joinLong("q")
		if nearest != holder.Token {
			t.Fatalf("token %d is ahead of %d at %s, want the holder's, %d", nearest, v.Me.Token, v.Me.Key, holder.Token)
		}
		p.leave(v.Me)
		if v.Me.Key == first.Me.Key {
			return
		}
	}
}

// A tail goes with the session that took its place last, and with nobody else's.
func TestTailGoesWithItsSession(t *testing.T) {
	p, q, admin := enter(t, nil).long(), enter(t, nil).long(), raw(t, server, "", "")
	p.join("q")
	q.leave(q.join("q").Me)
	p.leave(p.join("q").Me)
	p.joinLong("q")
	last, _ := q.joinLong("q")
	for _, end := range []struct {
		p    *party
		left []string
	}{{p, []string{tailKey(t, "q"), last.Me.Key}}, {q, nil}} {
		if err := end.p.Revoke(t.Context()); err != nil {
			t.Fatal(err)
		}
		resp, err := admin.Get(t.Context(), prefix(t)+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, kv := range resp.Kvs {
			if !strings.Contains(string(kv.Key), "/session/") {
				left = append(left, string(kv.Key))
			}
		}
		if !slices.Equal(left, end.left) {
			t.Errorf("left are %v, want %v", left, end.left)
		}
	}
}

// A queue that is no longer long is read again, by those who join.
func TestQueueIsLongAsLongAsItIs(t *testing.T) {
	const from = 8
	p, q := enter(t, nil), enter(t, nil)
	etcd.SetLong(p.store, from)
	var views []driver.View
	for i := range from + 2 {
		if got := etcd.IsLong(p.store, "q"); got != (i > from) {
			t.Errorf("with %d entries the queue is long: %v", i, got)
		}
		views = append(views, p.join("q"))
	}
	for i, v := range views[:from] {
		end := p.wait(views[i+1])
		p.leave(v.Me)
		over(t, end)
		if got, left := etcd.IsLong(p.store, "q"), len(views)-1-i; got != (left >= from/2) {
			t.Errorf("with %d entries left the queue is long: %v", left, got)
		}
	}
	if etcd.IsLong(q.store, "q") {
		t.Error("a store that has not seen the queue takes it for long")
	}
}

// A store remembers so many long queues, and then begins anew.
func TestSomeLongQueuesAreRemembered(t *testing.T) {
	p := enter(t, nil)
	etcd.SetLong(p.store, 10)
	for i := range etcd.MaxKnown + 1 {
		name := fmt.Sprint("q", i)
		if etcd.NoteLength(p.store, name, 10); !etcd.IsLong(p.store, name) {
			t.Fatalf("queue %d is not taken for a long one", i)
		}
	}
	if etcd.IsLong(p.store, "q0") {
		t.Error("the first is still known")
	}
}

// A Join that was answered and then cut short, as it looked for the tail, needs no fence, which
// would make all others under way try again.
func TestJoinCutShortAtTheTailIsNotFenced(t *testing.T) {
	reached := make(chan struct{}, 1)
	var stops atomic.Bool
	p := enter(t, nil, grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if r, ok := req.(*pb.RangeRequest); ok && r.Revision > 0 && stops.CompareAndSwap(true, false) {
			reached <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	})).long()
	admin := raw(t, server, "", "")
	p.join("q")
	p.leave(p.join("q").Me)
	p.joinLong("q")
	epoch := func() int64 {
		resp, err := admin.Get(t.Context(), sessionKey(t, p))
		if err != nil || len(resp.Kvs) != 1 {
			t.Fatal(resp, err)
		}
		return resp.Kvs[0].ModRevision
	}
	begun := epoch()
	for i, end := range []func(c driver.Claim) error{
		func(c driver.Claim) error { return p.Withdraw(t.Context(), c) },
		func(c driver.Claim) error {
			v, err := p.Resolve(t.Context(), c)
			if err == nil && (v.Me.ID != c.ID || len(v.Ahead) != 1) {
				err = fmt.Errorf("the view is %+v", v)
			}
			return errors.Join(err, p.Leave(t.Context(), v.Me))
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		stops.Store(true)
		go func() { <-reached; cancel() }()
		c := claim("q")
		if _, err := p.Join(ctx, c); !errors.Is(err, context.Canceled) {
			t.Fatalf("Join returned %v", err)
		}
		if q := p.queue("q"); len(q) != 3 {
			t.Fatalf("the queue is %v, want the entry in it", q)
		}
		if err := end(c); err != nil {
			t.Fatalf("end %d: %v", i, err)
		}
		if q := p.queue("q"); len(q) != 2 {
			t.Errorf("the queue is %v after end %d", q, i)
		}
	}
	if now := epoch(); now != begun {
		t.Errorf("the epoch moved from %d to %d", begun, now)
	}
}

// After trouble those who wait in a queue look whether they still do, and do not all read
// the queue.
func TestWaitersDoNotReadTheQueueAfterTrouble(t *testing.T) {
	const waiters = 20
	var scans scanCounter
	link, watches := &drivertest.Link{}, &watchCounter{}
	p, admin := enter(t, link, scans.option(), watches.option()), raw(t, server, "", "")
	views := []driver.View{p.join("q")}
	var ends []<-chan waited
	for range waiters {
		v := p.join("q")
		views, ends = append(views, v), append(ends, p.wait(v))
	}
	watches.begun(t, waiters)
	scans.take()
	outage(t, link, admin, func() {})
	watches.begun(t, 3*waiters) // the client's own, which meet the compaction, and then ours
	if all, _, _ := scans.take(); all != 0 {
		t.Errorf("%d ranges over the queue after an outage of %d waiters", all, waiters)
	}
	for i, end := range ends {
		p.leave(views[i].Me)
		if v := over(t, end); len(v.Ahead) != 0 {
			t.Fatal(fmt.Errorf("%v is ahead of waiter %d", v.Ahead, i))
		}
	}
}
