package postgres_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// A rush is what others do while a claim's Admit is asked: they join.
type rush struct {
	claim driver.Claim
	asked int
}

// tooMany joins end a rush, so that a test ends that fails.
const tooMany = 50

// hurry has another party join each time when the claim's Admit would say yes.
func hurry(t *testing.T, other *party, c driver.Claim, admits func(driver.View) bool, makes func(asked int) driver.Claim) *rush {
	t.Helper()
	r := &rush{claim: c}
	r.claim.Admit = func(v driver.View) bool {
		if r.asked++; admits(v) && r.asked <= tooMany {
			if _, err := other.Join(t.Context(), makes(r.asked)); err != nil {
				t.Error(err)
			}
		}
		return admits(v)
	}
	return r
}

// few fails where Admit was asked more often than in a call that is not to wait.
func (r *rush) few(t *testing.T) {
	t.Helper()
	if r.asked >= 10 {
		t.Errorf("Admit was asked %d times", r.asked)
	}
}

// left fails if the claim has an entry in its queue.
func (r *rush) left(t *testing.T, p *party) {
	t.Helper()
	q, err := p.store.Read(bounded(t), r.claim.Name, 0)
	if err != nil || len(q.Entries) == 0 {
		t.Errorf("the queue is %+v, %v, want the others", q.Entries, err)
	}
	for _, e := range q.Entries {
		if e.ID == r.claim.ID {
			t.Errorf("it has left the entry %+v", e)
		}
	}
}

func reads() driver.Claim {
	c := writes()
	c.Mode = driver.Shared
	return c
}

func writes() driver.Claim {
	c := claim("q")
	c.Kind = "rwmutex"
	return c
}

func light() driver.Claim {
	c := claim("q")
	c.Kind, c.Mode, c.Limit, c.Value = "semaphore", driver.Permit, 100, "1"
	return c
}

func heavy() driver.Claim {
	c := light()
	c.Value = "100"
	return c
}

func noWriter(v driver.View) bool {
	for _, e := range v.Ahead {
		if e.Mode != driver.Shared {
			return false
		}
	}
	return true
}

func fits(v driver.View) bool {
	var weight int64
	for _, e := range v.Ahead {
		n, _ := strconv.ParseInt(e.Value, 10, 64)
		weight += n
	}
	return weight < v.Limit.N
}

// A join that depends on who else is there comes to an end, though others join all the time
// of whom it need not wait for any. Who is refused in the end, as somebody was faster, leaves
// nothing behind; nor where the answer to the join was lost.
func TestConditionalJoinEndsHoweverOthersJoin(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		claim, others, bars func() driver.Claim
		admits              func(driver.View) bool
	}{
		"reader": {reads, reads, writes, noWriter},
		"permit": {light, light, heavy, fits},
	} {
		url := namespace(t, "insist_"+what)
		late := func(asked int) driver.Claim {
			if asked == 6 { // it joins whatever the queue is now
				return c.bars()
			}
			return c.others()
		}
		t.Run(what+" that is admitted", func(t *testing.T) {
			other, p := enter(t, url, long, nil), enter(t, url, long, nil)
			r := hurry(t, other, c.claim(), c.admits, func(int) driver.Claim { return c.others() })
			v, err := p.Join(bounded(t), r.claim)
			if err != nil {
				t.Fatal(err)
			}
			r.few(t)
			p.leave(v.Me)
			r.left(t, p)
		})
		t.Run(what+" that is refused", func(t *testing.T) {
			other, p := enter(t, url, long, nil), enter(t, url, long, nil)
			r := hurry(t, other, c.claim(), c.admits, late)
			if v, err := p.Join(bounded(t), r.claim); !errors.Is(err, driver.ErrRefused) {
				t.Errorf("Join returned %+v, %v, want a refusal", v, err)
			}
			r.few(t)
			r.left(t, p)
		})
		t.Run(what+" that is refused, answer lost", func(t *testing.T) {
			var link drivertest.Link
			other, p := enter(t, url, long, nil), enter(t, url, long, &link)
			r := hurry(t, other, c.claim(), c.admits, func(asked int) driver.Claim {
				if asked == 6 {
					link.LoseReply(1)
				}
				return late(asked)
			})
			if v, err := p.Join(bounded(t), r.claim); err == nil || errors.Is(err, driver.ErrRefused) {
				t.Fatalf("Join returned %+v, %v, want that its answer is lost", v, err)
			}
			if v, err := p.Resolve(bounded(t), r.claim); !errors.Is(err, driver.ErrEntryGone) {
				t.Errorf("Resolve returned %+v, %v, want ErrEntryGone", v, err)
			}
			if r.asked != 7 {
				t.Errorf("Admit was asked %d times, want once more by Resolve", r.asked)
			}
			r.left(t, other)
		})
		t.Run(what+" that is refused, and leaves late", func(t *testing.T) {
			var link drivertest.Link
			other, p := enter(t, url, long, nil), enter(t, url, long, &link)
			r := hurry(t, other, c.claim(), c.admits, late)
			admit := r.claim.Admit
			r.claim.Admit = func(v driver.View) bool {
				ok := admit(v)
				if r.asked == 7 {
					link.Detain(1)
				}
				return ok
			}
			if v, err := p.Join(bounded(t), r.claim); err == nil || errors.Is(err, driver.ErrRefused) {
				t.Fatalf("Join returned %+v, %v, want that its entry may have left", v, err)
			}
			q, err := other.store.Read(bounded(t), "q", 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range q.Entries {
				if bar := c.bars(); e.Mode == bar.Mode && e.Value == bar.Value {
					other.leave(e)
				}
			}
			// It would be admitted by now, and be gone when its request to leave arrives.
			if v, err := p.Resolve(bounded(t), r.claim); !errors.Is(err, driver.ErrEntryGone) {
				t.Errorf("Resolve returned %+v, %v, want ErrEntryGone", v, err)
			}
			link.Deliver()
			r.left(t, other)
		})
	}
}
