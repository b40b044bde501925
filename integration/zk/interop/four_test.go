package interop

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// A census knows who is inside. Curator and kazoo may be there together: Curator
// takes no node of kazoo's for a contender.
type census struct {
	mu     sync.Mutex
	inside map[string]int
	seen   map[string]int // how often each was inside
}

func (c *census) enter(who string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for other, n := range c.inside {
		blind := who == "Curator" && other == "kazoo" || who == "kazoo" && other == "Curator"
		if n > 0 && !blind {
			err = fmt.Errorf("%s is inside with %s", who, other)
		}
	}
	c.inside[who]++
	c.seen[who]++
	return err
}

func (c *census) leave(who string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside[who]--
}

// That two of the others do not see each other must not let either in beside us,
// or us beside them: who is nearest ahead may go before those further ahead.
func TestNobodyIsInsideWithUsThoughCuratorAndKazooMayBe(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		const rounds = 12
		name, ctx := nameFor(t), bounded(t)
		one, two := p.open(t, "one"), p.open(t, "two")
		c := &census{inside: map[string]int{}, seen: map[string]int{}}
		var wg sync.WaitGroup
		for who, take := range map[string]turn{
			"a mutex of ours":     ourTurn(one, "mutex", name),
			"another of ours":     ourTurn(two, "mutex", name),
			"a candidate of ours": ourTurn(two, "election", name),
			"Curator":             theirTurn(p.curator, name),
			"kazoo":               theirTurn(p.kazoo, name),
			"go-zookeeper":        theirTurn(p.gozk, name),
		} {
			wg.Go(func() {
				for range rounds {
					err := take(ctx, func(uint64) {
						if err := c.enter(who); err != nil {
							t.Error(err)
						}
						time.Sleep(time.Millisecond) // for others to come in
						c.leave(who)
					})
					if err != nil {
						t.Errorf("%s: %v", who, err)
						return
					}
				}
			})
		}
		wg.Wait()
		for who, n := range c.seen {
			if n != rounds {
				t.Errorf("%s was inside %d times, want %d", who, n, rounds)
			}
		}
		p.queued(t, name, 0)
	})
}
