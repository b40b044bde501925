package demo

import (
	"slices"
	"strings"
	"testing"
)

// good is a history in which everything held: ann leads and is killed, ben leads
// and is frozen from 100 to 200, cleo leads; ann, ben and cleo take turns with the
// lock; with dov they share two permits.
func good() *checker {
	return &checker{
		frozen: "ben",
		thawed: 200,
		h: &history{
			deaths: map[string]int64{"ann": 60},
			events: map[string][]Event{
				"ann": {
					{At: 1, Kind: Asked, Name: leaderName},
					{At: 5, Kind: Granted, Name: leaderName, Token: 1},
					{At: 6, Kind: Asked, Name: lockName},
					{At: 10, Kind: Granted, Name: lockName, Token: 4},
					{At: 20, Kind: Wrote, Name: leaderName, Token: 1, Serial: 1},
					{At: 30, Kind: Releasing, Name: lockName, Token: 4},

					{At: 3, Kind: Asked, Name: permitName},
					{At: 4, Kind: Granted, Name: permitName, Token: 21},
				},
				"ben": {
					{At: 2, Kind: Asked, Name: leaderName},
					{At: 8, Kind: Queued, Name: leaderName, Token: 2},
					{At: 11, Kind: Asked, Name: lockName},
					{At: 12, Kind: Queued, Name: lockName, Token: 5},
					{At: 31, Kind: Granted, Name: lockName, Token: 5},
					{At: 50, Kind: Releasing, Name: lockName, Token: 5},
					{At: 70, Kind: Granted, Name: leaderName, Token: 2},
					{At: 80, Kind: Wrote, Name: leaderName, Token: 2, Serial: 2},
					{At: 201, Kind: Lost, Name: leaderName, Token: 2, Until: 140},
					{At: 202, Kind: Refused, Name: leaderName, Token: 2, Serial: 4, Newest: 6},

					{At: 5, Kind: Asked, Name: permitName},
					{At: 6, Kind: Granted, Name: permitName, Token: 22},
					{At: 40, Kind: Releasing, Name: permitName, Token: 22},
					{At: 42, Kind: Asked, Name: permitName},
					{At: 43, Kind: Queued, Name: permitName, Token: 25},
					{At: 91, Kind: Granted, Name: permitName, Token: 25},
					{At: 201, Kind: Lost, Name: permitName, Token: 25, Until: 140},
				},
				"cleo": {
					{At: 9, Kind: Asked, Name: leaderName},
					{At: 10, Kind: Queued, Name: leaderName, Token: 6},
					{At: 13, Kind: Asked, Name: lockName},
					{At: 14, Kind: Queued, Name: lockName, Token: 7},
					{At: 51, Kind: Granted, Name: lockName, Token: 7},
					{At: 55, Kind: Releasing, Name: lockName, Token: 7},
					{At: 150, Kind: Granted, Name: leaderName, Token: 6},
					{At: 160, Kind: Wrote, Name: leaderName, Token: 6, Serial: 3},
					{At: 300, Kind: Releasing, Name: leaderName, Token: 6},

					{At: 7, Kind: Asked, Name: permitName},
					{At: 8, Kind: Queued, Name: permitName, Token: 23},
					{At: 41, Kind: Granted, Name: permitName, Token: 23},
					{At: 90, Kind: Releasing, Name: permitName, Token: 23},
					{At: 92, Kind: Asked, Name: permitName},
					{At: 93, Kind: Queued, Name: permitName, Token: 26},
					{At: 142, Kind: Granted, Name: permitName, Token: 26},
					{At: 160, Kind: Releasing, Name: permitName, Token: 26},
				},
				"dov": {
					{At: 9, Kind: Asked, Name: permitName},
					{At: 15, Kind: Queued, Name: permitName, Token: 24},
					{At: 65, Kind: Granted, Name: permitName, Token: 24},
					{At: 145, Kind: Releasing, Name: permitName, Token: 24},
					{At: 146, Kind: Asked, Name: permitName},
					{At: 147, Kind: Granted, Name: permitName, Token: 27},
					{At: 170, Kind: Releasing, Name: permitName, Token: 27},
				},
			},
		},
	}
}

// change edits the events of a replica that have the kind and the name.
func (c *checker) change(who string, kind Kind, name string, edit func(*Event)) {
	for i := range c.h.events[who] {
		if e := &c.h.events[who][i]; e.Kind == kind && e.Name == name {
			edit(e)
		}
	}
}

// shift moves such an event in time, but not in the journal.
func (c *checker) shift(who string, kind Kind, name string, from, to int64) {
	c.change(who, kind, name, func(e *Event) {
		if e.At == from {
			e.At = to
		}
	})
}

