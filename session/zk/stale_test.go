package zk_test

import (
	"testing"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/zk"
)

// Who was told of a release, and then is refused what was released, has been told something
// that was not so at any moment of its call.
func TestJoinIsNotRefusedForWhatALaggingServerShows(t *testing.T) {
	t.Parallel()
	alone := func(v driver.View) bool { return len(v.Ahead) == 0 }
	for what, c := range map[string]struct {
		held, wanted driver.Claim
		admit        func(driver.View) bool
	}{
		"a lock":                            {claim("q"), claim("q"), alone},
		"a permit":                          {permit(1), permit(1), alone},
		"another limit":                     {permit(3), permit(5), nil},
		"another limit, if it may have one": {permit(3), permit(5), alone},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p, q := enter(t, nil), enter(t, nil)
			lag := zk.Lag(q.Lease)
			v, err := p.Join(bounded(t), c.held)
			if err != nil {
				t.Fatal(err)
			}
			c.wanted.Admit = c.admit
			if v, err := q.Join(bounded(t), c.wanted); err == nil {
				t.Fatalf("Join of what is held returned %+v", v)
			}
			p.leave(v.Me)
			lag()
			mine, err := q.Join(bounded(t), c.wanted)
			if err != nil {
				t.Fatalf("Join of what was released returned %v", err)
			}
			q.leave(mine.Me)
		})
	}
}

// The server that the queue is looked at on may not know yet that the session was closed.
func TestRevokeTakesTheLimitAwayWhereAServerLags(t *testing.T) {
	t.Parallel()
	p := enter(t, nil)
	lag, err := zk.LagReading(bounded(t), p.store)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Join(bounded(t), permit(1)); err != nil {
		t.Fatal(err)
	}
	if tokens := p.queue("q"); len(tokens) != 1 {
		t.Fatalf("the queue is %v, want one permit", tokens)
	}
	lag()
	if err := p.Revoke(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if _, full := byHand(t, server.Addr(), "").tree(prefix(t)); len(full) > 0 {
		t.Errorf("after Revoke there is %v", full)
	}
}

// What is learned of an owner is remembered, so it has to be true.
func TestOwnerIsIdentifiedWhereAServerLags(t *testing.T) {
	t.Parallel()
	p := enter(t, nil)
	lag, err := zk.LagReading(bounded(t), p.store)
	if err != nil {
		t.Fatal(err)
	}
	lag()
	e := enter(t, nil).join("q").Me
	for _, again := range []bool{false, true} {
		if who, err := p.store.Identify(bounded(t), e); err != nil || who != "party" {
			t.Errorf("the owner is %q, %v (again: %t), want party", who, err, again)
		}
	}
}
