package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/etcd"
)

// remake deletes a key and makes it again.
func remake(t *testing.T, c *clientv3.Client, e driver.Entry, lease clientv3.LeaseID) {
	t.Helper()
	if _, err := c.Delete(t.Context(), e.Key); err != nil {
		t.Fatal(err)
	}
	put(t, c, e.Key, e.Value, lease)
}

func TestKeyMadeAnewIsNotThePredecessor(t *testing.T) {
	a, b, admin := enter(t, nil), enter(t, nil), raw(t, server, "", "")
	for i := range 20 {
		name := fmt.Sprintf("q%d", i)
		first := a.join(name).Me
		me := b.join(name)
		var end <-chan waited
		if i%2 == 0 { // before Wait begins
			remake(t, admin, first, leaseID(t, a))
			end = b.wait(me)
		} else { // while it begins
			end = b.wait(me)
			remake(t, admin, first, leaseID(t, a))
		}
		if v := over(t, end); len(v.Ahead) != 0 {
			t.Errorf("%v is ahead, it came behind", v.Ahead)
		}
	}
}

func TestWaitIsNotEndedByAnEventItHasSeenTheEffectOf(t *testing.T) {
	a, b := enter(t, nil), enter(t, nil)
	first := a.join("q").Me
	me := b.join("q")
	changed, err := a.Update(t.Context(), first, "granted")
	if err != nil {
		t.Fatal(err)
	}
	me = over(t, b.wait(me))
	end := b.wait(me)
	select {
	case w := <-end:
		t.Fatalf("Wait for the entry as it is now returned %+v, %v", w.view, w.err)
	default:
	}
	a.leave(changed)
	if v := over(t, end); len(v.Ahead) != 0 {
		t.Errorf("%v is ahead", v.Ahead)
	}
}

// outage cuts p's connection, lets during happen, compacts the history of it
// away, and lets p connect again.
func outage(t *testing.T, link *drivertest.Link, admin *clientv3.Client, during func()) {
	t.Helper()
	link.Freeze()
	link.Cut()
	during()
	put(t, admin, prefix(t)+"/elsewhere", "", 0)
	resp, err := admin.Get(t.Context(), "x")
	if err == nil {
		_, err = admin.Compact(t.Context(), resp.Header.Revision)
	}
	if err != nil {
		t.Fatal(err)
	}
	link.Heal()
}

func TestWaitSurvivesCompaction(t *testing.T) {
	link, watches := &drivertest.Link{}, &watchCounter{}
	a, b, admin := enter(t, nil), enter(t, link, watches.option()), raw(t, server, "", "")
	first := a.join("q").Me
	end := b.wait(b.join("q"))
	watches.begun(t, 1)
	outage(t, link, admin, func() {})
	select {
	case w := <-end:
		t.Fatalf("Wait ended with the compaction: %+v, %v", w.view, w.err)
	default:
	}
	outage(t, link, admin, func() { a.leave(first) })
	if v := over(t, end); len(v.Ahead) != 0 {
		t.Errorf("%v is ahead", v.Ahead)
	}
}

func TestQueueIsWatchedFromTheRevisionRead(t *testing.T) {
	a, b := enter(t, nil), enter(t, nil)
	const name = "q"
	shown := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := a.store.Watch(ctx, name, func(q driver.Queue) error {
		if len(q.Entries) != shown && shown > 0 {
			t.Errorf("%d entries are shown after %d joins", len(q.Entries), shown)
		}
		if len(q.Entries) == 5 {
			cancel()
		}
		shown++
		b.join(name) // right between the read and the watch, the first time
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Watch returned %v", err)
	}
}

// A stuck stream is the second of a client's: on it a first watch begins, and the request for
// the next one is never sent, as where the network takes nothing any more.
type stuck struct {
	store driver.Store
	sent  atomic.Int64  // requests on that stream
	is    chan struct{} // closed when it is stuck
}

func (v *stuck) option() grpc.DialOption {
	return grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
		streamer grpc.Streamer, opts ...grpc.CallOption,
	) (grpc.ClientStream, error) {
		md, _ := metadata.FromOutgoingContext(ctx)
		s, err := streamer(ctx, desc, cc, method, opts...)
		return &stuckStream{s, v, strings.Join(md.Get("fairlead-stream"), "")}, err
	})
}

type stuckStream struct {
	grpc.ClientStream
	v          *stuck
	generation string
}

// SendMsg also has whatever is watched after the first watch be so on the second stream.
func (s *stuckStream) SendMsg(m any) error {
	if _, ok := m.(*pb.WatchRequest); !ok {
		return s.ClientStream.SendMsg(m)
	}
	if s.generation == "" {
		etcd.RefreshStream(s.v.store)
	}
	if s.generation == "1" && s.v.sent.Add(1) == 2 {
		close(s.v.is)
		<-s.Context().Done()
	}
	return s.ClientStream.SendMsg(m)
}

