package drivertest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// What the driver interface promises of leases.
var leaseCases = []Case{
	{"LeaseOutlivesItsTTLWhileRenewed", leaseOutlivesItsTTLWhileRenewed},
	{"EntriesGoWithTheLease", entriesGoWithTheLease},
	{"NothingAppliesUnderALeaseThatIsGone", nothingAppliesUnderALeaseThatIsGone},
	{"LeaseWatchTellsOfTheEnd", leaseWatchTellsOfTheEnd},
	{"LeaseKnowsItsEntries", leaseKnowsItsEntries},
	{"RevokeIsIdempotent", revokeIsIdempotent},
	{"DriverReturnsWhenItsContextEnds", driverReturnsWhenItsContextEnds},
}

// leased obtains a lease of the smallest TTL, which is not renewed.
func (f *fixture) leased(h *holder) (driver.Lease, time.Time) {
	f.Helper()
	before := time.Now()
	l, sent, err := h.store.Grant(f.ctx, driver.Spec{TTL: f.b.MinTTL, Identity: "short"})
	if err != nil {
		f.Fatalf("obtain a lease: %v", err)
	}
	if sent.Before(before) || sent.After(time.Now()) {
		f.Errorf("Grant says that it was sent at %v, it was called at %v", sent, before)
	}
	if l.TTL() < f.b.MinTTL {
		f.Errorf("a lease of %v was granted, less than the smallest, %v", l.TTL(), f.b.MinTTL)
	}
	return l, sent
}

func leaseOutlivesItsTTLWhileRenewed(f *fixture) {
	h, name := f.bare(), f.name("q")
	l, sent := f.leased(h)
	v, err := l.Join(f.ctx, claim(name))
	if err != nil {
		f.Fatalf("join: %v", err)
	}
	for time.Since(sent) < 2*l.TTL() {
		if err := l.Renew(f.ctx); err != nil {
			f.Fatalf("renew: %v", err)
		}
		if err := l.Check(f.ctx); err != nil {
			f.Fatalf("check: %v", err)
		}
		<-time.After(l.TTL() / 10)
	}
	if _, err := l.Look(f.ctx, v.Me); err != nil {
		f.Errorf("the entry of a lease that was renewed: %v", err)
	}
	if err := l.Revoke(f.ctx); err != nil {
		f.Errorf("revoke: %v", err)
	}
}

func entriesGoWithTheLease(f *fixture) {
	h, name := f.bare(), f.name("q")
	l, sent := f.leased(h)
	held, err := l.Join(f.ctx, claim(name))
	if err != nil {
		f.Fatalf("join: %v", err)
	}
	me := h.join(name)
	v := h.awaiting(me, f.nearest(me)).must() // woken by the expiry
	if early := l.TTL() - time.Since(sent); early > 0 {
		f.Errorf("the lease ended %v before its TTL of %v had passed", early, l.TTL())
	}
	if len(v.Ahead) != 0 {
		f.Errorf("%v is ahead, its lease has run out", brief(v.Ahead))
	}
	if _, err := l.Look(f.ctx, held.Me); !errors.Is(err, driver.ErrEntryGone) && !errors.Is(err, driver.ErrLeaseGone) {
		f.Errorf("Look at an entry whose lease has run out returned %v", err)
	}
	if err := l.Leave(f.ctx, held.Me); err != nil && !errors.Is(err, driver.ErrLeaseGone) {
		f.Errorf("Leave of an entry whose lease has run out returned %v, want nil", err)
	}
	f.alone(name, me.Me.Token)
}

func nothingAppliesUnderALeaseThatIsGone(f *fixture) {
	h, name := f.bare(), f.name("q")
	c := claim(name)
	if _, err := h.Join(f.ctx, c); err != nil {
		f.Fatalf("join: %v", err)
	}
	f.b.Expire(f.TB, h.Lease)
	f.queued(name, 0)
	for what, call := range map[string]func() error{
		"Join":  func() error { _, err := h.Join(f.ctx, claim(name)); return err },
		"Renew": func() error { return h.Renew(f.ctx) },
		"Check": func() error { return h.Check(f.ctx) },
	} {
		if err := call(); !errors.Is(err, driver.ErrLeaseGone) {
			f.Errorf("%s under a lease that is gone returned %v, want ErrLeaseGone", what, err)
		}
	}
	if _, err := h.Resolve(f.ctx, c); !errors.Is(err, driver.ErrLeaseGone) && !errors.Is(err, driver.ErrEntryGone) {
		f.Errorf("Resolve under a lease that is gone returned %v", err)
	}
	if q := f.queue(name); len(q) != 0 {
		f.Errorf("a lease that is gone has entries: %v", brief(q))
	}
}

