package zk_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/zk"
)

// back joins a queue that it has just left, until its entry is watched.
func (p *party) back(name string) driver.View {
	p.t.Helper()
	for begun := time.Now(); time.Since(begun) < patience; {
		p.leave(p.join(name).Me)
		v := p.join(name)
		for range 50 {
			if zk.WatchesOwn(p.Lease, v.Me) {
				return v
			}
			<-time.After(2 * time.Millisecond)
		}
		p.leave(v.Me) // it took too long to come back
	}
	p.t.Fatal("an entry that is next in line is never watched")
	return driver.View{}
}

func TestWhoIsNextAndWatchedHasItsTurnWhenTheOtherLeaves(t *testing.T) {
	t.Parallel()
	a, b := enter(t, nil), enter(t, nil)
	first := a.join("q")
	me := b.back("q")
	end := b.wait(me)
	a.leave(first.Me)
	v := over(t, end)
	if v.Me.Token != me.Me.Token || len(v.Ahead) > 0 {
		t.Errorf("the view is %+v, want nobody ahead of token %d", v, me.Me.Token)
	}
	if q := b.queue("q"); len(q) != 1 || q[0] != me.Me.Token {
		t.Errorf("the queue is %v, want [%d]", q, me.Me.Token)
	}
}

// That its own entry was removed by hand is found out without a look at the queue, too.
func TestWhoIsNextAndWasRemovedHasNoTurn(t *testing.T) {
	t.Parallel()
	a, b := enter(t, nil), enter(t, nil)
	h := byHand(t, server.Addr(), "")
	for range 20 {
		first := a.join("q")
		me := b.back("q")
		end := b.wait(me)
		if err := h.Delete(me.Me.Key, -1); err != nil {
			t.Fatal(err)
		}
		a.leave(first.Me)
		select {
		case w := <-end:
			if !errors.Is(w.err, driver.ErrEntryGone) {
				t.Fatalf("Wait of an entry that was removed returned %+v, %v, want ErrEntryGone", w.view, w.err)
			}
		case <-time.After(patience):
			t.Fatal("still waiting")
		}
		b.leave(me.Me)
	}
}

// Where others are ahead as well, the nearest one's leaving means nothing yet.
func TestWhoIsNotNextLooksAgain(t *testing.T) {
	t.Parallel()
	a, b := enter(t, nil), enter(t, nil)
	a.join("q")
	b.leave(b.join("q").Me)
	second := a.join("q")
	me := b.join("q")
	end := b.wait(me)
	a.leave(second.Me)
	if v := over(t, end); len(v.Ahead) != 1 {
		t.Errorf("ahead are %v, want the holder", tokens(v.Ahead))
	}
}
