package drivertest

import (
	"context"
	"errors"
	"slices"

	"github.com/fairlead-go/fairlead/session/driver"
)

// What the driver interface promises of limits, and of entries that are not
// exclusive.
var limitCases = []Case{
	{"LimitIsThatOfTheQueue", limitIsThatOfTheQueue},
	{"LimitGoesWithTheLastEntry", limitGoesWithTheLastEntry},
	{"QueueWithoutALimitTakesNone", queueWithoutALimitTakesNone},
	{"AdmitSeesTheLimit", admitSeesTheLimit},
	{"SetLimitIsGuarded", setLimitIsGuarded},
	{"SharedAndPermitsSeeAllInTheWay", sharedAndPermitsSeeAllInTheWay},
	{"WaitForSeveralEndsWithAny", waitForSeveralEndsWithAny},
	{"WaitSeesTheLimitChange", waitSeesTheLimitChange},
	{"WatchAndListShowTheLimit", watchAndListShowTheLimit},
	{"ResolveAndWithdrawKnowPermits", resolveAndWithdrawKnowPermits},
}

func permitClaim(name string, limit int64) driver.Claim {
	c := claim(name)
	c.Kind, c.Mode, c.Limit, c.Value = "semaphore", driver.Permit, limit, "1"
	return c
}

// permit joins a queue with a limit, from the case's goroutine.
func (h *holder) permit(name string, limit int64) driver.View {
	h.f.Helper()
	v, err := h.Join(h.f.ctx, permitClaim(name, limit))
	if err != nil {
		h.f.Fatalf("join with limit %d: %v", limit, err)
	}
	if v.Limit.N != limit || v.Limit.Version == 0 {
		h.f.Errorf("Join with limit %d shows %+v", limit, v.Limit)
	}
	return v
}

// otherLimit checks that the queue is refused to who joins with a limit, as it has
// another one.
func (h *holder) otherLimit(name string, limit, other int64) {
	h.f.Helper()
	_, err := h.Join(h.f.ctx, permitClaim(name, limit))
	if e, ok := errors.AsType[*driver.LimitError](err); !ok || e.Limit != other {
		h.f.Errorf("Join with limit %d of a queue with limit %d returned %v", limit, other, err)
	}
}

// limited reads the queue, which has to have this limit.
func (f *fixture) limited(name string, limit int64) driver.Queue {
	f.Helper()
	q, err := f.admin.Read(f.ctx, name, 0)
	if err != nil || q.Limit.N != limit {
		f.Fatalf("Read returned %v with limit %+v, %v, want %d", brief(q.Entries), q.Limit, err, limit)
	}
	return q
}

func limitIsThatOfTheQueue(f *fixture) {
	a, b, name := f.bare(), f.bare(), f.name("q")
	first := a.permit(name, 3)
	b.otherLimit(name, 2, 3)
	a.otherLimit(name, 4, 3)
	second := b.permit(name, 3)
	if second.Limit != first.Limit {
		f.Errorf("the limit is %+v for the first and %+v for the second", first.Limit, second.Limit)
	}
	if q := f.limited(name, 3); !slices.Equal(tokens(q.Entries), []uint64{first.Me.Token, second.Me.Token}) {
		f.Errorf("the queue is %v, want those two who were let in", brief(q.Entries))
	}
	a.leave(first.Me)
	a.otherLimit(name, 2, 3)
	b.leave(second.Me)
}

func limitGoesWithTheLastEntry(f *fixture) {
	a, b, name := f.bare(), f.bare(), f.name("q")
	for i := range int64(3) {
		for _, h := range []*holder{a, b} { // who left the queue, and who comes to it
			v := h.permit(name, i+1)
			w := h.permit(name, i+1)
			h.leave(v.Me)
			h.leave(w.Me)
			if q := f.queue(name); len(q) != 0 {
				f.Errorf("left behind: %v", brief(q))
			}
		}
	}
	dead := f.bare()
	dead.permit(name, 7)
	f.b.Expire(f.TB, dead.Lease)
	v := a.permit(name, 5)
	b.otherLimit(name, 7, 5)
	a.leave(v.Me)
	// And who was the only one makes room for those who need no limit.
	if m := b.join(name); len(m.Ahead) != 0 {
		f.Errorf("%v is ahead", brief(m.Ahead))
	}
}

func queueWithoutALimitTakesNone(f *fixture) {
	a, b, name := f.bare(), f.bare(), f.name("q")
	v := a.join(name)
	b.otherLimit(name, 3, 0)
	c := permitClaim(name, 3)
	c.Admit = func(driver.View) bool { return true }
	if _, err := b.Join(f.ctx, c); errors.Is(err, driver.ErrRefused) || err == nil {
		f.Errorf("a conditional Join with a limit returned %v, want a LimitError", err)
	}
	f.alone(name, v.Me.Token)
}