func leaseWatchTellsOfTheEnd(f *fixture) {
	h := f.bare()
	w := act(f, func() error { return h.Watch(f.ctx, func() {}) })
	f.b.Expire(f.TB, h.Lease)
	if _, err := w.ended(); !errors.Is(err, driver.ErrLeaseGone) {
		f.Errorf("Watch of a lease that was ended returned %v, want ErrLeaseGone", err)
	}
	if err := h.Watch(f.ctx, func() {}); !errors.Is(err, driver.ErrLeaseGone) {
		f.Errorf("Watch of a lease that is gone returned %v, want ErrLeaseGone", err)
	}
}

func leaseKnowsItsEntries(f *fixture) {
	a, b := f.bare(), f.bare()
	b.join(f.name("x"))
	want := map[string]driver.Entry{}
	for _, part := range []string{"x", "x", "y", "y/z"} {
		e := a.join(f.name(part)).Me
		want[e.ID] = e
	}
	check := func() error {
		entries, err := a.Entries(f.ctx)
		if err != nil {
			return err
		}
		if len(entries) != len(want) {
			return fmt.Errorf("the lease has the entries %v, want %v", brief(entries), want)
		}
		for _, e := range entries {
			if made, ok := want[e.ID]; !ok || made.Name != e.Name {
				return fmt.Errorf("the lease has the entry %v, want one of %v", e, want)
			}
		}
		return nil
	}
	f.eventually(check) // it may lag
	entries, err := a.Entries(f.ctx)
	if err != nil {
		f.Fatalf("entries: %v", err)
	}
	for _, e := range entries { // what is known of them suffices to leave
		a.leave(e)
	}
	clear(want)
	f.eventually(check)
	f.queued(f.name("x"), 1)
}

func revokeIsIdempotent(f *fixture) {
	h, name := f.bare(), f.name("q")
	h.join(name)
	for range 2 {
		if err := h.Revoke(f.ctx); err != nil {
			f.Errorf("revoke: %v", err)
		}
	}
	f.queued(name, 0)
}

// driverReturnsWhenItsContextEnds freezes the network under every call.
func driverReturnsWhenItsContextEnds(f *fixture) {
	if !f.b.Networked {
		f.Logf("there is no network to freeze: a frozen store is simulated in the cases on sessions")
	}
	h, other, name := f.bare(), f.bare(), f.name("q")
	first := other.join(name)
	v := h.join(name)
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	if h.link != nil {
		h.link.Freeze()
	}
	calls := map[string]func() error{
		"Watch": func() error { return h.Watch(ctx, func() {}) },
		"Wait":  func() error { _, err := h.Wait(ctx, v, one(first.Me)); return err },
		"Store.Watch": func() error {
			return h.store.Watch(ctx, name, func(driver.Queue) error { return nil })
		},
	}
	if h.link != nil {
		calls["Grant"] = func() error { _, _, err := h.store.Grant(ctx, driver.Spec{TTL: longTTL}); return err }
		calls["Read"] = func() error { _, err := h.store.Read(ctx, name, 0); return err }
		calls["List"] = func() error { _, err := h.store.List(ctx, f.prefix); return err }
		calls["Renew"] = func() error { return h.Renew(ctx) }
		calls["Check"] = func() error { return h.Check(ctx) }
		calls["Join"] = func() error { _, err := h.Join(ctx, claim(f.name("q2"))); return err }
		calls["Resolve"] = func() error { _, err := h.Resolve(ctx, claim(f.name("q3"))); return err }
		calls["Look"] = func() error { _, err := h.Look(ctx, v.Me); return err }
		calls["Update"] = func() error { _, err := h.Update(ctx, v.Me, "x"); return err }
		calls["Leave"] = func() error { return h.Leave(ctx, v.Me) }
		calls["Entries"] = func() error { _, err := h.Entries(ctx); return err }
	}
	jobs := map[string]*job[struct{}]{}
	for what, call := range calls {
		jobs[what] = act(f, call)
	}
	for what, j := range jobs {
		j.goesOn(what)
	}
	cancel()
	for what, j := range jobs {
		if _, err := j.endedWithin(prompt); err == nil {
			f.Errorf("%s returned nil after its context had ended", what)
		}
	}
}
