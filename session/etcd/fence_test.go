package etcd_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdembed "go.etcd.io/etcd/server/v3/embed"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/embed"
	"github.com/fairlead-go/fairlead/session/etcd"
)

// since returns what was sent after the first n requests.
func (b *barrier) since(n int) []*pb.TxnRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.sent[n:])
}

// arrive has requests arrive, as late ones do.
func arrive(t *testing.T, c *clientv3.Client, requests []*pb.TxnRequest) {
	t.Helper()
	if len(requests) == 0 {
		t.Error("there were no requests")
	}
	for _, txn := range requests {
		if _, err := pb.NewKVClient(c.ActiveConnection()).Txn(t.Context(), txn); err != nil {
			t.Error(err)
		}
	}
}

// Where the reply to a batch is lost, its claims are fenced by one move of the epoch, which
// is a commit, and none is waited for by others. Whatever was sent for that may arrive once more.
func TestClaimsOfALostBatchAreFencedTogether(t *testing.T) {
	for _, withdrawn := range []bool{false, true} {
		t.Run(fmt.Sprint("withdrawn=", withdrawn), func(t *testing.T) {
			var b barrier
			p, admin := enter(t, nil, b.option()), raw(t, server, "", "")
			moves := func() int64 {
				resp, err := admin.Get(t.Context(), sessionKey(t, p))
				if err != nil || len(resp.Kvs) != 1 {
					t.Fatalf("the session's key: %v, %v", resp, err)
				}
				return resp.Kvs[0].Version
			}
			cs := claims(numbered("q", 20)...)
			calls, _, _ := joining(p, cs)
			b.lose(isBatch)
			together(t, p, &b, func() { p.join("first") }, calls...)
			b.lose(nil)
			before, n := moves(), b.count()
			var work sync.WaitGroup
			for _, c := range cs {
				work.Go(func() {
					var err error
					if withdrawn {
						err = p.Withdraw(t.Context(), c)
					} else {
						_, err = p.Resolve(t.Context(), c)
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			work.Wait()
			late := b.since(n)
			if got := moves() - before; got != 1 {
				t.Errorf("the epoch was moved %d times, want once", got)
			}
			want := map[string][]uint64{}
			for _, c := range cs {
				want[c.Name] = p.queue(c.Name)
				if got := len(want[c.Name]); withdrawn != (got == 0) {
					t.Errorf("queue %s has %d entries", c.Name, got)
				}
				for range 10 { // more than there are keys to be used in turn
					want[c.Name] = append(want[c.Name], p.join(c.Name).Me.Token)
				}
			}
			arrive(t, admin, late)
			for name, tokens := range want {
				if got := p.queue(name); !slices.Equal(got, tokens) {
					t.Errorf("queue %s is %v after late requests, want %v", name, got, tokens)
				}
			}
		})
	}
}

// What was sent to withdraw a claim while there was no space may arrive when there is some
// again, and the claim's key is another's.
func TestWithdrawalWithoutSpaceThatIsLateKeepsNewEntries(t *testing.T) {
	s := start(t, embed.Config{Adjust: func(c *etcdembed.Config) { c.QuotaBackendBytes = 4 << 20 }})
	admin := raw(t, s, "", "")
	var b barrier
	p := enterAt(t, s.Endpoint()+prefix(t), nil, b.option())
	p.leave(p.join("q").Me)
	exhaust(t, admin)
	c := claim("q")
	if _, err := p.Join(t.Context(), c); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("Join returned %v, want that there is no space", err)
	}
	n := b.count()
	if err := p.Withdraw(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	late := b.since(n)
	relieve(t, admin)
	var want []uint64
	for range 10 { // more than there are keys to be used in turn
		want = append(want, p.join("q").Me.Token)
	}
	arrive(t, admin, late)
	if got := p.queue("q"); !slices.Equal(got, want) {
		t.Errorf("the queue is %v after late requests, want %v", got, want)
	}
}

// A store that was restored to an earlier state, with the lease, has the session's key at
// an older epoch: no join would ever succeed again, so the lease counts as gone.
func TestLeaseOfAStoreThatWentBackInTimeIsGone(t *testing.T) {
	var b barrier
	p := enter(t, nil, b.option())
	c := claim("q")
	etcd.SkipEpochs(p.Lease, 1000)
	if _, err := p.Join(t.Context(), c); !errors.Is(err, driver.ErrLeaseGone) {
		t.Errorf("Join returned %v, want ErrLeaseGone", err)
	}
	n := b.count()
	if _, err := p.Resolve(t.Context(), c); !errors.Is(err, driver.ErrLeaseGone) {
		t.Errorf("Resolve returned %v, want ErrLeaseGone", err)
	}
	if err := p.Withdraw(t.Context(), c); !errors.Is(err, driver.ErrLeaseGone) {
		t.Errorf("Withdraw returned %v, want ErrLeaseGone", err)
	}
	if got := b.count() - n; got != 2 {
		t.Errorf("%d requests, want one each", got)
	}
}

// A Join that is still under way when its claim is withdrawn, as the session is closed, makes no
// further attempt: that would be guarded on an epoch from after the withdrawal.
func TestJoinThatIsWithdrawnTriesNoMore(t *testing.T) {
	for _, first := range []string{"join", "withdrawal"} {
		t.Run(first+" ends first", func(t *testing.T) {
			var b barrier
			p := enter(t, nil, b.option())
			c := claim("q")
			resumeJoin := b.stop(t, func(txn *pb.TxnRequest) bool { return len(txn.Compare) == 2 })
			joined, withdrawn := make(chan error, 1), make(chan error, 1)
			n := b.count()
			go func() {
				_, err := p.Join(t.Context(), c)
				joined <- err
			}()
			b.await(t, n+1)
			if _, err := p.Resolve(t.Context(), claim("other")); !errors.Is(err, driver.ErrEntryGone) {
				t.Fatalf("Resolve returned %v, want ErrEntryGone", err)
			}
			n = b.count()
			resumeWithdrawal := b.stop(t, onlyOne())
			go func() { withdrawn <- p.Withdraw(t.Context(), c) }()
			b.await(t, n+1)
			expect := func(ended <-chan error, fails bool) {
				t.Helper()
				if err := <-ended; (err != nil) != fails {
					t.Errorf("it returned %v", err)
				}
			}
			if first == "join" {
				resumeJoin()
				expect(joined, true)
				resumeWithdrawal()
				expect(withdrawn, false)
			} else {
				resumeWithdrawal()
				expect(withdrawn, false)
				resumeJoin()
				expect(joined, true)
			}
			if got := p.queue("q"); len(got) > 0 {
				t.Errorf("the queue is %v after its only claim was withdrawn", got)
			}
		})
	}
}