func admitSeesTheLimit(f *fixture) {
	a, b, name := f.bare(), f.bare(), f.name("q")
	first, second := a.permit(name, 3), a.permit(name, 3)
	for _, admit := range []bool{false, true} {
		var seen driver.View
		c := permitClaim(name, 3)
		c.Admit = func(v driver.View) bool { seen = v; return admit }
		v, err := b.Join(f.ctx, c)
		if !slices.Equal(tokens(seen.Ahead), []uint64{first.Me.Token, second.Me.Token}) || seen.Limit.N != 3 || seen.Me.Value != c.Value {
			f.Errorf("Admit was shown %+v", seen)
		}
		if admit != (err == nil) || !admit && !errors.Is(err, driver.ErrRefused) {
			f.Errorf("Join that was admitted %t returned %+v, %v", admit, v, err)
		}
	}
	if q := f.queue(name); len(q) != 3 {
		f.Errorf("the queue is %v, want three", brief(q))
	}
}

func setLimitIsGuarded(f *fixture) {
	a, b, name := f.bare(), f.bare(), f.name("q")
	first, second := a.permit(name, 3), a.permit(name, 3)
	set := func(from, to driver.Limit) error { return f.admin.SetLimit(f.ctx, name, from, to) }

	old := f.limited(name, 3).Limit
	a.leave(second.Me)
	if err := set(old, driver.Limit{N: 5, Through: first.Me.Token, Stamp: true}); err != nil {
		f.Fatalf("set the limit: %v", err)
	}
	now := f.limited(name, 5).Limit
	if now.Through != first.Me.Token || !now.Stamp || now.Version == old.Version {
		f.Errorf("after SetLimit the limit is %+v, it was %+v", now, old)
	}
	if err := set(old, driver.Limit{N: 6}); !errors.Is(err, driver.ErrConflict) {
		f.Errorf("SetLimit of a limit that has changed returned %v, want ErrConflict", err)
	}
	// A session that knows the old limit, and one that knows none.
	for _, h := range []*holder{a, b} {
		if v := h.permit(name, 5); v.Limit != now {
			f.Errorf("Join shows %+v, want %+v", v.Limit, now)
		}
	}
	if v, err := a.Look(f.ctx, first.Me); err != nil || v.Limit != now {
		f.Errorf("Look shows %+v, %v, want %+v", v.Limit, err, now)
	}
	f.b.Expire(f.TB, a.Lease)
	f.b.Expire(f.TB, b.Lease)
	fresh := f.bare().permit(name, 5) // of a queue that was empty meanwhile
	if fresh.Limit.Through != 0 || fresh.Limit.Stamp {
		f.Errorf("a fresh limit is %+v", fresh.Limit)
	}
	if err := set(now, driver.Limit{N: 7}); !errors.Is(err, driver.ErrConflict) {
		f.Errorf("SetLimit of a queue that was empty meanwhile returned %v, want ErrConflict", err)
	}
	f.limited(name, 5)
}

// Readers need not see one another, nor who is ahead of a writer that will not become
// a reader, as one with a value may.
func sharedAndPermitsSeeAllInTheWay(f *fixture) {
	a, b := f.bare(), f.bare()
	shared, permits := f.name("shared"), f.name("permits")
	var all []uint64
	for i, at := range []struct {
		reader bool
		value  string
		inWay  []int
	}{
		{}, {reader: true, inWay: []int{0}},
		{value: "has one"}, {reader: true, inWay: []int{0, 2}},
		{}, {reader: true, inWay: []int{4}},
	} {
		c := claim(shared)
		c.Kind, c.Value = "rwmutex", at.value
		if at.reader {
			c.Mode = driver.Shared
		}
		v, err := []*holder{a, b}[i%2].Join(f.ctx, c)
		if err != nil {
			f.Fatalf("join: %v", err)
		}
		seen := tokens(v.Ahead)
		others := func(token uint64) bool { return !slices.Contains(seen, token) }
		ordered := slices.Equal(seen, slices.DeleteFunc(slices.Clone(all), others))
		missing := slices.ContainsFunc(at.inWay, func(n int) bool { return others(all[n]) })
		if v.Me.Mode != c.Mode || c.Mode == driver.Shared && (!ordered || missing) {
			f.Errorf("%s sees %v ahead, want all of those numbered %v, in the order of %v", v.Me.Mode, brief(v.Ahead), at.inWay, all)
		}
		all = append(all, v.Me.Token)
	}
	var want []uint64
	for i := range 5 {
		h := []*holder{a, b}[i%2]
		v := h.permit(permits, 2)
		looked, err := h.Look(f.ctx, v.Me)
		for _, seen := range []driver.View{v, looked} {
			hidden := seen.Hidden
			if hidden != 0 && (hidden != i-1 || int64(hidden) < seen.Limit.N) {
				f.Errorf("%d of %d ahead are hidden where the limit is %d", hidden, i, seen.Limit.N)
				hidden = 0
			}
			if err != nil || !slices.Equal(tokens(seen.Ahead), want[hidden:]) || seen.Limit != v.Limit {
				f.Errorf("%v is seen ahead with %+v, %v; want %v of %v", brief(seen.Ahead), seen.Limit, err, want[hidden:], want)
			}
		}
		want = append(want, v.Me.Token)
	}
}

