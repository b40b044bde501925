package drivertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/fairlead-go/fairlead/session/driver"
)

// What the driver interface promises of entries.
var entryCases = []Case{
	{"JoinAppends", joinAppends},
	{"EntryCarriesItsClaim", entryCarriesItsClaim},
	{"AdmitIsPartOfTheJoin", admitIsPartOfTheJoin},
	{"ResolveFindsTheEntryMade", resolveFindsTheEntryMade},
	{"JoinResolvedAsGoneNeverApplies", joinResolvedAsGoneNeverApplies},
	{"WithdrawRemovesTheEntryForGood", withdrawRemovesTheEntryForGood},
	{"LateJoinNeverApplies", lateJoinNeverApplies},
	{"LateJoinOfAWithdrawnClaimNeverApplies", lateJoinOfAWithdrawnClaimNeverApplies},
	{"StaleLeaveKeepsNewEntry", staleLeaveKeepsNewEntry},
	{"UpdateKeepsPlaceAndToken", updateKeepsPlaceAndToken},
	{"OvertakenUpdateHasNoEffect", overtakenUpdateHasNoEffect},
	{"WaitEndsWithItsEntryAlone", waitEndsWithItsEntryAlone},
	{"WaitMissesNothing", waitMissesNothing},
	{"WaitSeesAChange", waitSeesAChange},
	{"WaitKnowsThatItsOwnEntryIsGone", waitKnowsThatItsOwnEntryIsGone},
}

// A holder is a lease at the driver, without a session.
type holder struct {
	driver.Lease
	f     *fixture
	store driver.Store
	link  *Link // nil unless the backend is networked
}

// bare connects to the store and obtains a lease that does not run out by itself.
func (f *fixture) bare() *holder {
	f.Helper()
	h := &holder{f: f}
	if f.b.Networked {
		h.link = &Link{}
	}
	h.store = f.b.Connect(f.TB, h.link)
	f.Cleanup(func() {
		if err := h.store.Close(); err != nil {
			f.Errorf("close the connection: %v", err)
		}
		if h.link != nil {
			h.link.Cut()
		}
	})
	l, _, err := h.store.Grant(f.ctx, driver.Spec{TTL: longTTL, Identity: "bare"})
	if err != nil {
		f.Fatalf("obtain a lease: %v", err)
	}
	h.Lease = l
	f.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), f.patience)
		defer cancel()
		if h.link != nil {
			h.link.Heal()
		}
		if err := l.Revoke(ctx); err != nil {
			f.Errorf("revoke the lease: %v", err)
		}
	})
	return h
}

func claim(name string) driver.Claim {
	return driver.Claim{Name: name, ID: randomHex(16), Kind: "mutex", Mode: driver.Exclusive}
}

// join joins a queue, from the case's goroutine.
func (h *holder) join(name string) driver.View {
	h.f.Helper()
	v, err := h.Join(h.f.ctx, claim(name))
	if err != nil {
		h.f.Fatalf("join: %v", err)
	}
	return v
}

// leave leaves, from the case's goroutine.
func (h *holder) leave(e driver.Entry) {
	h.f.Helper()
	if err := h.Leave(h.f.ctx, e); err != nil {
		h.f.Fatalf("leave: %v", err)
	}
}

// one is a single obstacle.
func one(e driver.Entry) driver.Obstacles { return driver.Obstacles{Entries: []driver.Entry{e}} }

// awaiting starts a Wait.
func (h *holder) awaiting(v driver.View, on driver.Entry) *job[driver.View] {
	return begin(h.f, func() (driver.View, error) { return h.Wait(h.f.ctx, v, one(on)) })
}

// nearest returns the entry right ahead.
func (f *fixture) nearest(v driver.View) driver.Entry {
	f.Helper()
	if len(v.Ahead) == 0 {
		f.Fatalf("nobody is ahead of token %d", v.Me.Token)
	}
	return v.Ahead[len(v.Ahead)-1]
}

// alone checks that the queue consists of the entry with this token.
func (f *fixture) alone(name string, token uint64) {
	f.Helper()
	if q := f.queue(name); len(q) != 1 || q[0].Token != token {
		f.Errorf("the queue is %v, want the entry with token %d alone", brief(q), token)
	}
}

