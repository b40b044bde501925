package history

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// On virtual time everything below happens at one instant.
func TestOrderIsKeptWhileVirtualTimeStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := NewRecorder(nil)
		h := rec.Lock("n")
		h.Begin(1, Lock()).Granted(1)
		h.Begin(2, Lock()).Granted(2)
		h.Begin(1, Release(1)).Done()
		if err := rec.Check(&Options{Dir: t.TempDir()}); err == nil {
			t.Error("a release after the next grant counts as concurrent with it")
		}
	})
}

func TestStampsIncreaseAlthoughTheClockGoesBack(t *testing.T) {
	now := time.Unix(100, 0)
	rec := NewRecorder(func() time.Time { now = now.Add(-time.Second); return now })
	if a, b := rec.Stamp(), rec.Stamp(); a >= b {
		t.Errorf("got %d, then %d", a, b)
	}
}

func TestStampsOfTheClock(t *testing.T) {
	now := time.Unix(100, 0)
	rec := NewRecorder(func() time.Time { return now })
	h := rec.Lock("n")
	c := h.Begin(1, Lock())
	now = now.Add(3 * time.Second)
	c.Granted(1)
	if c.call != time.Unix(100, 0).UnixNano() || c.end != now.UnixNano() {
		t.Errorf("got [%d, %d]", c.call, c.end)
	}
}

func TestConcurrentRecording(t *testing.T) {
	rec := NewRecorder(nil)
	var mu sync.Mutex
	token := uint64(0)
	var wg sync.WaitGroup
	for client := range 4 {
		wg.Go(func() {
			for i := range 50 {
				h := rec.Lock(fmt.Sprintf("n/%d", i%2))
				acquiring := h.Begin(client, Lock())
				mu.Lock()
				token++
				mine := token
				acquiring.Granted(mine)
				releasing := h.Begin(client, Release(mine))
				mu.Unlock()
				releasing.Done()
			}
		})
	}
	wg.Wait()
	if err := rec.Check(&Options{Dir: t.TempDir()}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"n/0", "n/1"} {
		if n := len(rec.Lock(name).operations()); n != 200 {
			t.Errorf("%s has %d operations", name, n)
		}
	}
}

func TestMistakesPanic(t *testing.T) {
	rec := NewRecorder(nil)
	h := rec.Lock("n")
	for what, mistake := range map[string]func(){
		"ended twice":                func() { c := h.Begin(1, Lock()); c.Failed(); c.Granted(1) },
		"granted a release":          func() { h.Begin(1, Release(1)).Granted(1) },
		"granted no token":           func() { h.Begin(1, Lock()).Granted(0) },
		"done without a token":       func() { h.Begin(1, Lock()).Done() },
		"ended before it began":      func() { h.BeginAt(20, 1, Release(1)).At(10).Done() },
		"a semaphore's on a lock":    func() { h.Begin(1, Acquire(1)) },
		"two kinds of one name":      func() { rec.Semaphore("n", 1) },
		"two limits of one name":     func() { rec.Semaphore("s", 1); rec.Semaphore("s", 2) },
		"saw a leader in a mutex":    func() { h.Begin(1, Lock()).Saw("a", 1) },
		"refused what is no write":   func() { h.Begin(1, Release(1)).Refused() },
		"a leader on a semaphore":    func() { rec.Semaphore("s", 1).Begin(1, Leader()) },
		"downgraded without a token": func() { h.Begin(1, Downgrade(1)).Done() },
	} {
		t.Run(what, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			mistake()
		})
	}
}