func waitForSeveralEndsWithAny(f *fixture) {
	a, b := f.bare(), f.bare()
	for i := range 3 {
		name := f.name(string(rune('a' + i)))
		var held []driver.View
		for range 3 {
			held = append(held, a.permit(name, 3))
		}
		unheld := a.permit(name, 3)
		me := b.permit(name, 3)
		several := driver.Obstacles{Limit: true}
		for _, v := range held {
			several.Entries = append(several.Entries, v.Me)
		}
		w := begin(f, func() (driver.View, error) { return b.Wait(f.ctx, me, several) })
		behind := a.permit(name, 3)
		a.leave(behind.Me)
		a.leave(unheld.Me)
		w.goesOn("Wait for three that have not left")
		a.leave(held[i].Me)
		if v := w.must(); len(v.Ahead) != 2 || v.Me.Token != me.Me.Token || v.Limit.N != 3 {
			f.Errorf("Wait returned %+v, want two ahead", v)
		}
		// And what happened before Wait began is not missed.
		w = begin(f, func() (driver.View, error) { return b.Wait(f.ctx, me, several) })
		if v := w.must(); len(v.Ahead) != 2 {
			f.Errorf("Wait returned with %v ahead, want two", brief(v.Ahead))
		}
	}
}

func waitSeesTheLimitChange(f *fixture) {
	a, b, name := f.bare(), f.bare(), f.name("q")
	first := a.permit(name, 1)
	me := b.permit(name, 1)
	alone := b.awaiting(me, first.Me)
	on := driver.Obstacles{Entries: []driver.Entry{first.Me}, Limit: true}
	both := begin(f, func() (driver.View, error) { return b.Wait(f.ctx, me, on) })
	both.goesOn("Wait for a limit that has not changed")
	if err := f.admin.SetLimit(f.ctx, name, f.limited(name, 1).Limit, driver.Limit{N: 2, Through: first.Me.Token}); err != nil {
		f.Fatalf("set the limit: %v", err)
	}
	if v := both.must(); v.Limit.N != 2 || v.Limit.Through != first.Me.Token || len(v.Ahead) != 1 {
		f.Errorf("Wait returned %+v, want the new limit", v)
	}
	if v := begin(f, func() (driver.View, error) { return b.Wait(f.ctx, me, on) }).must(); v.Limit.N != 2 {
		f.Errorf("Wait that began too late returned %+v, want the new limit", v)
	}
	alone.goesOn("Wait for the entry alone")
	a.leave(first.Me)
	alone.must()
}

func watchAndListShowTheLimit(f *fixture) {
	a, name := f.bare(), f.name("q")
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	states := make(chan driver.Queue)
	w := act(f, func() error {
		return f.admin.Watch(ctx, name, func(q driver.Queue) error {
			select {
			case states <- q:
			case <-ctx.Done():
			}
			return nil
		})
	})
	shows := func(entries int, limit int64) {
		f.Helper()
		for {
			select {
			case q := <-states:
				if len(q.Entries) == entries && q.Limit.N == limit {
					return
				}
				f.Logf("Watch shows %v, %+v", brief(q.Entries), q.Limit)
			case <-f.ctx.Done():
				f.Fatalf("Watch does not show %d entries and the limit %d", entries, limit)
			}
		}
	}
	shows(0, 0)
	v := a.permit(name, 3)
	shows(1, 3)
	if err := f.admin.SetLimit(f.ctx, name, f.limited(name, 3).Limit, driver.Limit{N: 8}); err != nil {
		f.Fatalf("set the limit: %v", err)
	}
	shows(1, 8)
	a.join(f.name("mutex"))
	queues, err := f.admin.List(f.ctx, f.prefix)
	if err != nil || len(queues) != 2 || queues[0].Limit.N != 0 || queues[1].Limit.N != 8 {
		f.Errorf("List returned %+v, %v, want no limit and 8", queues, err)
	}
	a.leave(v.Me)
	shows(0, 0)
	cancel()
	_, _ = w.ended()
}

func resolveAndWithdrawKnowPermits(f *fixture) {
	h, name := f.bare(), f.name("q")
	first := h.permit(name, 3)
	c := permitClaim(name, 3)
	made, err := h.Join(f.ctx, c)
	if err != nil {
		f.Fatalf("join: %v", err)
	}
	found, err := h.Resolve(f.ctx, c)
	if err != nil || found.Me.Token != made.Me.Token || !slices.Equal(tokens(found.Ahead), []uint64{first.Me.Token}) || found.Limit != made.Limit {
		f.Errorf("Resolve found %+v, %v, Join had made %+v", found, err, made)
	}
	if err := h.Withdraw(f.ctx, c); err != nil {
		f.Errorf("withdraw: %v", err)
	}
	f.alone(name, first.Me.Token)
	h.leave(first.Me)
	last := permitClaim(name, 4)
	if _, err := h.Join(f.ctx, last); err != nil {
		f.Fatalf("join: %v", err)
	}
	if err := h.Withdraw(f.ctx, last); err != nil { // the last one: the limit goes, too
		f.Errorf("withdraw: %v", err)
	}
	h.permit(name, 5)
}
