package zkserver

import (
	"errors"
	"testing"
)

func TestExpireEndsTheSessionAndItsNodes(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, quick()), bounded(t)
	victim, bystander := connect(t, s.Addr()), connect(t, s.Addr())
	victim.create(t, "/victim", ephemeral)
	bystander.create(t, "/bystander", ephemeral)

	if err := Expire(ctx, s.Addr(), victim.id, victim.password); err != nil {
		t.Fatal(err)
	}
	if bystander.exists(t, "/victim") {
		t.Error("the session's node is there after its end")
	}
	if !bystander.exists(t, "/bystander") {
		t.Error("another session's node is gone")
	}
	victim.ended(t)
	if err := Expire(ctx, s.Addr(), victim.id, victim.password); !errors.Is(err, errNoSession) {
		t.Errorf("Expire of a session that has ended = %v, want %v", err, errNoSession)
	}
}

func TestExpireNeedsThePassword(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, quick()), bounded(t)
	c := connect(t, s.Addr())
	c.create(t, "/here", ephemeral)
	if err := Expire(ctx, s.Addr(), c.id, make([]byte, 16)); !errors.Is(err, errNoSession) {
		t.Errorf("Expire with a wrong password = %v, want %v", err, errNoSession)
	}
	if !connect(t, s.Addr()).exists(t, "/here") {
		t.Error("the session's node is gone")
	}
}
