package nemesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/integration/proxy"
)

// reserveAgain is how long to wait for a client to be free.
const reserveAgain = 10 * time.Millisecond

// reserve chooses a client that no other lane is busy with, and reports whether it
// found one.
func (n *Nemesis) reserve(ctx context.Context, pick uint64) (client int, ok bool) {
	for ctx.Err() == nil {
		all := n.Cast.Clients()
		for i := range all {
			client = int((pick + uint64(i)) % uint64(all))
			if n.take(client) {
				return client, true
			}
		}
		sleep(ctx, reserveAgain)
	}
	return 0, false
}

// take reserves a client, if no other lane is busy with it.
func (n *Nemesis) take(client int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hit[client] {
		return false
	}
	n.hit[client] = true
	return true
}

func (n *Nemesis) release(client int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.hit, client)
}

// strikeClient does something to a client or its network, and undoes it.
func (n *Nemesis) strikeClient(ctx context.Context, f Fault) error {
	pick := f.Pick
	if f.Kind == KillHolder || f.Kind == FreezeHolder || f.Pick%4 != 0 {
		pick = n.holder(ctx, pick)
	}
	client, ok := n.reserve(ctx, pick)
	if !ok {
		return nil
	}
	defer n.release(client)
	s := n.begin(f, fmt.Sprintf("%s: %s for %v", f.Kind, n.Cast.Life(client), f.For.Round(time.Millisecond)))
	s.Client, s.Life = client, n.Cast.Life(client)
	s.From = journal.Now()
	switch f.Kind {
	case KillClient, KillHolder:
		s.Death = true
		err := n.Cast.Kill(client)
		n.done(s)
		sleep(ctx, f.For)
		return errors.Join(err, n.Cast.Revive(client))
	case PauseClient, FreezeClient, FreezeHolder:
		s.Frozen = true
		err := n.Cast.Freeze(client)
		n.done(s)
		sleep(ctx, f.For)
		err = errors.Join(err, n.Cast.Thaw(client))
		n.undone(s)
		return err
	}
	s.Cut = true
	n.disturb(ctx, f, s, n.Cast.Network(client))
	n.undone(s)
	return nil
}

// disturb makes a bad network of a client's, for a while.
func (n *Nemesis) disturb(ctx context.Context, f Fault, s *journal.Strike, all []*proxy.Proxy) {
	each := func(do func(*proxy.Proxy)) {
		for _, p := range all {
			do(p)
		}
	}
	direction := proxy.Both
	switch f.Kind {
	case Blip:
		each(func(p *proxy.Proxy) { p.Cut() })
		n.done(s)
		return
	case Slow:
		s.Text += fmt.Sprintf(", %v later each way", f.Delay.Round(time.Millisecond))
		each(func(p *proxy.Proxy) { p.Delay(proxy.Both, f.Delay) })
		n.done(s)
		sleep(ctx, f.For)
		each(func(p *proxy.Proxy) { p.Delay(proxy.Both, 0) })
		return
	case Lossy:
		s.Text += fmt.Sprintf(", every %v", f.Delay.Round(time.Millisecond))
		n.done(s)
		for end := time.Now().Add(f.For); time.Now().Before(end) && sleep(ctx, f.Delay); {
			each(func(p *proxy.Proxy) { p.Cut() })
		}
		return
	case LoseReplies:
		n.loseReplies(ctx, f, s, all)
		return
	case Fade:
		n.fade(ctx, f, s, all)
		return
	case CutOne:
		i := int(f.Pick>>32) % len(all)
		all = all[i : i+1]
	case CutUp:
		direction = proxy.Up
	case CutDown:
		direction = proxy.Down
	}
	each(func(p *proxy.Proxy) { p.Freeze(direction) })
	n.done(s)
	sleep(ctx, f.For)
	each(func(p *proxy.Proxy) { p.Thaw(direction) })
}
