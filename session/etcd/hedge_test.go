package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// countingRequests counts the requests to the key-value store.
func countingRequests(n *atomic.Int64) grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
		invoker grpc.UnaryInvoker, opts ...grpc.CallOption,
	) error {
		if strings.HasPrefix(method, "/etcdserverpb.KV/") {
			n.Add(1)
		}
		return invoker(ctx, method, req, reply, cc, opts...)
	})
}

// settle joins, as a session does: where the outcome is unknown it is resolved.
func (p *party) settle(name string) driver.View {
	p.t.Helper()
	for {
		c := claim(name)
		v, err := p.Join(p.t.Context(), c)
		for err != nil {
			if v, err = p.Resolve(p.t.Context(), c); errors.Is(err, driver.ErrEntryGone) {
				break
			}
		}
		if err == nil {
			return v
		}
	}
}

// A store that answers later than an answer is overdue at first gets all done, and
// is soon asked only once for each thing.
func TestASlowStoreIsNotAskedTwice(t *testing.T) {
	t.Parallel()
	const rounds = 3
	link, requests := &drivertest.Link{}, new(atomic.Int64)
	p := enter(t, link, countingRequests(requests))
	link.Delay(1500 * time.Millisecond)
	for range rounds { // it becomes known how slow the store is
		p.leave(p.settle("q").Me)
	}
	begun := requests.Load()
	for range rounds {
		p.leave(p.settle("q").Me)
	}
	if n := requests.Load() - begun; n != 2*rounds {
		t.Errorf("%d requests for %d joins and as many leaves", n, rounds)
	}
	link.Delay(0)
}

// losing loses the next reply to such a request when it is told to.
func losing(lost *atomic.Bool, such func(req any) bool) grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
		invoker grpc.UnaryInvoker, opts ...grpc.CallOption,
	) error {
		err := invoker(ctx, method, req, reply, cc, opts...)
		if such(req) && lost.CompareAndSwap(true, false) {
			<-ctx.Done()
			return ctx.Err()
		}
		return err
	})
}

// The reply to a leave is lost, and the next one is not.
func TestALostReplyIsAskedForAgain(t *testing.T) {
	var lost atomic.Bool
	p := enter(t, nil, losing(&lost, func(any) bool { return true }))
	for what, do := range map[string]func(e driver.Entry) error{
		"Leave":  func(e driver.Entry) error { return p.Leave(t.Context(), e) },
		"Look":   func(e driver.Entry) error { _, err := p.Look(t.Context(), e); return err },
		"Update": func(e driver.Entry) error { _, err := p.Update(t.Context(), e, "v"); return err },
	} {
		e := p.join(what).Me
		lost.Store(true)
		if err := do(e); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if lost.Load() {
			t.Errorf("%s made no request", what)
		}
	}
	if q := p.queue("Leave"); len(q) != 0 {
		t.Errorf("tokens %v are in the queue that was left", q)
	}
}

// A second request would find gone what the first has removed, and tell so. That the entry
// was gone before is said only when it was.
func TestBreakWhoseReplyIsLostFails(t *testing.T) {
	var lost atomic.Bool
	p := enter(t, nil, losing(&lost, func(req any) bool {
		txn, ok := req.(*pb.TxnRequest)
		return ok && len(txn.Compare) > 0 && len(txn.Success) > 0 && txn.Success[0].GetRequestPut() != nil
	}))
	e := p.join("q").Me
	m := driver.Mark{ID: e.ID, By: "ops"}
	lost.Store(true)
	if err := p.store.Break(t.Context(), e, m, true); err == nil || errors.Is(err, driver.ErrEntryGone) || driver.IsPermanent(err) {
		t.Errorf("Break returned %v, want a temporary error", err)
	}
	if lost.Load() {
		t.Error("Break made no request")
	}
	if err := p.store.Break(t.Context(), e, m, true); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Break again returned %v, want ErrEntryGone", err)
	}
}

// Where many joins are lost at once, each costs a few requests, and not as many as
// there are others.
func TestResolvingManyClaimsTakesTurns(t *testing.T) {
	const claims = 60
	requests := new(atomic.Int64)
	p := enter(t, nil, countingRequests(requests))
	begun := requests.Load()
	var all sync.WaitGroup
	for i := range claims {
		all.Go(func() {
			if _, err := p.Resolve(t.Context(), claim(fmt.Sprint("q", i))); !errors.Is(err, driver.ErrEntryGone) {
				t.Errorf("Resolve of what was never asked for returned %v", err)
			}
		})
	}
	all.Wait()
	if n := requests.Load() - begun; n > 3*claims {
		t.Errorf("%d requests for %d claims", n, claims)
	}
}
