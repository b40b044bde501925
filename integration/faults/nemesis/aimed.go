package nemesis

import (
	"context"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/integration/proxy"
)

// What is aimed at one weakness. No seed draws these.
const (
	LoseReplies Kind = "lose replies" // requests reach the store, and the connection breaks before the answers
	Fade        Kind = "fade away"    // answers come late, and then no request gets through any more
)

// loseReplies lets no answer out for a while, and then cuts the connections that they
// would have come by, again and again.
func (n *Nemesis) loseReplies(ctx context.Context, f Fault, s *journal.Strike, all []*proxy.Proxy) {
	n.done(s)
	for end := time.Now().Add(f.For); time.Now().Before(end) && sleep(ctx, f.Delay); {
		for _, p := range all {
			p.Freeze(proxy.Down)
		}
		sleep(ctx, f.Delay)
		for _, p := range all {
			p.Cut()
			p.Thaw(proxy.Down)
		}
	}
}

// fade delays the answers for half of the time, at first by half, and cuts the way up
// for the rest of it: the last answers that arrive are to requests from before the cut.
func (n *Nemesis) fade(ctx context.Context, f Fault, s *journal.Strike, all []*proxy.Proxy) {
	n.done(s)
	for _, delay := range []time.Duration{f.Delay / 2, f.Delay} {
		for _, p := range all {
			p.Delay(proxy.Down, delay)
		}
		sleep(ctx, f.For/4)
	}
	for _, p := range all {
		p.Freeze(proxy.Up)
	}
	sleep(ctx, f.For/2)
	for _, p := range all {
		p.Thaw(proxy.Up)
		p.Delay(proxy.Down, 0)
	}
}
