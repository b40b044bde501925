package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/proxy"
	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// One holds and others wait when the primary dies. Whatever the replica has of that, all
// sessions are over, and nobody is let in until the longest of them has run out.
func TestFailoverLetsNobodyInBeforeTheHolderKnows(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(*redisserver.Server) error{
		"killed": (*redisserver.Server).Kill,
		"frozen": (*redisserver.Server).Stop,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const longest = 6 * time.Second
			r := pairOf(t, 3)
			primary, replica := r.Servers()[0], r.Servers()[1]
			holder := open(t, through(r, ""), "holder", shortTTL)
			open(t, through(r, ""), "bystander", longest)
			var in room
			g := lock(t, holder, "q")
			in.enter(g)
			var waiters []*call[*session.Grant]
			for i := range 3 {
				s := open(t, through(r, ""), fmt.Sprint("waiter ", i), shortTTL)
				waiters = append(waiters, in.visiting(bounded(t), s, "q"))
				queued(t, primary, "q", int64(i+2))
			}
			if err := r.WaitReplicated(bounded(t)); err != nil {
				t.Fatal(err)
			}

			if err := away(primary); err != nil {
				t.Fatal(err)
			}
			gone := time.Now()
			late := open(t, through(r, ""), "late", shortTTL)
			if early := time.Until(gone.Add(longest)); early > rounding {
				t.Errorf("a session began %v before the longest of those before had run out", early)
			}
			mustBeLost(t, g)
			for _, w := range waiters {
				w.must(t)
			}
			in.visiting(bounded(t), late, "q").must(t)
			in.visited(t, 5)
			in.notBefore(t, gone.Add(longest))
			queued(t, replica, "q", 0)
		})
	}
}

// A primary that is told to step down has lost nothing, but who was there cannot know.
func TestOrderlyFailoverIsOneLikeAnother(t *testing.T) {
	t.Parallel()
	r := pairOf(t, 3)
	holder, waiter := open(t, through(r, ""), "holder", shortTTL), open(t, through(r, ""), "waiter", shortTTL)
	var in room
	g := lock(t, holder, "q")
	in.enter(g)
	next := in.visiting(bounded(t), waiter, "q")
	queued(t, r.Servers()[0], "q", 2)
	if err := r.Failover(bounded(t)); err != nil {
		t.Fatal(err)
	}
	mustBeLost(t, g)
	next.must(t)
	// And back, when the one that was the primary first knows of all that.
	again := lock(t, holder, "q")
	in.enter(again)
	if err := r.Failover(bounded(t)); err != nil {
		t.Fatal(err)
	}
	mustBeLost(t, again)
	in.visiting(bounded(t), waiter, "q").must(t)
	in.visited(t, 4)
}

// A join is acknowledged when the replica has it.
func TestJoinThatWaitsForAReplicaIsThereAfterAFailover(t *testing.T) {
	t.Parallel()
	r := pairOf(t, 0)
	primary, replica := r.Servers()[0], r.Servers()[1]
	st := connect(t, at([]string{primary.Addr()}, "?wait=1"), nil)
	defer st.Close()
	l, _, err := st.Grant(bounded(t), driver.Spec{TTL: longTTL})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		name := fmt.Sprint("q", i)
		v, err := l.Join(bounded(t), claim(name))
		if err != nil {
			t.Fatal(err)
		}
		// Without any delay: Join has waited already.
		if got := do(t, replica, "HEXISTS", "{fairlead}:d:"+name, v.Me.ID); got != int64(1) {
			t.Fatalf("the %d. join has returned, and the replica has no entry", i+1)
		}
	}
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	promote(t, replica)
	for i := range 50 {
		queued(t, replica, fmt.Sprint("q", i), 1)
	}
}

// Where no replica answers nobody is let in who asks for one, and no session begins.
func TestJoinThatWaitsForAReplicaFailsWithoutIt(t *testing.T) {
	t.Parallel()
	r := pairOf(t, 0)
	primary, replica := r.Servers()[0], r.Servers()[1]
	st := connect(t, at([]string{primary.Addr()}, "?wait=1"), nil)
	defer st.Close()
	l, _, err := st.Grant(bounded(t), driver.Spec{TTL: longTTL})
	if err != nil {
		t.Fatal(err)
	}
	first, err := l.Join(bounded(t), claim("q"))
	if err != nil {
		t.Fatal(err)
	}
	if err := replica.Stop(); err != nil {
		t.Fatal(err)
	}
	ctx, lost := bounded(t), claim("other")
	_, join := l.Join(ctx, lost)
	_, _, grant := st.Grant(ctx, driver.Spec{TTL: longTTL})
	for what, err := range map[string]error{"Join": join, "Grant": grant} {
		if err == nil || ctx.Err() != nil || driver.IsPermanent(err) || !strings.Contains(err.Error(), "0 of 1 replicas") {
			t.Errorf("%s: %v, want a temporary error about the replica", what, err)
		}
	}
	// What needs no replica goes on: the session lives, and is left by who leaves.
	if err := errors.Join(l.Renew(ctx), l.Leave(ctx, first.Me)); err != nil {
		t.Error(err)
	}
	if err := replica.Cont(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { // it is connected again
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := l.Resolve(ctx, lost)
		return err
	})
}

