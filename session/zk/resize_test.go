package zk_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/zk"
)

// setsLimit tells whether an operation sets the data of a limit's node.
func setsLimit(op any) bool {
	set, ok := op.(*gozk.SetDataRequest)
	return ok && strings.Contains(set.Path, "/limit/")
}

// crowd has a party take so many permits of a semaphore with that limit, and returns the queue as
// it is then. Before each attempt to change the limit it calls meddle, with the newest of them.
func crowd(t *testing.T, limit int64, n int, meddle func(p *party, newest driver.Entry)) (p *party, q driver.Queue) {
	t.Helper()
	p = enter(t, nil)
	var newest driver.Entry
	for range n {
		v, err := p.Join(bounded(t), permit(limit))
		if err != nil {
			t.Fatal(err)
		}
		newest = v.Me
	}
	q, err := p.store.Read(bounded(t), "q", 0)
	if err != nil {
		t.Fatal(err)
	}
	err = zk.InterposeReading(bounded(t), p.store, func(ops []any, send func() ([]gozk.MultiResponse, error)) ([]gozk.MultiResponse, error) {
		if slices.ContainsFunc(ops, setsLimit) {
			meddle(p, newest)
		}
		return send()
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, q
}

// A limit that was taken away, and made anew, looks like the old one, by the version of its
// data. What was decided for the old one does not hold for those who came since: they do not
// say when it is their turn, and would wait for one another.
func TestSetLimitDoesNotChangeALimitThatWasMadeAnew(t *testing.T) {
	t.Parallel()
	var once sync.Once
	p, q := crowd(t, 1, 1, func(p *party, first driver.Entry) {
		once.Do(func() {
			p.leave(first)
			for range 10 {
				if _, err := p.Join(bounded(t), permit(10)); err != nil {
					t.Error(err)
				}
			}
		})
	})
	if err := p.store.SetLimit(bounded(t), "q", q.Limit, driver.Limit{N: 5}); !errors.Is(err, driver.ErrConflict) {
		t.Errorf("SetLimit returned %v, want ErrConflict", err)
	}
	now, err := p.store.Read(bounded(t), "q", 0)
	if err != nil || now.Limit.N != 10 || len(now.Entries) != 10 {
		t.Errorf("the queue has the limit %+v and %d entries, %v, want 10 of each", now.Limit, len(now.Entries), err)
	}
}

// Who comes and goes is no reason to refuse, as long as somebody stays.
func TestSetLimitIsNotRefusedBecauseTheNewestLeaves(t *testing.T) {
	t.Parallel()
	var once sync.Once
	p, q := crowd(t, 2, 2, func(p *party, newest driver.Entry) { once.Do(func() { p.leave(newest) }) })
	if err := p.store.SetLimit(bounded(t), "q", q.Limit, driver.Limit{N: 5}); err != nil {
		t.Error(err)
	}
	now, err := p.store.Read(bounded(t), "q", 0)
	if err != nil || now.Limit.N != 5 {
		t.Errorf("the queue has the limit %+v, %v, want 5", now.Limit, err)
	}
}

// However quickly permits come and go, the limit is changed in the end.
func TestSetLimitEndsHoweverQuicklyOthersLeave(t *testing.T) {
	t.Parallel()
	const most = 50
	attempts := 0
	var last driver.Entry
	p, q := crowd(t, 2, 1, func(p *party, first driver.Entry) {
		if attempts++; attempts > most {
			return
		}
		next, err := p.Join(bounded(t), permit(2))
		if err != nil {
			t.Error(err)
		}
		if attempts == 1 {
			last = first
		}
		p.leave(last)
		last = next.Me
	})
	if err := p.store.SetLimit(bounded(t), "q", q.Limit, driver.Limit{N: 5}); err != nil || attempts > most {
		t.Errorf("SetLimit returned %v after %d attempts", err, attempts)
	}
}
