package zk_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
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

// Who shrinks a limit relies on it: all who joined before the flag was set, and so do not
// stamp their entries, are in a queue that is read with the flag.
func TestQueueReadWithTheFlagHasAllWhoJoinedBefore(t *testing.T) {
	t.Parallel()
	a := enter(t, nil)
	permit := func() driver.View {
		c := claim("q")
		c.Kind, c.Mode, c.Value, c.Limit, c.Private = "semaphore", driver.Permit, "1", 3, true
		v, err := a.Join(bounded(t), c)
		if err != nil {
			t.Error(err)
		}
		return v
	}
	permit()
	var newcomer driver.View
	q, err := zk.ReadWhile(bounded(t), a.store, "q", func() {
		newcomer = permit()
		if err := a.store.SetLimit(bounded(t), "q", newcomer.Limit, driver.Limit{N: 3, Stamp: true}); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !q.Limit.Stamp || len(q.Entries) != 2 || q.Entries[1].Token != newcomer.Me.Token {
		t.Errorf("the queue was read as %v with limit %+v, want the newcomer %d with the flag", tokens(q.Entries), q.Limit, newcomer.Me.Token)
	}
}

// What happened during an outage is told in any order.
func TestWhoIsNextAndWasRemovedDuringAnOutageHasNoTurn(t *testing.T) {
	t.Parallel()
	link := &drivertest.Link{}
	a, b := enter(t, nil), enter(t, link)
	h := byHand(t, server.Addr(), "")
	for range 8 {
		first := a.join("q")
		me := b.back("q")
		end := b.wait(me)
		link.Freeze()
		for _, key := range []string{me.Me.Key, first.Me.Key} {
			if err := h.Delete(key, -1); err != nil {
				t.Fatal(err)
			}
		}
		link.Cut()
		link.Heal()
		select {
		case w := <-end:
			if !errors.Is(w.err, driver.ErrEntryGone) {
				t.Fatalf("Wait of an entry that was removed returned %+v, %v, want ErrEntryGone", w.view, w.err)
			}
		case <-time.After(patience):
			t.Fatal("still waiting")
		}
		a.leave(first.Me)
		b.leave(me.Me)
	}
}
