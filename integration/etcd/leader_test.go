package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/session"
)

// observe ranges over e in the background. next returns the first leader from
// now on that satisfies want.
func observe(t *testing.T, e *election.Election) (next func(what string, want func(election.Leader) bool) election.Leader) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan election.Leader, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for l, err := range e.Observe(ctx) {
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("observe: %v", err)
				}
				return
			}
			select {
			case seen <- l:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return func(what string, want func(election.Leader) bool) election.Leader {
		t.Helper()
		limit := bounded(t)
		for {
			select {
			case l := <-seen:
				if want(l) {
					return l
				}
			case <-limit.Done():
				t.Fatalf("Observe did not show %s", what)
			}
		}
	}
}

func nobody(l election.Leader) bool { return l.Token == 0 }

func withValue(v string) func(election.Leader) bool {
	return func(l election.Leader) bool { return l.Token != 0 && l.Value == v }
}

func TestWeSeeTheirLeader(t *testing.T) {
	t.Parallel()
	name, ctx := nameFor(t), bounded(t)
	e := election.New(open(t, shared.Addr(), quiet("ours", 0)), name)
	if l, err := e.Leader(ctx); !errors.Is(err, session.ErrNoLeader) {
		t.Fatalf("Leader() = %+v, %v; want ErrNoLeader", l, err)
	}
	next := observe(t, e)
	next("that nobody leads", nobody)

	theirs := concurrency.NewElection(foreignSession(t), name)
	if err := theirs.Campaign(ctx, "first"); err != nil {
		t.Fatal(err)
	}
	want := election.Leader{Value: "first", Token: uint64(theirs.Rev())}
	if l, err := e.Leader(ctx); err != nil || l != want {
		t.Errorf("Leader() = %+v, %v; want %+v", l, err, want)
	}
	if l := next("their leader", withValue("first")); l != want {
		t.Errorf("Observe shows %+v, want %+v", l, want)
	}

	if err := theirs.Proclaim(ctx, "second"); err != nil {
		t.Fatal(err)
	}
	if l := next("their proclamation", withValue("second")); l.Token != want.Token {
		t.Errorf("after Proclaim, Observe shows %+v, want token %d", l, want.Token)
	}
	if err := theirs.Resign(ctx); err != nil {
		t.Fatal(err)
	}
	next("that nobody leads any more", nobody)
}

func TestTheySeeOurLeader(t *testing.T) {
	t.Parallel()
	name, ctx := nameFor(t), bounded(t)
	term, err := election.New(open(t, shared.Addr(), quiet("ours", 0)), name).Campaign(ctx, "first")
	if err != nil {
		t.Fatal(err)
	}
	theirs := concurrency.NewElection(foreignSession(t), name)
	expect := func(value string) {
		t.Helper()
		r, err := theirs.Leader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(r.Kvs[0].Value); got != value || uint64(r.Kvs[0].CreateRevision) != term.Token() {
			t.Errorf("their Leader is %q with token %d, want %q with %d", got, r.Kvs[0].CreateRevision, value, term.Token())
		}
	}
	expect("first")
	if err := term.Proclaim(ctx, "second"); err != nil {
		t.Fatal(err)
	}
	expect("second")
	if err := term.Resign(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Leader(ctx); !errors.Is(err, concurrency.ErrElectionNoLeader) {
		t.Errorf("their Leader after our Resign: %v, want ErrElectionNoLeader", err)
	}
}

// The election service of the server itself, for clients in other languages.
func TestElectionServiceAndOursSeeEachOther(t *testing.T) {
	t.Parallel()
	name, ctx := nameFor(t), bounded(t)
	service := v3electionpb.NewElectionClient(shared.admin.ActiveConnection())
	e := election.New(open(t, shared.Addr(), quiet("ours", 0)), name)
	term, err := e.Campaign(ctx, "ours")
	if err != nil {
		t.Fatal(err)
	}
	r, err := service.Leader(ctx, &v3electionpb.LeaderRequest{Name: []byte(name)})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(r.Kv.Value); got != "ours" || uint64(r.Kv.CreateRevision) != term.Token() {
		t.Errorf("the service's leader is %q with token %d, want %q with %d", got, r.Kv.CreateRevision, "ours", term.Token())
	}

	lease, err := shared.admin.Grant(ctx, 30)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = shared.admin.Revoke(context.WithoutCancel(ctx), lease.ID) // a formality: all that hung on it is checked below
	})
	theirs := begin(func() (*v3electionpb.CampaignResponse, error) {
		return service.Campaign(ctx, &v3electionpb.CampaignRequest{Name: []byte(name), Lease: int64(lease.ID), Value: []byte("theirs")})
	})
	queued(t, name, 2)
	theirs.pending(t)
	if err := term.Resign(ctx); err != nil {
		t.Fatal(err)
	}
	won := theirs.must(t)
	want := election.Leader{Value: "theirs", Token: uint64(won.Leader.Rev)}
	if l, err := e.Leader(ctx); err != nil || l != want {
		t.Errorf("Leader() = %+v, %v; want %+v", l, err, want)
	}

	again := begin(func() (*election.Term, error) { return e.Campaign(ctx, "ours again") })
	queued(t, name, 2)
	again.pending(t)
	if _, err := service.Resign(ctx, &v3electionpb.ResignRequest{Leader: won.Leader}); err != nil {
		t.Fatal(err)
	}
	if err := again.must(t).Resign(ctx); err != nil {
		t.Fatal(err)
	}
	queued(t, name, 0)
}

// An observer that fell behind a compaction goes on with the present state.
func TestObserveSurvivesCompactionAndCut(t *testing.T) {
	t.Parallel()
	name, ctx := nameFor(t), bounded(t)
	srv := startServer(t)
	p := behindProxy(t, srv.Addr())
	next := observe(t, election.New(open(t, p.Addr(), quiet("observer", 0)), name))
	next("that nobody leads", nobody)

	leader := election.New(open(t, srv.Addr(), quiet("leader", 0)), name)
	for round := range 3 {
		value := fmt.Sprint("term ", round)
		p.Cut()
		term, err := leader.Campaign(ctx, value)
		if err != nil {
			t.Fatal(err)
		}
		srv.compact(ctx, t)
		next(value, withValue(value))
		if err := term.Resign(ctx); err != nil {
			t.Fatal(err)
		}
		next("that nobody leads after "+value, nobody)
	}
}
