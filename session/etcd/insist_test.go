package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// A rush is what others do before each request of a client that would make an entry of a queue.
type rush struct {
	dir   string                 // what its keys start with
	join  func(attempt int)      // is called before that request
	loses func(attempt int) bool // whose answers are lost; nil: none

	attempts atomic.Int64
}

// tooMany attempts end a rush, so that a test ends that fails.
const tooMany = 50

func (r *rush) option() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		txn, ok := req.(*pb.TxnRequest)
		if !ok || !slices.ContainsFunc(txn.Success, r.makes) {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		attempt := int(r.attempts.Add(1))
		if attempt <= tooMany {
			r.join(attempt)
		}
		err := invoke(ctx, method, req, reply, cc, opts...)
		if err == nil && r.loses != nil && r.loses(attempt) {
			err = status.Error(codes.Unavailable, "the answer is lost")
		}
		return err
	})
}

// makes tells whether an operation makes an entry of the queue.
func (r *rush) makes(op *pb.RequestOp) bool {
	put := op.GetRequestPut()
	return put != nil && strings.HasPrefix(string(put.Key), r.dir)
}

// few fails where the client took more attempts than a call may that is not to wait.
func (r *rush) few(t *testing.T) {
	t.Helper()
	if n := r.attempts.Load(); n >= 10 {
		t.Errorf("it took %d attempts", n)
	}
}

func readClaim(name string) driver.Claim {
	c := claim(name)
	c.Kind, c.Mode = "rwmutex", driver.Shared
	return c
}

// hurried opens a session, and has another one join before each attempt of its to join q.
func hurried(t *testing.T, other *party, c func() driver.Claim) (*session.Session, *rush) {
	t.Helper()
	r := &rush{dir: prefix(t) + "/q/", join: func(int) {
		if _, err := other.Join(t.Context(), c()); err != nil {
			t.Error(err)
		}
	}}
	return openSession(t, server.Endpoint()+prefix(t), r.option()), r
}