func (c *checker) remove(who string, kind Kind, name string) {
	var kept []Event
	for _, e := range c.h.events[who] {
		if e.Kind != kind || e.Name != name {
			kept = append(kept, e)
		}
	}
	c.h.events[who] = kept
}

func TestGoodHistoryPasses(t *testing.T) {
	for _, f := range good().check() {
		if len(f.violations) != 0 {
			t.Errorf("%s: %q", f.claim, f.violations)
		}
	}
}

// Every check has to be able to fail.
func TestViolationsAreFound(t *testing.T) {
	fallen := func(c *checker) { // dov's second permit has a token smaller than all before
		c.remove("dov", Releasing, permitName)
		c.change("dov", Granted, permitName, func(e *Event) {
			if e.Token == 27 {
				e.Token = 20
			}
		})
	}
	for name, c := range map[string]struct {
		plant func(*checker)
		want  string
	}{
		"two hold the lock": {
			func(c *checker) { c.change("ben", Granted, lockName, func(e *Event) { e.At = 25 }) },
			"ann (token 4) and ben (token 5) both held the lock",
		},
		"a hold that never ends": {
			func(c *checker) { c.remove("ben", Releasing, lockName) },
			"ben (token 5) and cleo (token 7) both held the lock",
		},
		"a leader elected while the killed one lived": {
			func(c *checker) { c.h.deaths["ann"] = 75 },
			"ann (token 1) and ben (token 2) both held the leader",
		},
		"a leader elected while the frozen one was trusted to lead": {
			func(c *checker) { c.change("ben", Lost, leaderName, func(e *Event) { e.Until = 155 }) },
			"ben (token 2) and cleo (token 6) both held the leader",
		},
		"a token that falls": {
			func(c *checker) {
				c.change("cleo", Granted, lockName, func(e *Event) { e.Token = 3 })
				c.change("cleo", Releasing, lockName, func(e *Event) { e.Token = 3 })
			},
			"cleo got the lock at 0.000 s with token 3, after ben had got it with token 5",
		},
		"served in another order": {
			func(c *checker) {
				c.change("cleo", Granted, lockName, func(e *Event) { e.At = 30 })
				c.change("cleo", Releasing, lockName, func(e *Event) { e.At = 30 })
			},
			"ben was in the queue for the lock (token 5) before cleo asked, but cleo (token 7) was served first",
		},
		"passed over": {
			func(c *checker) {
				c.remove("ben", Granted, lockName)
				c.remove("ben", Releasing, lockName)
			},
			"ben stood in the queue for the lock with token 5, and was passed over by cleo (token 7)",
		},
		"a late write that was accepted": {
			func(c *checker) { c.change("ben", Refused, leaderName, func(e *Event) { e.Kind = Wrote }) },
			"the register accepted ben's write 4 with token 2, after one with token 6",
		},
		"a good write that was refused": {
			func(c *checker) {
				c.change("cleo", Wrote, leaderName, func(e *Event) { e.Kind, e.Newest = Refused, 6 })
			},
			"the register refused cleo's write 3",
		},
		"more permits than there are": {
			func(c *checker) { c.shift("dov", Granted, permitName, 65, 55) },
			"ann (token 21), cleo (token 23), dov (token 24) all had permits",
		},
		"a permit given out while the killed one lived": {
			func(c *checker) { c.h.deaths["ann"] = 66 },
			"ann (token 21), cleo (token 23), dov (token 24) all had permits",
		},
		"a permit given out while the frozen one was trusted to have it": {
			func(c *checker) { c.change("ben", Lost, permitName, func(e *Event) { e.Until = 143 }) },
			"dov (token 24), ben (token 25), cleo (token 26) all had permits",
		},
		"a permit that is never given back": {
			func(c *checker) { c.remove("dov", Releasing, permitName) },
			"dov (token 24), cleo (token 26), dov (token 27) all had permits",
		},
		"permits had one by one": {
			func(c *checker) {
				for _, who := range []string{"ben", "cleo", "dov"} {
					c.remove(who, Granted, permitName)
				}
			},
			"all 2 were never in use at once, of 1 given out",
		},
		"permits had in another order": {
			func(c *checker) {
				c.shift("cleo", Granted, permitName, 41, 66)
				c.shift("dov", Granted, permitName, 65, 41)
			},
			"ann (token 21), dov (token 24) had permits, and cleo (token 23) had not, whose turn came before",
		},
		"passed over for a permit": {
			func(c *checker) {
				c.shift("cleo", Granted, permitName, 41, 0)
				c.h.events["cleo"] = slices.DeleteFunc(c.h.events["cleo"], func(e Event) bool { return e.At == 0 })
			},
			"cleo stood in the queue for the permits with token 23, and was passed over",
		},
		"a permit's token that falls": {
			fallen,
			"dov asked for a permit at 0.000 s and got one with token 20, after ann had got one with token 21",
		},
		"who asks later has a smaller token": {
			fallen,
			"ben was in the queue for the permits (token 25) before dov asked, but dov (token 20) was served first",
		},
		"no late write": {
			func(c *checker) { c.remove("ben", Refused, leaderName) },
			"but made no late write that was refused",
		},
		"nothing held": {
			func(c *checker) { c.h.events = nil },
			"the lock was held 0 times",
		},
		"nobody seen waiting": {
			func(c *checker) {
				for who := range c.h.events {
					c.remove(who, Queued, leaderName)
					c.remove(who, Queued, lockName)
					c.remove(who, Queued, permitName)
				}
			},
			"no replica was seen waiting",
		},
	} {
		t.Run(name, func(t *testing.T) {
			checker := good()
			c.plant(checker)
			var found []string
			for _, f := range checker.check() {
				found = append(found, f.violations...)
			}
			if !strings.Contains(strings.Join(found, "\n"), c.want) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}

// A place is given up for a reason when its owner's lease ran out.
func TestLostPlaceIsNotPassedOver(t *testing.T) {
	c := good()
	c.remove("ben", Granted, lockName)
	c.remove("ben", Releasing, lockName)
	c.h.events["ben"] = append(c.h.events["ben"], Event{At: 203, Kind: Expired})
	if f := c.order([]string{leaderName, lockName}); len(f.violations) != 0 {
		t.Errorf("violations: %q", f.violations)
	}
}

// So it is when it gave that request up, but not when it gave up a later one.
func TestPlaceGivenUpIsNotPassedOver(t *testing.T) {
	for _, again := range []bool{false, true} {
		c := good()
		c.remove("ben", Granted, lockName)
		c.remove("ben", Releasing, lockName)
		if again {
			c.h.events["ben"] = append(c.h.events["ben"], Event{At: 203, Kind: Asked, Name: lockName})
		}
		c.h.events["ben"] = append(c.h.events["ben"], Event{At: 204, Kind: GaveUp, Name: lockName})
		if f := c.order([]string{leaderName, lockName}); (len(f.violations) != 0) != again {
			t.Errorf("given up later: %v, violations: %q", again, f.violations)
		}
	}
}

// All permits at once is what they are there for.
func TestLimitMayBeReached(t *testing.T) {
	f := good().limit()
	if want := "7 permits given out, all 2 in use 6 times"; len(f.violations) != 0 || !strings.HasPrefix(f.evidence, want) {
		t.Errorf("%s (violations: %q), want %s", f.evidence, f.violations, want)
	}
}

// Turns that came at the same time may be noticed in another order.
func TestOneWhoNoticesItsTurnLateIsNotOvertaken(t *testing.T) {
	c := good()
	c.shift("cleo", Granted, permitName, 41, 66) // dov, who is behind, has a permit from 65
	for _, f := range c.check() {
		if len(f.violations) != 0 {
			t.Errorf("%s: %q", f.claim, f.violations)
		}
	}
}

// A replica may be frozen between the grant and the line in its journal. When it
// goes on it writes down what is lost by then.
func TestGrantLostBeforeItWasNotedIsNoHold(t *testing.T) {
	c := good()
	c.shift("ben", Granted, leaderName, 70, 200)
	c.remove("ben", Wrote, leaderName)
	c.shift("ben", Granted, permitName, 91, 200)
	for _, f := range c.check() {
		if len(f.violations) != 0 {
			t.Errorf("%s: %q", f.claim, f.violations)
		}
	}
}

func TestRegisterRefusesOlderTokens(t *testing.T) {
	r, err := openRegister()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	p, err := openPen(r.address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.close() }()
	for i, c := range []struct {
		token uint64
		want  verdict
	}{
		{5, verdict{Accepted: true, Serial: 1, Newest: 5}},
		{5, verdict{Accepted: true, Serial: 2, Newest: 5}},
		{9, verdict{Accepted: true, Serial: 3, Newest: 9}},
		{5, verdict{Accepted: false, Serial: 4, Newest: 9}},
	} {
		if got, err := p.write(c.token); err != nil || got != c.want {
			t.Errorf("write %d with token %d: %+v (%v), want %+v", i, c.token, got, err, c.want)
		}
	}
}