func joinAppends(f *fixture) {
	a, b, name := f.bare(), f.bare(), f.name("q")
	var last driver.View
	for i := range 6 {
		h := []*holder{a, b}[i%2]
		v := h.join(name)
		switch {
		case i == 0 && len(v.Ahead) != 0:
			f.Errorf("the first sees %v ahead", brief(v.Ahead))
		case i > 0 && f.nearest(v).Token != last.Me.Token:
			f.Errorf("entry %d sees token %d right ahead, want %d", i, f.nearest(v).Token, last.Me.Token)
		case i > 0 && v.Me.Token <= last.Me.Token:
			f.Errorf("token %d follows token %d", v.Me.Token, last.Me.Token)
		}
		last = v
	}
	q := f.queue(name)
	for i := range q[1:] {
		if q[i].Token >= q[i+1].Token {
			f.Errorf("Read is not in join order: %v", brief(q))
		}
	}
	if len(q) != 6 {
		f.Errorf("%d entries, want 6", len(q))
	}
	first, err := f.admin.Read(f.ctx, name, 2)
	if err != nil || len(first.Entries) != 2 || first.Entries[0].Token != q[0].Token {
		f.Errorf("Read with limit 2 returned %v, %v", first, err)
	}
}

func entryCarriesItsClaim(f *fixture) {
	h, name := f.bare(), f.name("q")
	c := claim(name)
	c.Kind, c.Value, c.Info.Note = "election", "10.0.0.1:80 \x00\n\xff ü", "tidying up"
	v, err := h.Join(f.ctx, c)
	if err != nil {
		f.Fatalf("join: %v", err)
	}
	read := f.queue(name)
	if len(read) != 1 {
		f.Fatalf("the queue is %v, want one entry", read)
	}
	looked, err := h.Look(f.ctx, v.Me)
	if err != nil {
		f.Fatalf("look: %v", err)
	}
	for source, e := range map[string]driver.Entry{"Join": v.Me, "Read": read[0], "Look": looked.Me} {
		if e.Name != name || e.ID != c.ID || e.Kind != c.Kind || e.Mode != c.Mode || e.Value != c.Value ||
			e.Info.Note != c.Info.Note || e.Lease != h.ID() || e.Token != v.Me.Token || e.Key == "" {
			f.Errorf("%s returned %+v for the claim %+v", source, e, c)
		}
		if who, err := f.admin.Identify(f.ctx, e); who != "bare" || err != nil {
			f.Errorf("Identify of the entry from %s returned %q, %v", source, who, err)
		}
	}
}

func admitIsPartOfTheJoin(f *fixture) {
	name := f.name("q")
	holders := []*holder{f.bare(), f.bare(), f.bare()}
	var mu sync.Mutex
	var won []driver.View
	var refused []*driver.Refused
	var tries []*job[struct{}]
	for i := range 12 {
		tries = append(tries, act(f, func() error {
			c := claim(name)
			c.Admit = func(v driver.View) bool { return len(v.Ahead) == 0 }
			v, err := holders[i%3].Join(f.ctx, c)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, v)
				return nil
			}
			r, ok := errors.AsType[*driver.Refused](err)
			if !ok {
				return err
			}
			refused = append(refused, r)
			return nil
		}))
	}
	for _, j := range tries {
		j.must()
	}
	if len(won) != 1 {
		f.Fatalf("%d of 12 joins of an empty queue were admitted, want 1", len(won))
	}
	for _, r := range refused {
		if len(r.Ahead) == 0 || r.Ahead[0].Token != won[0].Me.Token {
			f.Errorf("a refusal names %v as ahead, want token %d", brief(r.Ahead), won[0].Me.Token)
		}
	}
	f.alone(name, won[0].Me.Token)
}

func resolveFindsTheEntryMade(f *fixture) {
	h, name := f.bare(), f.name("q")
	first := h.join(name)
	c := claim(name)
	made, err := h.Join(f.ctx, c)
	if err != nil {
		f.Fatalf("join: %v", err)
	}
	found, err := h.Resolve(f.ctx, c) // as if the reply had been lost
	if err != nil {
		f.Fatalf("resolve: %v", err)
	}
	if found.Me.Token != made.Me.Token || f.nearest(found).Token != first.Me.Token {
		f.Errorf("Resolve found %+v, Join had made %+v", found, made)
	}
	h.leave(found.Me)
	f.alone(name, first.Me.Token)
}

func joinResolvedAsGoneNeverApplies(f *fixture) {
	h, name := f.bare(), f.name("q")
	c := claim(name)
	if _, err := h.Resolve(f.ctx, c); !errors.Is(err, driver.ErrEntryGone) {
		f.Fatalf("Resolve of a claim never made returned %v, want ErrEntryGone", err)
	}
	// The lease and the queue are as good as before.
	v := h.join(name)
	if len(v.Ahead) != 0 {
		f.Errorf("%v is ahead in a queue that should be empty", brief(v.Ahead))
	}
	if _, err := h.Resolve(f.ctx, c); !errors.Is(err, driver.ErrEntryGone) {
		f.Errorf("a second Resolve returned %v, want ErrEntryGone", err)
	}
	f.alone(name, v.Me.Token)
}

