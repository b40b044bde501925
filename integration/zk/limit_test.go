package zk_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/fairlead-go/fairlead/semaphore"
)

// A limit is a node that no session owns. Of those who leave at the same time, on
// different servers, none is alone in the queue, and yet one is the last.
func TestLimitGoesWithTheLastPermits(t *testing.T) {
	t.Parallel()
	s := at(t, calm)
	one, other := semaphore.New(s.open(t, "one", longTTL), "q", 2), semaphore.New(s.open(t, "other", longTTL), "q", 2)
	for round := range 50 {
		var wg, both sync.WaitGroup
		both.Add(2)
		for _, sem := range []*semaphore.Semaphore{one, other} {
			wg.Go(func() {
				g, err := sem.Acquire(bounded(t), 1)
				both.Done()
				both.Wait()
				if err == nil {
					err = g.Release(bounded(t))
				}
				if err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		left, err := s.children(s.root + "/.fairlead/v1/limit")
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("nobody is in the queue, and there are limits of %v", left)
		}
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}