// A join that depends on who else is there comes to an end, though others join all the time
// of whom it need not wait for any.
func TestConditionalJoinEndsHoweverOthersJoin(t *testing.T) {
	reads := func() driver.Claim { return readClaim("q") }
	permits := func() driver.Claim { return permitClaim("q", 1000) }
	nested := func() driver.Claim { return claim("q/b") }
	tryRLock := func(s *session.Session) (*session.Grant, error) { return rwmutex.New(s, "q").TryRLock(t.Context()) }
	tryLock := func(s *session.Session) (*session.Grant, error) { return mutex.New(s, "q").TryLock(t.Context()) }
	acquire := func(s *session.Session) (*session.Grant, error) {
		return semaphore.New(s, "q", 1000).Acquire(t.Context(), 1)
	}
	tryAcquire := func(s *session.Session) (*session.Grant, error) {
		return semaphore.New(s, "q", 1000).TryAcquire(t.Context(), 1)
	}
	for what, c := range map[string]struct {
		others   func() driver.Claim
		ask      func(s *session.Session) (*session.Grant, error)
		leftover string // a limit that is left there
	}{
		"TryRLock among readers":                                  {reads, tryRLock, ""},
		"TryAcquire among holders":                                {permits, tryAcquire, ""},
		"TryLock above a busy name":                               {nested, tryLock, ""},
		"TryAcquire above a busy name":                            {nested, tryAcquire, ""},
		"Acquire above a busy name":                               {nested, acquire, ""},
		"Acquire above a busy name, with a limit that is left":    {nested, acquire, `{"limit":3}`},
		"TryAcquire above a busy name, with a limit that is left": {nested, tryAcquire, `{"limit":3,"through":9,"stamp":true}`},
	} {
		t.Run(what, func(t *testing.T) {
			other, admin := enter(t, nil), raw(t, server, "", "")
			if c.leftover != "" {
				put(t, admin, prefix(t)+"/.fairlead/v1/limit/q", c.leftover, 0)
			}
			s, r := hurried(t, other, c.others)
			g, err := c.ask(s)
			if err != nil {
				t.Fatal(err)
			}
			r.few(t)
			if q, err := other.store.Read(t.Context(), "q", 0); err != nil || g.Kind() == "semaphore" && q.Limit.N != 1000 {
				t.Errorf("the queue has the limit %+v, %v, want 1000", q.Limit, err)
			}
			if err := g.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Who is refused in the end, as somebody was faster, leaves nothing behind; nor where the answer
// to the join was lost.
func TestWhoInsistsAndIsRefusedLeaves(t *testing.T) {
	tryLock := func(ctx context.Context, s *session.Session) error { return errOf(mutex.New(s, "q").TryLock(ctx)) }
	tryAcquire := func(ctx context.Context, s *session.Session) error {
		return errOf(semaphore.New(s, "q", 2).TryAcquire(ctx, 1))
	}
	acquire := func(ctx context.Context, s *session.Session) error {
		return errOf(semaphore.New(s, "q", 2).Acquire(ctx, 1))
	}
	for what, c := range map[string]struct {
		ask  func(ctx context.Context, s *session.Session) error
		want error
	}{"TryLock": {tryLock, session.ErrHeld}, "TryAcquire": {tryAcquire, session.ErrKind}, "Acquire": {acquire, session.ErrKind}} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprint(what, ", answer lost: ", lost), func(t *testing.T) {
				other := enter(t, nil)
				s, r := hurried(t, other, nil)
				r.loses = func(attempt int) bool { return lost && attempt == 6 }
				r.join = func(attempt int) {
					if name := "q/b"; attempt < 6 {
						other.join(name)
					} else if attempt == 6 {
						other.join("q")
					}
				}
				if err := c.ask(t.Context(), s); !errors.Is(err, c.want) {
					t.Errorf("the error is %v, want %v", err, c.want)
				}
				r.few(t)
				if q := other.queue("q"); len(q) != 1 {
					t.Errorf("the queue is %v, want the holder alone", q)
				}
			})
		}
	}
}

// A limit that is left over is not replaced under the permits of a session that remembers it.
func TestLeftoverLimitIsNotReplacedUnderWhoRemembersIt(t *testing.T) {
	for _, at := range []int{5, 6} { // before the last guarded attempt, and after it
		other, nested, admin := enter(t, nil), enter(t, nil), raw(t, server, "", "")
		v := other.permit("q", 3)
		if _, err := admin.Delete(t.Context(), v.Me.Key); err != nil {
			t.Fatal(err)
		}
		s, r := hurried(t, nested, nil)
		r.join = func(attempt int) {
			nested.join("q/b")
			if attempt == at {
				v = other.permit("q", 3)
			}
		}
		_, err := semaphore.New(s, "q", 5).Acquire(t.Context(), 1)
		if !errors.Is(err, session.ErrLimit) {
			t.Errorf("the error is %v, want ErrLimit", err)
		}
		r.few(t)
		if q, err := other.store.Read(t.Context(), "q", 0); err != nil || q.Limit.N != 3 || len(q.Entries) != 1 {
			t.Errorf("the queue is %+v, %v, want one permit under limit 3", q, err)
		}
		other.leave(v.Me)
	}
}

// Nor does Resolve adopt an entry that Join did not come to refuse.
func TestResolveTakesBackWhatJoinWouldHaveRefused(t *testing.T) {
	other := enter(t, nil)
	r := &rush{dir: prefix(t) + "/q/", loses: func(attempt int) bool { return attempt == 6 }}
	r.join = func(attempt int) {
		if name := "q/b"; attempt < 6 {
			other.join(name)
		} else {
			other.join("q")
		}
	}
	p := enter(t, nil, r.option())
	c := claim("q")
	c.Admit = func(v driver.View) bool { return len(v.Ahead) == 0 }
	if v, err := p.Join(t.Context(), c); err == nil || errors.Is(err, driver.ErrRefused) {
		t.Fatalf("Join returned %+v, %v, want that its answer is lost", v, err)
	}
	if v, err := p.Resolve(t.Context(), c); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Resolve returned %+v, %v, want ErrEntryGone", v, err)
	}
	if q := other.queue("q"); len(q) != 1 {
		t.Errorf("the queue is %v, want the holder alone", q)
	}
}

// Nor one that Join has told to leave, by a request that applies late.
func TestResolveAdoptsNothingThatWasToldToLeave(t *testing.T) {
	other := enter(t, nil)
	var writer driver.Entry
	r := &rush{dir: prefix(t) + "/q/"}
	r.join = func(attempt int) {
		if attempt < 6 {
			if _, err := other.Join(t.Context(), readClaim("q")); err != nil {
				t.Error(err)
			}
		} else {
			writer = other.join("q").Me
		}
	}
	var late func()
	cut := true
	loss := grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		_, leaves := req.(*pb.DeleteRangeRequest)
		if txn, ok := req.(*pb.TxnRequest); ok {
			leaves = slices.ContainsFunc(txn.Success, func(op *pb.RequestOp) bool { return op.GetRequestDeleteRange() != nil })
		}
		if !leaves || !cut {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		late = func() {
			if err := invoke(context.WithoutCancel(ctx), method, req, reply, cc, opts...); err != nil {
				t.Error(err)
			}
		}
		return status.Error(codes.Unavailable, "the connection is lost")
	})
	p := enter(t, nil, r.option(), loss)
	c := readClaim("q")
	c.Admit = func(v driver.View) bool {
		return !slices.ContainsFunc(v.Ahead, func(e driver.Entry) bool { return e.Mode != driver.Shared })
	}
	if v, err := p.Join(t.Context(), c); err == nil || errors.Is(err, driver.ErrRefused) {
		t.Fatalf("Join returned %+v, %v, want that its entry may have left", v, err)
	}
	cut = false
	other.leave(writer)
	// It would be admitted by now, and be gone when its request to leave arrives.
	if v, err := p.Resolve(t.Context(), c); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Resolve returned %+v, %v, want ErrEntryGone", v, err)
	}
	late()
	if q := other.queue("q"); len(q) != 5 {
		t.Errorf("the queue is %v, want the five readers", q)
	}
}
