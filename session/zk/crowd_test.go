package zk_test

import (
	"slices"
	"testing"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Who joins a long queue of permits sees the nearest ahead alone, as long as that has to wait
// for sure, and then all.
func TestPermitBehindManySeesTheNearestWhileThatWaits(t *testing.T) {
	const limit = 2
	p, other := enter(t, nil), enter(t, nil)
	var views []driver.View
	for range 6 {
		v, err := p.Join(bounded(t), permit(limit))
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, v)
	}
	for i, v := range views {
		hidden := 0
		if i > limit { // limit entries are ahead of the nearest
			hidden = i - 1
		}
		if v.Hidden != hidden || len(v.Ahead) != i-hidden || i > 0 && v.Ahead[len(v.Ahead)-1].Token != views[i-1].Me.Token {
			t.Errorf("entry %d sees %d, and %d are hidden: %+v", i, len(v.Ahead), v.Hidden, v)
		}
	}

	nearest, me := views[4].Me, views[5]
	p.leave(views[0].Me)
	waited := make(chan driver.View, 1)
	go func() {
		v, err := p.Wait(bounded(t), me, driver.Obstacles{Entries: me.Ahead})
		if err != nil {
			t.Error(err)
		}
		waited <- v
	}()
	if _, err := p.Update(bounded(t), nearest, "1 granted"); err != nil {
		t.Fatal(err)
	}
	v := <-waited
	if v.Hidden != 0 || len(v.Ahead) != 4 || v.Ahead[3].Value != "1 granted" {
		t.Errorf("behind one that was stamped %d are hidden: %+v", v.Hidden, v)
	}

	// One that the limit says holds is no reason to hide the others either.
	q, err := p.store.Read(bounded(t), "q", 0)
	if err == nil {
		err = p.store.SetLimit(bounded(t), "q", q.Limit, driver.Limit{N: limit, Through: me.Me.Token})
	}
	if err != nil {
		t.Fatal(err)
	}
	v, err = other.Join(bounded(t), permit(limit))
	if err != nil || v.Hidden != 0 || len(v.Ahead) != 5 {
		t.Errorf("behind one that the limit names: %+v, %v", v, err)
	}
	// And who only tries is told of all.
	c := permit(limit)
	c.Admit = func(v driver.View) bool { return len(v.Ahead) == 6 && v.Hidden == 0 }
	if _, err := other.Join(bounded(t), c); err != nil {
		t.Error(err)
	}
	if tokens := other.queue("q"); !slices.IsSorted(tokens) || len(tokens) != 7 {
		t.Errorf("the queue is %v", tokens)
	}
}

// What is hidden is counted against the limit that there is, and not the one that was known.
func TestPermitSeesAllOnceTheLimitIsLarger(t *testing.T) {
	p := enter(t, nil)
	var views []driver.View
	for range 4 {
		v, err := p.Join(bounded(t), permit(1))
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, v)
	}
	me := views[3]
	if me.Hidden != 2 {
		t.Errorf("%d are hidden, want two", me.Hidden)
	}
	if err := p.store.SetLimit(bounded(t), "q", me.Limit, driver.Limit{N: 9}); err != nil {
		t.Fatal(err)
	}
	p.leave(views[2].Me)
	v, err := p.Wait(bounded(t), me, driver.Obstacles{Entries: me.Ahead})
	if err != nil || v.Hidden != 0 || len(v.Ahead) != 2 || v.Limit.N != 9 {
		t.Errorf("Wait returned %+v, %v, want two ahead and the limit 9", v, err)
	}
}