// Who watches an entry and a limit, on two streams, hears that the limit's is given up, though
// the library, which has something to send on it, does not come to say so.
func TestWaitHearsThatTheStreamOfTheLimitIsGivenUp(t *testing.T) {
	v, watches := &stuck{is: make(chan struct{})}, &watchCounter{}
	a, b := enter(t, nil), enter(t, nil, v.option(), watches.option())
	v.store = b.store
	a.permit("q", 1)
	me := b.permit("q", 1)
	end := make(chan waited, 1)
	go func() {
		next, err := b.Wait(t.Context(), me, driver.Obstacles{Entries: me.Ahead, Limit: true})
		end <- waited{next, err}
	}()
	watches.begun(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	looking := make(chan struct{})
	go func() {
		defer close(looking)
		_ = b.store.Watch(ctx, "another", func(driver.Queue) error { return nil })
	}()
	defer func() { cancel(); <-looking }()
	select {
	case <-v.is:
	case <-time.After(patience):
		t.Fatal("nothing is sent on the stream of the limit")
	}
	etcd.AbandonStream(b.store)
	if err := a.store.SetLimit(t.Context(), "q", me.Limit, driver.Limit{N: 2}); err != nil {
		t.Fatal(err)
	}
	if v := over(t, end); v.Limit.N != 2 {
		t.Errorf("the limit is %+v, want 2", v.Limit)
	}
}

// A watchCounter counts what a connection hears of its watches.
type watchCounter struct{ created, events atomic.Int64 }

func (c *watchCounter) option() grpc.DialOption {
	return grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
		streamer grpc.Streamer, opts ...grpc.CallOption,
	) (grpc.ClientStream, error) {
		s, err := streamer(ctx, desc, cc, method, opts...)
		return &countingStream{s, c}, err
	})
}

// begun waits until n watches have begun.
func (c *watchCounter) begun(t *testing.T, n int64) {
	t.Helper()
	eventually(t, func() error {
		if got := c.created.Load(); got < n {
			return fmt.Errorf("%d watches have begun, want %d", got, n)
		}
		return nil
	})
}

type countingStream struct {
	grpc.ClientStream
	c *watchCounter
}

func (s *countingStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if resp, ok := m.(*pb.WatchResponse); ok && err == nil {
		s.c.events.Add(int64(len(resp.Events)))
		if resp.Created {
			s.c.created.Add(1)
		}
	}
	return err
}

func TestReleaseIsOneEventForOneWaiter(t *testing.T) {
	const waiters = 20
	var watches watchCounter
	p := enter(t, nil, watches.option())
	first := p.join("q").Me
	var ends []<-chan waited
	var entries []driver.Entry
	for range waiters {
		v := p.join("q")
		entries = append(entries, v.Me)
		ends = append(ends, p.wait(v))
	}
	watches.begun(t, waiters)
	p.leave(first)
	for i, end := range ends {
		if v := over(t, end); len(v.Ahead) != 0 {
			t.Errorf("%v is ahead of waiter %d", v.Ahead, i)
		}
		if n := watches.events.Load(); n != int64(i+1) {
			t.Fatalf("%d events for %d releases", n, i+1)
		}
		p.leave(entries[i])
	}
}

func TestWaitEndsWithTheClient(t *testing.T) {
	a := enter(t, nil)
	st := connect(t, server.Endpoint()+prefix(t), nil, nil)
	l, _, err := st.Grant(t.Context(), driver.Spec{TTL: 30e9})
	if err != nil {
		t.Fatal(err)
	}
	a.join("q")
	b := &party{l, t, st}
	end := b.wait(b.join("q"))
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if w := <-end; !driver.IsPermanent(w.err) || !strings.Contains(w.err.Error(), "closed") {
		t.Errorf("Wait on a closed store returned %v", w.err)
	}
}

// etcd keeps deleted keys in its index until it compacts: a name that is locked
// again and again must do with few.
func TestABusyNameDoesWithFewKeys(t *testing.T) {
	a, b := enter(t, nil), enter(t, nil)
	keys := map[string]bool{}
	holds := a.join("q").Me
	for range 200 { // one holds, one waits, in turn
		next := b.join("q").Me
		keys[holds.Key] = true
		a.leave(holds)
		a, b, holds = b, a, next
	}
	a.leave(holds)
	if len(keys) > 16 {
		t.Errorf("%d keys were used by two sessions, one entry each at a time", len(keys))
	}
}