// What is not guaranteed. The replica has not got the holder's entry when it takes over,
// and the holder is not told, because it goes on to reach the old primary, which does not
// know that it is none any more: both let somebody in, for as long as that lasts. The
// tokens tell who is the later one.
func TestTwoHoldAfterAnAsynchronousFailoverOfWhichOneIsNotTold(t *testing.T) {
	t.Parallel()
	r := pairOf(t, 0)
	old, replica := r.Servers()[0], r.Servers()[1]
	holder := open(t, at([]string{old.Addr()}, ""), "holder", shortTTL)
	if err := r.WaitReplicated(bounded(t)); err != nil {
		t.Fatal(err)
	}
	do(t, replica, "REPLICAOF", "127.0.0.1", "1") // where nobody is: so it falls behind
	first := lock(t, holder, "q")
	promote(t, replica)
	second := lock(t, open(t, at([]string{replica.Addr()}, ""), "other", shortTTL), "q")
	if first.Check() != nil || first.Confirm(bounded(t)) != nil {
		t.Fatal("the first holder knows of its loss: this can be guaranteed after all")
	}
	if err := second.Confirm(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if second.Token() <= first.Token() {
		t.Errorf("token %d was granted after %d", second.Token(), first.Token())
	}
	t.Logf("two hold: %d and %d", first.Token(), second.Token())

	// When the old primary learns of it, its holder does.
	follow(t, old, replica)
	mustBeLost(t, first)
	if err := second.Confirm(bounded(t)); err != nil {
		t.Errorf("and the later one loses what it has: %v", err)
	}
}

// The same of a holder that nobody tells anything: it goes by its own trust, for as long as
// nobody contradicts, and that ends before the next one is let in.
func TestHolderCutOffFromBothSidesOfAFailoverLosesFirst(t *testing.T) {
	t.Parallel()
	r := pairOf(t, 0)
	old, replica := r.Servers()[0], r.Servers()[1]
	p, err := proxy.Listen(old.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	holder := open(t, at([]string{p.Addr()}, ""), "holder", shortTTL)
	var in room
	g := lock(t, holder, "q")
	in.enter(g)
	if err := r.WaitReplicated(bounded(t)); err != nil {
		t.Fatal(err)
	}
	p.Freeze(proxy.Both)
	t.Cleanup(func() { p.Thaw(proxy.Both) })
	promote(t, replica)
	other := open(t, at([]string{replica.Addr()}, ""), "other", shortTTL)
	in.visiting(bounded(t), other, "q").must(t)
	in.visited(t, 2)
	mustBeLost(t, g)
}

// A session of the first primary must not come back to life with it, after another one has
// been the primary meanwhile and has let others in.
func TestSessionOfAnEarlierReignStaysLost(t *testing.T) {
	t.Parallel()
	r := pairOf(t, 0)
	a, b := r.Servers()[0], r.Servers()[1]
	st := connect(t, at([]string{a.Addr()}, ""), nil)
	defer st.Close()
	l, _, err := st.Grant(bounded(t), driver.Spec{TTL: longTTL})
	if err != nil {
		t.Fatal(err)
	}
	v, err := l.Join(bounded(t), claim("q"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.WaitReplicated(bounded(t)); err != nil {
		t.Fatal(err)
	}
	promote(t, b)
	follow(t, a, b)
	// Somebody looks at the other one, where the entry is of no session.
	other := connect(t, at([]string{b.Addr()}, ""), nil)
	defer other.Close()
	if q, err := other.Read(bounded(t), "q", 0); err != nil || len(q.Entries) != 0 {
		t.Fatalf("%v is in the queue, %v", q.Entries, err)
	}
	if err := r.WaitReplicated(bounded(t)); err != nil {
		t.Fatal(err)
	}
	promote(t, a)
	if err := l.Renew(bounded(t)); !errors.Is(err, driver.ErrLeaseGone) {
		_, look := l.Look(bounded(t), v.Me)
		t.Errorf("the session is alive again: %v; its entry: %v", err, look)
	}
}
