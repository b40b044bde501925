package zk_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/zk"
)

// back joins a queue that it seems to have just passed on, until it follows the one ahead.
func (p *party) back(name string) driver.View {
	p.t.Helper()
	for begun := time.Now(); time.Since(begun) < patience; {
		zk.PassOn(p.Lease, name)
		v := p.join(name)
		if zk.Follows(p.Lease, v.Me) {
			return v
		}
		p.leave(v.Me) // it took too long to come back
	}
	p.t.Fatal("an entry that comes back never follows")
	return driver.View{}
}

// mustBeGone waits for the end of a Wait whose entry was removed.
func mustBeGone(t *testing.T, end <-chan waited) {
	t.Helper()
	select {
	case w := <-end:
		if !errors.Is(w.err, driver.ErrEntryGone) {
			t.Fatalf("Wait of an entry that was removed returned %+v, %v, want ErrEntryGone", w.view, w.err)
		}
	case <-time.After(patience):
		t.Fatal("still waiting")
	}
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
		mustBeGone(t, end)
		b.leave(me.Me)
	}
}

// alwaysBack has a party look, whenever it has listed a queue, as if it had just passed that on.
func (p *party) alwaysBack(name string, listed func(dir string)) {
	zk.Interpose(p.Lease, func(ops []any, send func() ([]gozk.MultiResponse, error)) ([]gozk.MultiResponse, error) {
		answers, err := send()
		if dir, ok := ops[0].(string); ok {
			listed(dir)
			zk.PassOn(p.Lease, name)
		}
		return answers, err
	})
}

// Its own entry may have been removed before there is a watch on that.
func TestWhoIsNextAndWasRemovedBeforeItWatchesHasNoTurn(t *testing.T) {
	t.Parallel()
	a, b := enter(t, nil), enter(t, nil)
	h := byHand(t, server.Addr(), "")
	removed := 0
	b.alwaysBack("q", func(dir string) {
		if removed > 0 {
			return
		}
		names, _, err := h.Children(dir)
		if err != nil {
			t.Error(err)
		}
		for _, name := range names {
			if strings.Contains(name, "-lock-0000000001") { // the second that was ever made there
				removed++
				if err := h.Delete(dir+"/"+name, -1); err != nil {
					t.Error(err)
				}
			}
		}
	})
	first := a.join("q")
	me := b.join("q")
	if removed != 1 || !zk.Follows(b.Lease, me.Me) {
		t.Fatalf("%d entries were removed, and it follows: %v", removed, zk.Follows(b.Lease, me.Me))
	}
	end := b.wait(me)
	a.leave(first.Me)
	mustBeGone(t, end)
}

// A line is a queue of three: one who holds, one who is next and one who follows, who is
// back in the queue soon and so watches more than the one ahead.
type line struct {
	a, b, c           *party
	first, second, me driver.View

	next, end <-chan waited // of the second and the third
	listings  atomic.Int32  // by the third
}

func lineUp(t *testing.T, link *drivertest.Link) *line {
	t.Helper()
	l := &line{a: enter(t, nil), b: enter(t, nil), c: enter(t, link)}
	zk.Interpose(l.c.Lease, func(ops []any, send func() ([]gozk.MultiResponse, error)) ([]gozk.MultiResponse, error) {
		if _, ok := ops[0].(string); ok {
			l.listings.Add(1)
		}
		return send()
	})
	l.form()
	return l
}

func (l *line) form() {
	l.first, l.second = l.a.join("q"), l.b.join("q")
	l.me = l.c.back("q")
	l.next, l.end = l.b.wait(l.second), l.c.wait(l.me)
	l.listings.Store(0)
}

// waits checks that the third goes on waiting, for somebody who is ahead.
func (l *line) waits(ahead driver.View) {
	t := l.c.t
	t.Helper()
	if v := over(t, l.end); len(v.Ahead) != 1 || v.Ahead[0].Token != ahead.Me.Token {
		t.Fatalf("ahead are %v, want %d", tokens(v.Ahead), ahead.Me.Token)
	}
}

// A queue that changes hands all the time is passed on by events alone.
func TestWhoFollowsTheFirstHasItsTurnWithoutALook(t *testing.T) {
	t.Parallel()
	l := lineUp(t, nil)
	l.a.leave(l.first.Me)
	l.second = over(t, l.next)
	l.b.leave(l.second.Me)
	if v := over(t, l.end); len(v.Ahead) > 0 || v.Me.Token != l.me.Me.Token {
		t.Errorf("the view is %+v, want nobody ahead of token %d", v, l.me.Me.Token)
	}
	if n := l.listings.Load(); n > 0 {
		t.Errorf("the queue was listed %d times before the turn, want never", n)
	}
	if q := l.c.queue("q"); len(q) != 1 || q[0] != l.me.Me.Token {
		t.Errorf("the queue is %v, want [%d]", q, l.me.Me.Token)
	}
}

