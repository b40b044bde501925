package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

func permitClaim(name string, limit int64) driver.Claim {
	c := claim(name)
	c.Kind, c.Mode, c.Limit, c.Value = "semaphore", driver.Permit, limit, "1"
	return c
}

func (p *party) permit(name string, limit int64) driver.View {
	p.t.Helper()
	v, err := p.Join(p.t.Context(), permitClaim(name, limit))
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// limitKeys returns the keys of limits under the test's prefix.
func limitKeys(t *testing.T, c *clientv3.Client) []string {
	t.Helper()
	resp, err := c.Get(t.Context(), prefix(t)+"/.fairlead/v1/limit/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, kv := range resp.Kvs {
		keys = append(keys, string(kv.Key))
	}
	return keys
}

func noLimits(t *testing.T, c *clientv3.Client, when string) {
	t.Helper()
	if keys := limitKeys(t, c); len(keys) != 0 {
		t.Errorf("%s, the limits %q are left", when, keys)
	}
}

func TestLimitIsRemovedByTheLastToLeave(t *testing.T) {
	a, b, admin := enter(t, nil), enter(t, nil), raw(t, server, "", "")
	first, second := a.permit("q", 3), b.permit("q", 3)
	if keys := limitKeys(t, admin); len(keys) != 1 {
		t.Errorf("the limits are %q, want one", keys)
	}
	a.leave(first.Me)
	if keys := limitKeys(t, admin); len(keys) != 1 {
		t.Errorf("while somebody holds, the limits are %q, want one", keys)
	}
	for range 2 { // the second is late or retried
		b.leave(second.Me)
		noLimits(t, admin, "after the last has left")
	}

	c := permitClaim("q", 3)
	if _, err := a.Join(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := a.Withdraw(t.Context(), c); err != nil {
		t.Error(err)
	}
	noLimits(t, admin, "after the last was withdrawn")

	a.permit("q", 3)
	a.permit("r", 4)
	if err := a.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
	noLimits(t, admin, "after the last lease was revoked")
}

// What is no permit does not keep a limit: an entry of a name that continues the queue's, nor
// one of another kind that is behind, and leaves when it looks.
func TestLimitGoesWithTheLastPermitWhateverElseIsThere(t *testing.T) {
	a, b, admin := enter(t, nil), enter(t, nil), raw(t, server, "", "")
	a.join("jobs/1")
	first, second := a.permit("jobs", 3), b.permit("jobs", 3)
	put(t, admin, prefix(t)+"/jobs/0-by-hand", "", leaseOf(t, admin))
	a.join("jobs")
	a.leave(first.Me)
	if keys := limitKeys(t, admin); len(keys) != 1 {
		t.Errorf("while somebody holds, the limits are %q, want one", keys)
	}
	b.leave(second.Me)
	noLimits(t, admin, "after the last permit has left")

	a.join("jobs/2/3")
	b.permit("jobs/2", 4)
	if err := b.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
	noLimits(t, admin, "after the last permit's lease was revoked")

	put(t, admin, prefix(t)+"/.fairlead/v1/limit/jobs/2", `{"limit":3}`, 0)
	eventually(t, func() error {
		enter(t, nil)
		if keys := limitKeys(t, admin); len(keys) > 0 {
			return fmt.Errorf("the limits %q were not swept", keys)
		}
		return nil
	})
}

// Whoever joins while a limit is about to be removed, under that limit, keeps it.
func TestLimitIsNotRemovedUnderWhoJoinsMeanwhile(t *testing.T) {
	a, admin := enter(t, nil), raw(t, server, "", "")
	var looks atomic.Int64
	meanwhile := func(int64) {}
	b := enter(t, nil, grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if txn, ok := req.(*pb.TxnRequest); ok && slices.ContainsFunc(txn.Success, func(op *pb.RequestOp) bool {
			removal := op.GetRequestDeleteRange()
			return removal != nil && strings.HasSuffix(string(removal.Key), "/limit/q")
		}) {
			meanwhile(looks.Add(1))
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}))
	a.join("q/nested")
	for at := range int64(3) {
		remembered, v := a.permit("q", 3), b.permit("q", 3) // which has a remember the limit
		a.leave(remembered.Me)
		looks.Store(0)
		meanwhile = func(n int64) {
			if n == at+1 {
				remembered = a.permit("q", 3)
			}
		}
		b.leave(v.Me)
		if at+1 <= looks.Load() {
			if keys := limitKeys(t, admin); len(keys) != 1 {
				t.Errorf("with a permit that was joined at attempt %d to remove the limit, the limits are %q, want one", at+1, keys)
			}
		}
		a.leave(remembered.Me)
		noLimits(t, admin, "after the last permit has left")
	}
}

// Whoever ends the last entry, the limit goes as well.
func TestLimitGoesHoweverTheLastEntryEnds(t *testing.T) {
	admin := raw(t, server, "", "")
	for what, end := range map[string]func(p *party, e driver.Entry){
		"by hand": func(p *party, e driver.Entry) {
			if _, err := admin.Delete(t.Context(), e.Key); err != nil {
				t.Fatal(err)
			}
		},
		"with its lease": func(p *party, _ driver.Entry) {
			if _, err := admin.Revoke(t.Context(), leaseID(t, p)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, leaves := range []bool{true, false} {
			p := enter(t, nil)
			v := p.permit("q", 2)
			end(p, v.Me)
			if leaves { // late
				p.leave(v.Me)
			} else if err := p.Revoke(t.Context()); err != nil {
				t.Error(err)
			}
			noLimits(t, admin, fmt.Sprintf("after the last entry ended %s (its owner left: %t)", what, leaves))
		}
	}
	// Also one whose owner never heard that it was made.
	p := enter(t, nil)
	c := permitClaim("q", 2)
	if _, err := p.Join(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	other := enter(t, nil)
	if _, err := other.Join(t.Context(), permitClaim("q", 3)); err == nil {
		t.Error("joined with another limit")
	}
	if err := errors.Join(p.Revoke(t.Context()), p.Withdraw(t.Context(), c), other.Revoke(t.Context())); err != nil && !errors.Is(err, driver.ErrLeaseGone) {
		t.Error(err)
	}
	noLimits(t, admin, "after the last lease was revoked in the middle of a join")
}

func TestLeftoverLimitDoesNotHideAnotherKind(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	p.join("q")
	put(t, admin, prefix(t)+"/.fairlead/v1/limit/q", `{"limit":3}`, 0)
	for _, limit := range []int64{3, 5} {
		_, err := p.Join(t.Context(), permitClaim("q", limit))
		if e, ok := errors.AsType[*driver.LimitError](err); !ok || e.Limit != 0 || len(e.Ahead) != 1 {
			t.Errorf("Join with limit %d returned %v, want that there is none", limit, err)
		}
	}
}

func TestLimitOfACrashedHolderIsSweptByALaterSession(t *testing.T) {
	a, admin := enter(t, nil), raw(t, server, "", "")
	a.permit("in use", 2)
	put(t, admin, prefix(t)+"/.fairlead/v1/limit/left/over", `{"limit":3}`, 0)
	for i := range 120 { // more than a session looks at
		a.permit(fmt.Sprintf("in use %d", i), 2)
	}
	eventually(t, func() error {
		enter(t, nil)
		if keys := limitKeys(t, admin); slices.ContainsFunc(keys, func(k string) bool { return strings.HasSuffix(k, "/left/over") }) {
			return fmt.Errorf("that left over is still among %d limits", len(keys))
		}
		return nil
	})
	if n := len(limitKeys(t, admin)); n != 121 {
		t.Errorf("%d limits are left, want the 121 in use", n)
	}
	// And nobody takes a leftover for a limit in use.
	put(t, admin, prefix(t)+"/.fairlead/v1/limit/left/over", `{"limit":3}`, 0)
	if v := a.permit("left/over", 5); v.Limit.N != 5 {
		t.Errorf("the limit is %+v, want 5", v.Limit)
	}
	put(t, admin, prefix(t)+"/.fairlead/v1/limit/mutex", `{"limit":3}`, 0)
	a.join("mutex")
	if q, err := a.store.Read(t.Context(), "mutex", 0); err != nil || q.Limit.N != 0 {
		t.Errorf("a mutex beside a leftover limit is %+v, %v", q, err)
	}
}

func TestGarbledLimitIsToldByItsKey(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	v := p.permit("q", 2)
	for _, value := range []string{"", "no JSON", `{}`, `{"limit":-1}`, `{"limit":"2"}`} {
		put(t, admin, prefix(t)+"/.fairlead/v1/limit/q", value, 0)
		for what, err := range map[string]error{
			"Join":  errOf(p.Join(t.Context(), permitClaim("q", 2))),
			"Look":  errOf(p.Look(t.Context(), v.Me)),
			"Read":  errOf(p.store.Read(t.Context(), "q", 0)),
			"List":  errOf(p.store.List(t.Context(), "")),
			"Watch": p.store.Watch(t.Context(), "q", func(driver.Queue) error { return nil }),
		} {
			if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "/limit/q") {
				t.Errorf("%s beside the limit %q returned %v, want a permanent error that names the key", what, value, err)
			}
		}
	}
	p.leave(v.Me)
	noLimits(t, admin, "after the last has left")
	p.leave(p.permit("q", 2).Me)
}

func TestLimitRemovedByHandFailsWhoWaits(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	s := openSession(t, server.Endpoint()+prefix(t))
	m := semaphore.New(s, "q", 1)
	g, err := m.Acquire(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() {
		_, err := m.Acquire(t.Context(), 1)
		end <- err
	}()
	eventually(t, func() error {
		if n := len(p.queue("q")); n != 2 {
			return fmt.Errorf("%d in the queue, want two", n)
		}
		return nil
	})
	if _, err := admin.Delete(t.Context(), prefix(t)+"/.fairlead/v1/limit/q"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-end:
		if !errors.Is(err, session.ErrLimit) {
			t.Errorf("the wait ended with %v, want ErrLimit", err)
		}
	case <-time.After(patience):
		t.Error("still waiting")
	}
	if err := g.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func openSession(t *testing.T, url string, dial ...grpc.DialOption) *session.Session {
	t.Helper()
	opts := &session.Options{Logger: quiet}
	s, err := session.New(t.Context(), connect(t, url, opts, nil, dial...), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestReleaseOfAPermitTellsAFew counts what the server tells of each release, to
// all sessions together: that it happened, to the first of those who wait; and
// that the first is granted, to the second. How many wait makes no difference.
func TestReleaseOfAPermitTellsAFew(t *testing.T) {
	const limit, releases = 8, 20
	perRelease := map[int]float64{}
	for _, waiting := range []int{releases + 1, 64, 256} {
		watches := &watchCounter{}
		s := openSession(t, server.Endpoint()+prefix(t), watches.option())
		name := fmt.Sprintf("%d waiting", waiting)
		m := semaphore.New(s, name, limit)
		grants := make(chan *session.Grant)
		ctx, cancel := context.WithCancel(t.Context())
		for range limit + waiting {
			go func() {
				g, err := m.Acquire(ctx, 1)
				if err == nil {
					grants <- g
				}
			}()
		}
		admin := enter(t, nil)
		eventually(t, func() error {
			if n := len(admin.queue(name)); n != limit+waiting {
				return fmt.Errorf("%d in the queue, want %d", n, limit+waiting)
			}
			return nil
		})
		watches.begun(t, int64(waiting)+1) // one each; the first watches the limit, too
		before := watches.events.Load()
		for range releases {
			if err := (<-grants).Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range limit { // so that all who were let in have been told
			g := <-grants
			defer func() { _ = g.Release(context.Background()) }()
		}
		perRelease[waiting] = float64(watches.events.Load()-before) / releases
		t.Logf("limit %d, %d waiting: %.2f events a release", limit, waiting, perRelease[waiting])
		if perRelease[waiting] > 3.5 {
			t.Errorf("limit %d, %d waiting: %.2f events a release, want two or three", limit, waiting, perRelease[waiting])
		}
		cancel()
	}
}
