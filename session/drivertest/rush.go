package drivertest

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A Party has a lease at a store.
type Party struct {
	driver.Lease
	Store driver.Store
}

// An Entrance has parties enter one place after another, where nobody else is. link may
// be nil.
type Entrance func(link *Link) Party

// tooMany joins end a rush, so that a test ends that fails.
const tooMany = 50

// enough joins are met by a conditional Join before it joins whoever is there.
const enough = 5

// A rush is what others do while a claim's Admit is asked: they join.
type rush struct {
	claim driver.Claim
	asked int
}

// A queueOf is who takes part in a rush, and whom the claim must not be behind.
type queueOf struct {
	claim, bar func() driver.Claim
	admits     func(driver.View) bool
}

var rushes = map[string]queueOf{
	"readers": {reading, writing, noWriter},
	"permits": {light, heavy, fits},
}

// RushedJoins tests that a join which depends on who else is there comes to an end, though
// others join all the time of whom it need not wait for any; and that one who is refused
// in the end, as somebody was faster, leaves nothing behind, nor where the answer to the
// join was lost. It is for stores where Admit is asked between a look and the join, and no lock
// is held. Each call of open returns another place.
func RushedJoins(t *testing.T, open func(t *testing.T) Entrance) {
	for who, q := range rushes {
		t.Run(who+", admitted", func(t *testing.T) {
			t.Parallel()
			enter := open(t)
			other, p := enter(nil), enter(nil)
			r := q.hurry(t, other, func(int) driver.Claim { return q.claim() })
			v, err := p.Join(limited(t), r.claim)
			if err != nil {
				t.Fatal(err)
			}
			r.few(t)
			if err := p.Leave(limited(t), v.Me); err != nil {
				t.Error(err)
			}
			r.left(t, other)
		})
		t.Run(who+", refused", func(t *testing.T) {
			t.Parallel()
			enter := open(t)
			other, p := enter(nil), enter(nil)
			r := q.hurry(t, other, q.late)
			if v, err := p.Join(limited(t), r.claim); !errors.Is(err, driver.ErrRefused) {
				t.Errorf("Join returned %+v, %v, want a refusal", v, err)
			}
			r.few(t)
			r.left(t, other)
		})
		t.Run(who+", refused, answer lost", func(t *testing.T) {
			t.Parallel()
			enter := open(t)
			var link Link
			other, p := enter(nil), enter(&link)
			r := q.hurry(t, other, func(asked int) driver.Claim {
				if asked > enough {
					link.LoseReply(1)
				}
				return q.late(asked)
			})
			if v, err := p.Join(limited(t), r.claim); err == nil || errors.Is(err, driver.ErrRefused) {
				t.Fatalf("Join returned %+v, %v, want that its answer is lost", v, err)
			}
			r.gone(t, p)
			if r.asked != enough+2 {
				t.Errorf("Admit was asked %d times, want once more by Resolve", r.asked)
			}
			r.left(t, other)
		})
	}
}

// LateLeaves tests that what a conditional join has refused, and told to leave, is adopted by
// no Resolve: that may apply late, and would take it away from who holds by it. It is for
// stores where it may: where a request that was given up can arrive after one on another
// connection.
func LateLeaves(t *testing.T, open func(t *testing.T) Entrance) {
	for who, q := range rushes {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			enter := open(t)
			var link Link
			other, p := enter(nil), enter(&link)
			var bar driver.Entry
			r := q.hurry(t, other, q.late)
			admit := r.claim.Admit
			r.claim.Admit = func(v driver.View) bool {
				yes := admit(v)
				if r.asked == enough+2 { // it was joined behind the bar, and leaves next
					bar = v.Ahead[len(v.Ahead)-1]
					link.Detain(1)
				}
				return yes
			}
			if v, err := p.Join(limited(t), r.claim); err == nil || errors.Is(err, driver.ErrRefused) {
				t.Fatalf("Join returned %+v, %v, want that its entry may have left", v, err)
			}
			if err := other.Leave(limited(t), bar); err != nil {
				t.Fatal(err)
			}
			r.gone(t, p) // though it would be admitted by now
			link.Deliver()
			r.left(t, other)
		})
	}
}

// hurry has another party join each time when the claim's Admit would say yes.
func (q queueOf) hurry(t *testing.T, other Party, makes func(asked int) driver.Claim) *rush {
	t.Helper()
	r := &rush{claim: q.claim()}
	r.claim.Admit = func(v driver.View) bool {
		yes := q.admits(v)
		if r.asked++; yes && r.asked <= tooMany {
			if _, err := other.Join(limited(t), makes(r.asked)); err != nil {
				t.Error(err)
			}
		}
		return yes
	}
	return r
}

// late is who joins last: a bar, when the claim is about to join whoever is there.
func (q queueOf) late(asked int) driver.Claim {
	if asked == enough+1 {
		return q.bar()
	}
	return q.claim()
}

// few fails where Admit was asked more often than in a call that is not to wait.
func (r *rush) few(t *testing.T) {
	t.Helper()
	if r.asked >= 2*enough {
		t.Errorf("Admit was asked %d times", r.asked)
	}
}

// gone resolves the claim, until there is an answer.
func (r *rush) gone(t *testing.T, p Party) {
	t.Helper()
	for ctx := limited(t); ; {
		v, err := p.Resolve(ctx, r.claim)
		switch {
		case err == nil:
			t.Errorf("Resolve returned %+v, want ErrEntryGone", v)
			return
		case errors.Is(err, driver.ErrEntryGone):
			return
		case ctx.Err() != nil:
			t.Fatalf("Resolve has no answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // it may still connect
	}
}

// left fails if the claim has an entry in its queue, or the others have none.
func (r *rush) left(t *testing.T, p Party) {
	t.Helper()
	q, err := p.Store.Read(limited(t), r.claim.Name, 0)
	if err != nil || len(q.Entries) == 0 {
		t.Errorf("the queue is %+v, %v, want the others", q.Entries, err)
	}
	for _, e := range q.Entries {
		if e.ID == r.claim.ID {
			t.Errorf("it has left the entry %+v", e)
		}
	}
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func claimOf(kind string, mode driver.Mode) driver.Claim {
	return driver.Claim{Name: "q", ID: randomHex(16), Kind: kind, Mode: mode}
}

func reading() driver.Claim { return claimOf("rwmutex", driver.Shared) }
func writing() driver.Claim { return claimOf("rwmutex", driver.Exclusive) }

func noWriter(v driver.View) bool {
	for _, e := range v.Ahead {
		if e.Mode != driver.Shared {
			return false
		}
	}
	return true
}

// permits are those of a semaphore of 100.
func permits(weight string) driver.Claim {
	c := claimOf("semaphore", driver.Permit)
	c.Limit, c.Value = 100, weight
	return c
}

func light() driver.Claim { return permits("1") }
func heavy() driver.Claim { return permits("100") }

func fits(v driver.View) bool {
	var weight int64
	for _, e := range v.Ahead {
		n, _ := strconv.ParseInt(e.Value, 10, 64)
		weight += n
	}
	return weight < v.Limit.N
}