func withdrawRemovesTheEntryForGood(f *fixture) {
	h, name := f.bare(), f.name("q")
	stays := h.join(name)
	c := claim(name)
	if _, err := h.Join(f.ctx, c); err != nil {
		f.Fatalf("join: %v", err)
	}
	never := claim(name)
	for range 2 { // as if the first reply had been lost
		for _, c := range []driver.Claim{c, never} {
			if err := h.Withdraw(f.ctx, c); err != nil {
				f.Errorf("withdraw: %v", err)
			}
		}
	}
	for _, c := range []driver.Claim{c, never} {
		if _, err := h.Resolve(f.ctx, c); !errors.Is(err, driver.ErrEntryGone) {
			f.Errorf("Resolve of a claim that was withdrawn returned %v, want ErrEntryGone", err)
		}
	}
	f.alone(name, stays.Me.Token)
}

// lateJoinNeverApplies lets the request of a Join arrive after Resolve said that
// there is no entry: "not found" must have become "never".
func lateJoinNeverApplies(f *fixture) {
	f.lateJoin(func(h *holder, c driver.Claim) error {
		if _, err := h.Resolve(f.ctx, c); !errors.Is(err, driver.ErrEntryGone) {
			return fmt.Errorf("Resolve returned %v, want ErrEntryGone", err)
		}
		return nil
	})
}

// lateJoinOfAWithdrawnClaimNeverApplies is the same for a caller that had given up.
func lateJoinOfAWithdrawnClaimNeverApplies(f *fixture) {
	f.lateJoin(func(h *holder, c driver.Claim) error { return h.Withdraw(f.ctx, c) })
}

// lateJoin lets the request of a Join arrive after the claim was settled.
func (f *fixture) lateJoin(settle func(*holder, driver.Claim) error) {
	h, name := f.bare(), f.name("q")
	c := claim(name)
	h.join(f.name("elsewhere")) // whatever a first request sets up is set up
	var arrive func()
	var joinErr error
	if h.link != nil {
		h.link.Detain(1)
		ctx, cancel := context.WithTimeout(f.ctx, prompt)
		defer cancel()
		_, joinErr = h.Join(ctx, c)
		arrive = h.link.Deliver
	} else {
		joinErr = errReplyLost
		arrive = func() { _, _ = h.Join(f.ctx, c) }
	}
	if joinErr == nil {
		f.Fatalf("Join succeeded though its request was held back")
	}
	f.eventually(func() error { return settle(h, c) }) // the connection has to be made again first
	arrive()
	if q := f.queue(name); len(q) != 0 {
		f.Errorf("a Join that was resolved as gone has applied: %v", brief(q))
	}
	v := h.join(name)
	f.alone(name, v.Me.Token)
}

func staleLeaveKeepsNewEntry(f *fixture) {
	a, b, name := f.bare(), f.bare(), f.name("q")
	c := claim(name)
	old, err := a.Join(f.ctx, c)
	if err != nil {
		f.Fatalf("join: %v", err)
	}
	a.leave(old.Me)
	for _, h := range []*holder{a, b} {
		fresh := h.join(name)
		a.leave(old.Me) // late, or retried
		f.alone(name, fresh.Me.Token)
		forged := fresh.Me
		forged.Token = old.Me.Token // the same key, made anew
		if err := a.Leave(f.ctx, forged); err != nil {
			f.Errorf("Leave of an entry that is gone returned %v, want nil", err)
		}
		f.alone(name, fresh.Me.Token)
		if _, err := h.Look(f.ctx, forged); !errors.Is(err, driver.ErrEntryGone) {
			f.Errorf("Look at an entry whose place another has taken returned %v, want ErrEntryGone", err)
		}
		h.leave(fresh.Me)
	}
}

