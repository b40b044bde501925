package redis_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session/driver"
)

// A server that makes room by throwing away keys throws away locks.
func TestServerThatEvictsIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, redisserver.Config{})
	for _, policy := range []string{
		"allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
	} {
		do(t, s, "CONFIG", "SET", "maxmemory-policy", policy)
		refusedAtOnce(t, serverURL(s, ""), policy)
		refusedAtOnce(t, serverURL(s, ""), "noeviction")
	}
	do(t, s, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	if st, err := openStore(t, serverURL(s, "")); err != nil {
		t.Error(err)
	} else if err := st.Close(); err != nil {
		t.Error(err)
	}
}

// Who is out of memory is to have less, not more: what gives something back works, and
// so does what keeps the sessions alive that are there.
func TestServerOutOfMemoryRefusesJoinsAlone(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	p, other := enter(t, s, nil), enter(t, s, nil)
	first, second := p.join("q"), other.join("q")
	end := other.wait(second)
	shared, err := p.Join(bounded(t), permit("s", 2))
	if err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)

	do(t, s, "CONFIG", "SET", "maxmemory", "1")
	lost := claim("q")
	for what, err := range map[string]error{
		"Join":     errOf(p.Join(ctx, lost)),
		"Grant":    grantErr(t, p.store),
		"Update":   errOf(p.Update(ctx, first.Me, "value")),
		"SetLimit": p.store.SetLimit(ctx, "s", shared.Limit, driver.Limit{N: 3}),
	} {
		if !driver.IsPermanent(err) {
			t.Errorf("%s: %v, want a permanent error", what, err)
		}
		mustBeRefused(t, err, "raise maxmemory")
	}
	for what, err := range map[string]error{
		"Renew":    errors.Join(p.Renew(ctx), other.Renew(ctx)),
		"Check":    p.Check(ctx),
		"Look":     errOf(p.Look(ctx, first.Me)),
		"Read":     errOf(p.store.Read(ctx, "q", 0)),
		"List":     errOf(p.store.List(ctx, "")),
		"Entries":  errOf(p.Entries(ctx)),
		"Withdraw": p.Withdraw(ctx, lost),
		"Open":     func() error { st, err := openStore(t, serverURL(s, "")); return errors.Join(err, st.Close()) }(),
		"Leave":    p.Leave(ctx, first.Me),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if v := over(t, end); len(v.Ahead) != 0 {
		t.Errorf("after the first has left %+v is ahead", v.Ahead)
	}
	if err := errors.Join(p.Revoke(ctx), other.Revoke(ctx)); err != nil {
		t.Error(err)
	}
	if left := do(t, s, "DBSIZE"); left != int64(2) {
		t.Errorf("of all that was there %v keys are left, want guard and token", left)
	}

	do(t, s, "CONFIG", "SET", "maxmemory", "0")
	p = begin(t, p.store, longTTL)
	if v := p.join("q"); len(v.Ahead) != 0 {
		t.Errorf("%+v is ahead", v.Ahead)
	}
}

func grantErr(t *testing.T, st driver.Store) error {
	_, _, err := st.Grant(bounded(t), driver.Spec{TTL: longTTL})
	return err
}

// The caller is told, and its session goes on with what it holds.
func TestLockFailsAtOnceWithoutMemoryAndWorksWithIt(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	o := open(t, serverURL(s, ""), "party", longTTL)
	g := lock(t, o, "held")
	do(t, s, "CONFIG", "SET", "maxmemory", "1")
	ctx := bounded(t)
	_, err := mutex.New(o, "q").Lock(ctx)
	if mustBeRefused(t, err, "maxmemory"); ctx.Err() != nil {
		t.Errorf("%v came as late as %v", err, patience)
	}
	if err := errors.Join(o.Check(ctx), g.Confirm(ctx), g.Release(ctx)); err != nil {
		t.Error(err)
	}
	do(t, s, "CONFIG", "SET", "maxmemory", "0")
	lock(t, o, "q")
	eventually(t, func() error {
		if n := do(t, s, "ZCARD", "{fairlead}:q:q"); n != int64(1) {
			return fmt.Errorf("%v entries, want that of the holder", n)
		}
		return nil
	})
}
