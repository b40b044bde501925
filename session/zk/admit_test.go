package zk_test

import (
	"testing"

	"github.com/fairlead-go/fairlead/session/driver"
)

// The last permit takes the limit with it. Who joins in the same moment has yet to put it
// back when another looks, who must not take the queue for one of another kind.
func TestPermitsAheadWithoutALimitAreNoOtherKind(t *testing.T) {
	t.Parallel()
	a, b := enter(t, nil), enter(t, nil)
	permit := func() driver.Claim {
		c := claim("q")
		c.Kind, c.Mode, c.Limit = "semaphore", driver.Permit, 3
		return c
	}
	first, err := a.Join(bounded(t), permit())
	if err != nil {
		t.Fatal(err)
	}
	h := byHand(t, server.Addr(), "")
	c := permit()
	asked := 0
	c.Admit = func(v driver.View) bool {
		if asked++; asked == 1 {
			// The limit goes, and somebody changes the queue, so that it is looked at again.
			if err := h.Delete(prefix(t)+"/.fairlead/v1/limit/q", -1); err != nil {
				t.Error(err)
			}
			if _, err := h.Set(prefix(t)+"/q", nil, -1); err != nil {
				t.Error(err)
			}
		}
		return len(v.Ahead) == 1 && v.Limit.N == 3
	}
	v, err := b.Join(bounded(t), c)
	if err != nil {
		t.Fatalf("a conditional Join behind a permit without a limit: %v", err)
	}
	if v.Limit.N != 3 {
		t.Errorf("the limit is %d, want 3", v.Limit.N)
	}
	b.leave(v.Me)
	a.leave(first.Me)
}
