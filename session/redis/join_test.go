package redis_test

import (
	"errors"
	"testing"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// A claim that is withdrawn leaves a mark in the session, in case its Join arrives yet. Those
// marks are cleared now and then, whereupon no Join from before counts any more.
func TestWithdrawnClaimsDoNotPileUpAndStayWithdrawn(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	var link drivertest.Link
	p := enter(t, s, &link)
	held := p.join("held")

	late := claim("q")
	link.Detain(1)
	if _, err := p.Join(bounded(t), late); err == nil {
		t.Fatal("a Join that was kept back has succeeded")
	}
	eventually(t, func() error { return p.Withdraw(bounded(t), late) })
	for range 2500 {
		if err := p.Withdraw(bounded(t), claim("q")); err != nil {
			t.Fatal(err)
		}
		if err := errOf(p.Resolve(bounded(t), claim("q"))); !errors.Is(err, driver.ErrEntryGone) {
			t.Fatal(err)
		}
	}
	if n := do(t, s, "HLEN", "{fairlead}:s:"+p.ID()).(int64); n > 1100 {
		t.Errorf("after 5,000 claims were withdrawn the session's hash has %d fields", n)
	}
	n := scripts(t, s, link.Deliver)
	if n == 0 {
		t.Error("what was kept back has not arrived")
	}
	if n := do(t, s, "EXISTS", "{fairlead}:q:q"); n != int64(0) {
		t.Error("a Join that was withdrawn has applied")
	}

	// The session goes on as before.
	if v := p.join("q"); len(v.Ahead) != 0 {
		t.Errorf("%v is ahead, want nobody", v.Ahead)
	}
	entries, err := p.Entries(bounded(t))
	if err != nil || len(entries) != 2 {
		t.Errorf("the session has %v, %v, want two entries", entries, err)
	}
	if _, err := p.Look(bounded(t), held.Me); err != nil {
		t.Error(err)
	}
	again := claim("q")
	if err := p.Withdraw(bounded(t), again); err != nil {
		t.Error(err)
	}
	if v, err := p.Join(bounded(t), again); err == nil {
		t.Errorf("a claim that was withdrawn has the entry %v", v.Me)
	}
}