// Where others are ahead as well, the nearest one's leaving means nothing yet.
func TestWhoFollowsOneThatGivesUpHasNoTurn(t *testing.T) {
	t.Parallel()
	l := lineUp(t, nil)
	l.b.leave(l.second.Me)
	l.waits(l.first)
}

func TestWhoFollowsOneWhoseSessionEndsHasNoTurn(t *testing.T) {
	t.Parallel()
	l := lineUp(t, nil)
	if err := l.b.Revoke(bounded(t)); err != nil {
		t.Fatal(err)
	}
	l.waits(l.first)
}

// Who is the first changes its data, for others to see, and holds on.
func TestWhoFollowsTheFirstWaitsWhileThatSetsItsValue(t *testing.T) {
	t.Parallel()
	l := lineUp(t, nil)
	l.a.leave(l.first.Me)
	me, err := l.b.Update(bounded(t), over(t, l.next).Me, "value")
	if err != nil {
		t.Fatal(err)
	}
	v := over(t, l.end)
	if len(v.Ahead) != 1 || v.Ahead[0].Value != "value" {
		t.Fatalf("ahead are %+v, want the one that has set its value", v.Ahead)
	}
	l.end = l.c.wait(v)
	l.b.leave(me)
	if v := over(t, l.end); len(v.Ahead) > 0 {
		t.Errorf("ahead are %v, want nobody", tokens(v.Ahead))
	}
}

// Whatever becomes of the nearest ahead: unless it was the first, its leaving says nothing
// of those ahead of it.
func TestWhoFollowsOneThatWasChangedByHandHasNoTurn(t *testing.T) {
	t.Parallel()
	h := byHand(t, server.Addr(), "")
	l := lineUp(t, nil)
	key := l.second.Me.Key
	if _, err := h.Multi(&gozk.SetDataRequest{Path: key, Version: -1}, &gozk.DeleteRequest{Path: key, Version: -1}); err != nil {
		t.Fatal(err)
	}
	l.waits(l.first)
}

// Of those who hold beside others, anybody may change its data, and leave before the first.
func TestWhoFollowsOneOfManyWhoHoldHasNoTurn(t *testing.T) {
	t.Parallel()
	a, b := enter(t, nil), enter(t, nil)
	reader := claim("q")
	reader.Mode = driver.Shared
	first := a.join("q")
	second, err := a.Join(bounded(t), reader)
	if err != nil {
		t.Fatal(err)
	}
	me := b.back("q")
	end := b.wait(me)
	e, err := a.Update(bounded(t), second.Me, "value")
	if err != nil {
		t.Fatal(err)
	}
	a.leave(e)
	for {
		v := over(t, end)
		if len(v.Ahead) != 1 {
			t.Fatalf("ahead are %v, want the first of them, %d", tokens(v.Ahead), first.Me.Token)
		}
		if v.Ahead[0].Token == first.Me.Token {
			return
		}
		end = b.wait(v)
	}
}

// Another program leaves no word.
func TestWhoFollowsAnotherProgramsEntryLooks(t *testing.T) {
	t.Parallel()
	a, c := enter(t, nil), enter(t, nil)
	h := byHand(t, server.Addr(), "")
	first := a.join("q")
	other := h.put(prefix(t)+"/q/_c_"+someGUID+"-lock-", "", gozk.FlagEphemeral|gozk.FlagSequence)
	zk.PassOn(c.Lease, "q")
	end := c.wait(c.join("q"))
	if err := h.Delete(other, -1); err != nil {
		t.Fatal(err)
	}
	if v := over(t, end); len(v.Ahead) != 1 || v.Ahead[0].Token != first.Me.Token {
		t.Errorf("ahead are %v, want %d", tokens(v.Ahead), first.Me.Token)
	}
}

// A watch for word of another program's entry is never anything but taken back: so who has met
// one looks, until one of ours is ahead.
func TestWhoWasBehindAnotherProgramFollowsNobodyThen(t *testing.T) {
	t.Parallel()
	a, c := enter(t, nil), enter(t, nil)
	h := byHand(t, server.Addr(), "")
	c.alwaysBack("q", func(string) {})
	again := func() bool {
		me := c.join("q").Me
		defer c.leave(me)
		return zk.Follows(c.Lease, me)
	}
	first := a.join("q")
	if !again() {
		t.Error("one of ours is ahead, and is not followed")
	}
	h.put(prefix(t)+"/q/_c_"+someGUID+"-lock-", "", gozk.FlagEphemeral|gozk.FlagSequence)
	again() // and finds out
	if again() {
		t.Error("another program's entry is followed")
	}
	a.leave(first.Me)
	a.join("q")
	again() // and finds out
	if !again() {
		t.Error("one of ours is ahead again, and is not followed")
	}
}

