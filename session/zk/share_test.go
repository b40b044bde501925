package zk_test

import (
	"sync"
	"testing"
)

// After a connection was lost, all joins that were under way are settled at once. Each
// would move the epoch on, and fail where another has; the more, the longer it takes.
func TestManyClaimsAreSettledBehindFewFences(t *testing.T) {
	t.Parallel()
	p := enter(t, nil)
	h := byHand(t, server.Addr(), "")
	fences := func() int {
		_, stat, err := h.Get(prefix(t) + "/.fairlead/v1/session/" + p.ID())
		if err != nil {
			t.Fatal(err)
		}
		return int(stat.Version)
	}
	before := fences()
	var work sync.WaitGroup
	const claims = 300
	for range claims {
		work.Go(func() {
			if err := p.Withdraw(bounded(t), claim("q")); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if n := fences() - before; n < 1 || n > claims/10 {
		t.Errorf("%d claims took %d fences, want a few", claims, n)
	}
}
