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

// A limit that was taken away, and made anew, looks like the old one, by the version of its
// data. What was decided for the old one does not hold for those who came since: they do not
// say when it is their turn, and would wait for one another.
func TestSetLimitDoesNotChangeALimitThatWasMadeAnew(t *testing.T) {
	t.Parallel()
	p := enter(t, nil)
	first, err := p.Join(bounded(t), permit(1))
	if err != nil {
		t.Fatal(err)
	}
	q, err := p.store.Read(bounded(t), "q", 0)
	if err != nil {
		t.Fatal(err)
	}
	renew := sync.OnceFunc(func() {
		p.leave(first.Me)
		for range 10 {
			if _, err := p.Join(bounded(t), permit(10)); err != nil {
				t.Error(err)
			}
		}
	})
	err = zk.InterposeReading(bounded(t), p.store, func(ops []any, send func() ([]gozk.MultiResponse, error)) ([]gozk.MultiResponse, error) {
		if slices.ContainsFunc(ops, setsLimit) {
			renew()
		}
		return send()
	})
	if err != nil {
		t.Fatal(err)
	}
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
	p := enter(t, nil)
	if _, err := p.Join(bounded(t), permit(2)); err != nil {
		t.Fatal(err)
	}
	newest, err := p.Join(bounded(t), permit(2))
	if err != nil {
		t.Fatal(err)
	}
	q, err := p.store.Read(bounded(t), "q", 0)
	if err != nil {
		t.Fatal(err)
	}
	leave := sync.OnceFunc(func() { p.leave(newest.Me) })
	err = zk.InterposeReading(bounded(t), p.store, func(ops []any, send func() ([]gozk.MultiResponse, error)) ([]gozk.MultiResponse, error) {
		if slices.ContainsFunc(ops, setsLimit) {
			leave()
		}
		return send()
	})
	if err != nil {
		t.Fatal(err)
	}
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
	p := enter(t, nil)
	newest, err := p.Join(bounded(t), permit(2))
	if err != nil {
		t.Fatal(err)
	}
	q, err := p.store.Read(bounded(t), "q", 0)
	if err != nil {
		t.Fatal(err)
	}
	attempts := 0
	err = zk.InterposeReading(bounded(t), p.store, func(ops []any, send func() ([]gozk.MultiResponse, error)) ([]gozk.MultiResponse, error) {
		if slices.ContainsFunc(ops, setsLimit) && attempts < 50 {
			attempts++
			next, err := p.Join(bounded(t), permit(2))
			if err != nil {
				t.Error(err)
			}
			p.leave(newest.Me)
			newest = next
		}
		return send()
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.store.SetLimit(bounded(t), "q", q.Limit, driver.Limit{N: 5}); err != nil || attempts == 50 {
		t.Errorf("SetLimit returned %v after %d attempts", err, attempts)
	}
}