// Two who take turns know it without word.
func TestTwoWhoTakeTurnsNeverLookBefore(t *testing.T) {
	t.Parallel()
	l := lineUp(t, nil)
	l.a.leave(l.first.Me)
	l.b.leave(over(t, l.next).Me)
	for i := range 10 {
		mine := over(t, l.end).Me
		if n := l.listings.Load(); n > 0 {
			t.Fatalf("the queue was listed %d times before the turn %d, want never", n, i)
		}
		other := l.a.join("q")
		next := l.a.wait(other)
		l.c.leave(mine)
		other = over(t, next)
		l.me = l.c.back("q")
		l.end = l.c.wait(l.me)
		l.listings.Store(0)
		l.a.leave(other.Me)
	}
}

// What the server keeps a watch on for nothing is taken back, and on another connection it is
// not set again.
func TestWordThatNeverComesIsNotWatchedForLong(t *testing.T) {
	t.Parallel()
	words := func() (n int) {
		text, err := server.Command(bounded(t), "wchc")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text) {
			if path := strings.TrimSpace(line); strings.HasPrefix(path, prefix(t)+"/") && zk.IsWord(path) {
				n++
			}
		}
		return n
	}
	become := func(want int) {
		t.Helper()
		eventually(t, func() error {
			if n := words(); n != want {
				return fmt.Errorf("the server watches for %d words, want %d", n, want)
			}
			return nil
		})
	}
	link := &drivertest.Link{}
	l := lineUp(t, link)
	become(1)
	l.b.leave(l.second.Me)
	l.waits(l.first)
	become(0)
	l.c.leave(l.me.Me)
	l.a.leave(l.first.Me)

	l.form()
	become(1)
	link.Cut()
	eventually(t, func() error {
		if !zk.Connected(l.c.Lease) {
			return errors.New("not connected again")
		}
		return nil
	})
	become(0)
	l.b.leave(l.second.Me)
	l.waits(l.first)
	become(0)
}

// Word is a favour, and leaving is not.
func TestWhoMayLeaveNoWordLeaves(t *testing.T) {
	t.Parallel()
	a, b := enter(t, nil), enter(t, nil)
	var refused atomic.Int32
	zk.Interpose(b.Lease, func(ops []any, send func() ([]gozk.MultiResponse, error)) ([]gozk.MultiResponse, error) {
		if c, ok := ops[0].(*gozk.CreateRequest); ok && zk.IsWord(c.Path) {
			refused.Add(1)
			// As of a quota: the library makes an error of its own for each number that it does not know.
			return []gozk.MultiResponse{{Error: errors.New("unknown error: -125")}}, errors.New("unknown error: -125")
		}
		return send()
	})
	first := a.join("q")
	me := b.join("q")
	end := b.wait(me)
	a.join("q")
	a.leave(first.Me)
	b.leave(over(t, end).Me)
	if q := a.queue("q"); len(q) != 1 || q[0] <= me.Me.Token {
		t.Errorf("the queue is %v, want one that came after %d", q, me.Me.Token)
	}
	if refused.Load() != 1 {
		t.Errorf("word was refused %d times, want once", refused.Load())
	}
}

// That its own entry was removed by hand is found out without a look at the queue, too.
func TestWhoFollowsTheFirstAndWasRemovedHasNoTurn(t *testing.T) {
	t.Parallel()
	h := byHand(t, server.Addr(), "")
	l := lineUp(t, nil)
	for range 20 {
		l.a.leave(l.first.Me)
		l.second = over(t, l.next)
		if err := h.Delete(l.me.Me.Key, -1); err != nil {
			t.Fatal(err)
		}
		l.b.leave(l.second.Me)
		l.gone()
		l.form()
	}
}

// gone checks that the third is told that its entry is gone.
func (l *line) gone() {
	t := l.c.t
	t.Helper()
	mustBeGone(t, l.end)
	l.c.leave(l.me.Me)
}

// What happened during an outage is told in any order.
func TestWhoFollowsTheFirstAndWasRemovedDuringAnOutageHasNoTurn(t *testing.T) {
	t.Parallel()
	h := byHand(t, server.Addr(), "")
	link := &drivertest.Link{}
	l := lineUp(t, link)
	for range 8 {
		l.a.leave(l.first.Me)
		l.second = over(t, l.next)
		link.Freeze()
		if err := h.Delete(l.me.Me.Key, -1); err != nil {
			t.Fatal(err)
		}
		l.b.leave(l.second.Me)
		link.Cut()
		link.Heal()
		l.gone()
		l.form()
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
	for range 20 {
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
		mustBeGone(t, end)
		a.leave(first.Me)
		b.leave(me.Me)
	}
}