func updateKeepsPlaceAndToken(f *fixture) {
	h, name := f.bare(), f.name("q")
	v := h.join(name)
	h.join(name)
	big := strings.Repeat("x", driver.MaxValue)
	for _, value := range []string{"first", "", big} {
		e, err := h.Update(f.ctx, v.Me, value)
		if err != nil {
			f.Fatalf("update: %v", err)
		}
		if e.Value != value || e.Token != v.Me.Token || e.Version == v.Me.Version || e.Lease != h.ID() {
			f.Errorf("Update to %d bytes returned token %d, version %d, %d bytes", len(value), e.Token, e.Version, len(e.Value))
		}
		v.Me = e
		if q := f.queue(name); len(q) != 2 || q[0].Token != e.Token || q[0].Value != value {
			f.Errorf("after an Update to %d bytes the queue is %v", len(value), brief(q))
		}
	}
	h.leave(v.Me)
	if _, err := h.Update(f.ctx, v.Me, "ghost"); !errors.Is(err, driver.ErrEntryGone) {
		f.Errorf("Update of an entry that is gone returned %v, want ErrEntryGone", err)
	}
	if q := f.queue(name); len(q) != 1 {
		f.Errorf("the queue is %v, want the other entry alone", brief(q))
	}
}

func overtakenUpdateHasNoEffect(f *fixture) {
	h, name := f.bare(), f.name("q")
	v := h.join(name)
	arrive := func() {}
	if h.link != nil {
		h.link.Detain(1)
		ctx, cancel := context.WithTimeout(f.ctx, prompt)
		defer cancel()
		if _, err := h.Update(ctx, v.Me, "older"); err == nil {
			f.Fatalf("Update succeeded though its request was held back")
		}
		arrive = h.link.Deliver
	} else if _, err := h.Update(f.ctx, v.Me, "older"); err != nil {
		f.Fatalf("update: %v", err)
	}
	// The caller does not know whether the first took effect: its entry may be
	// out of date, and the second has to take effect all the same.
	f.eventually(func() error { // the connection has to be made again first
		_, err := h.Update(f.ctx, v.Me, "newer")
		return err
	})
	arrive()
	if q := f.queue(name); len(q) != 1 || q[0].Value != "newer" {
		f.Errorf("the queue is %v after an overtaken Update, want the value %q", brief(q), "newer")
	}
}

func waitEndsWithItsEntryAlone(f *fixture) {
	a, b, name := f.bare(), f.bare(), f.name("q")
	first, second := a.join(name), a.join(name)
	third := b.join(name)
	w := b.awaiting(third, first.Me)
	behind := a.join(name)
	a.leave(second.Me) // between the two
	a.leave(behind.Me)
	other := a.join(f.name("q2"))
	a.leave(other.Me)
	w.goesOn("Wait for an entry that has not left")
	a.leave(first.Me)
	if v := w.must(); len(v.Ahead) != 0 || v.Me.Token != third.Me.Token {
		f.Errorf("Wait returned %+v, want nobody ahead of token %d", v, third.Me.Token)
	}
}

func waitMissesNothing(f *fixture) {
	a, b, name := f.bare(), f.bare(), f.name("q")
	for i := range 20 {
		first := a.join(name)
		me := b.join(name)
		var w *job[driver.View]
		if i%2 == 0 { // gone before Wait begins
			a.leave(first.Me)
			w = b.awaiting(me, f.nearest(me))
		} else { // gone while it begins
			w = b.awaiting(me, f.nearest(me))
			a.leave(first.Me)
		}
		if v := w.must(); len(v.Ahead) != 0 {
			f.Errorf("Wait returned with %v ahead", brief(v.Ahead))
		}
		b.leave(me.Me)
	}
}

func waitSeesAChange(f *fixture) {
	a, b, name := f.bare(), f.bare(), f.name("q")
	first := a.join(name)
	me := b.join(name)
	w := b.awaiting(me, f.nearest(me))
	changed, err := a.Update(f.ctx, first.Me, "granted")
	if err != nil {
		f.Fatalf("update: %v", err)
	}
	if on := f.nearest(w.must()); on.Version != changed.Version || on.Value != "granted" || on.Token != first.Me.Token {
		f.Errorf("Wait returned with %+v ahead, want %+v", on, changed)
	}
}

func waitKnowsThatItsOwnEntryIsGone(f *fixture) {
	a, b, name := f.bare(), f.bare(), f.name("q")
	first := a.join(name)
	me := b.join(name)
	w := b.awaiting(me, f.nearest(me))
	a.leave(me.Me) // by somebody else
	a.leave(first.Me)
	if _, err := w.ended(); !errors.Is(err, driver.ErrEntryGone) {
		f.Errorf("Wait of an entry that was removed returned %v, want ErrEntryGone", err)
	}
	if _, err := b.Look(f.ctx, me.Me); !errors.Is(err, driver.ErrEntryGone) {
		f.Errorf("Look at it returned %v, want ErrEntryGone", err)
	}
}
