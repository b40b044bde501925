package demo

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A finding is what one check found.
type finding struct {
	claim      string // what must hold
	evidence   string // how much was looked at
	violations []string
}

// A checker judges a history.
type checker struct {
	h      *history
	epoch  int64  // the demo's beginning, for messages
	frozen string // who was frozen while it led, and
	thawed int64  // when it went on
}

// check makes all checks.
func (c *checker) check() []finding {
	exclusive := []string{leaderName, lockName}
	all := append(slices.Clone(exclusive), permitName)
	return []finding{c.exclusion(exclusive), c.limit(), c.order(all), c.tokens(exclusive), c.fencing()}
}

func (c *checker) at(t int64) string {
	return fmt.Sprintf("%.3f s", time.Duration(t-c.epoch).Seconds())
}

// exclusion: no two holders of a name at once.
func (c *checker) exclusion(names []string) finding {
	f := finding{claim: "never two holders at once"}
	counts := map[string]int{}
	for _, name := range names {
		holds := c.h.holds(name)
		counts[name] = len(holds)
		if len(holds) < 2 {
			f.violations = append(f.violations, fmt.Sprintf("the %s was held %d times: nothing was shown", name, len(holds)))
		}
		for i, a := range holds {
			for _, b := range holds[i+1:] {
				if b.from < a.to {
					f.violations = append(f.violations, fmt.Sprintf("%s (token %d) and %s (token %d) both held the %s from %s to %s",
						a.who, a.token, b.who, b.token, name, c.at(b.from), c.at(min(a.to, b.to))))
				}
			}
		}
	}
	f.evidence = fmt.Sprintf("%d holds of the lock and %d terms of leadership, none overlaps another", counts[lockName], counts[leaderName])
	return f
}

// limit: no more permits at once than there are. That all of them were in use at
// times shows that more could have been.
func (c *checker) limit() finding {
	f := finding{claim: fmt.Sprintf("never more than %d permits at once", permits)}
	holds := c.h.holds(permitName)
	full := 0
	for _, now := range crowds(holds) {
		switch {
		case len(now.holds) > permits:
			f.violations = append(f.violations, fmt.Sprintf("%s all had permits at %s, and there are %d", roster(now.holds), c.at(now.at), permits))
		case len(now.holds) == permits:
			full++
		}
	}
	if full == 0 {
		f.violations = append(f.violations, fmt.Sprintf("all %d were never in use at once, of %d given out: nothing was shown", permits, len(holds)))
	}
	f.evidence = fmt.Sprintf("%d permits given out, all %d in use %d times, none on top", len(holds), permits, full)
	return f
}

// roster names the holds.
func roster(holds []hold) string {
	var names []string
	for _, h := range holds {
		names = append(names, fmt.Sprintf("%s (token %d)", h.who, h.token))
	}
	return strings.Join(names, ", ")
}

// overtaken returns what is wrong with the order in which permits were had: there
// are enough for those who had one, but not for those as well whose turn came
// before.
func (c *checker) overtaken() (violations []string) {
	for _, now := range crowds(inTurn(c.h.holds(permitName))) {
		var had, late []hold
		for _, h := range now.holds {
			if h.noted > now.at {
				late = append(late, h)
			} else {
				had = append(had, h)
			}
		}
		if len(now.holds) > permits && len(late) > 0 {
			violations = append(violations, fmt.Sprintf("at %s %s had permits, and %s had not, whose turn came before: all of them is more than %d",
				c.at(now.at), roster(had), roster(late), permits))
		}
	}
	return violations
}

// order: first come, first served.
func (c *checker) order(names []string) finding {
	f := finding{claim: "first come, first served", violations: c.overtaken()}
	pairs := 0
	for _, name := range names {
		holds := c.h.holds(name)
		for _, p := range c.h.places(name) {
			i := slices.IndexFunc(holds, func(h hold) bool { return h.who == p.who && h.token == p.token })
			for _, later := range holds {
				if later.token == p.token {
					continue
				}
				if i < 0 && later.token > p.token && !c.h.left(name, p) {
					f.violations = append(f.violations, fmt.Sprintf("%s stood in the queue for the %s with token %d, and was passed over by %s (token %d)",
						p.who, name, p.token, later.who, later.token))
					break
				}
				if i < 0 || later.asked <= p.seen {
					continue
				}
				pairs++
				// Of two who have permits at once, the second may be the first to notice.
				if first := holds[i]; later.token < first.token || name != permitName && later.from < first.from {
					f.violations = append(f.violations, fmt.Sprintf("%s was in the queue for the %s (token %d) before %s asked, but %s (token %d) was served first",
						p.who, name, p.token, later.who, later.who, later.token))
				}
			}
		}
	}
	if pairs == 0 {
		f.violations = append(f.violations, "no replica was seen waiting before another one asked: nothing was shown")
	}
	f.evidence = fmt.Sprintf("%d pairs in which one was in the queue before the other asked, all served in that order", pairs)
	return f
}

// tokens: they rise from grant to grant, and of permits, which may be had in
// another order, from each grant to what was asked for after it.
func (c *checker) tokens(exclusive []string) finding {
	f := finding{claim: "fencing tokens rise"}
	steps := 0
	for _, name := range exclusive {
		holds := c.h.holds(name)
		for i := 1; i < len(holds); i++ {
			steps++
			if a, b := holds[i-1], holds[i]; b.token <= a.token {
				f.violations = append(f.violations, fmt.Sprintf("%s got the %s at %s with token %d, after %s had got it with token %d",
					b.who, name, c.at(b.from), b.token, a.who, a.token))
			}
		}
	}
	pairs := 0
	for _, before := range c.h.holds(permitName) {
		for _, after := range c.h.holds(permitName) {
			if after.asked <= before.from {
				continue
			}
			pairs++
			if after.token <= before.token {
				f.violations = append(f.violations, fmt.Sprintf("%s asked for a permit at %s and got one with token %d, after %s had got one with token %d",
					after.who, c.at(after.asked), after.token, before.who, before.token))
			}
		}
	}
	if steps == 0 || pairs == 0 {
		f.violations = append(f.violations, "nothing was granted twice: nothing was shown")
	}
	f.evidence = fmt.Sprintf("each of %d grants has a larger token than the one before; so has what was asked for after a permit was got, in %d pairs", steps, pairs)
	return f
}

// fencing: the register accepts no older token after a newer one, and what the
// frozen leader wrote when it went on was such a token.
func (c *checker) fencing() finding {
	f := finding{claim: "the late write is refused"}
	var newest uint64
	accepted, late := 0, 0
	for _, w := range c.h.writes() {
		stale := w.Token < newest
		newest = max(newest, w.Token)
		switch {
		case w.Kind == Wrote && stale:
			f.violations = append(f.violations, fmt.Sprintf("the register accepted %s's write %d with token %d, after one with token %d", w.who, w.Serial, w.Token, newest))
		case w.Kind == Refused && w.Token >= w.Newest:
			f.violations = append(f.violations, fmt.Sprintf("the register refused %s's write %d, although it had seen no newer token than its %d", w.who, w.Serial, w.Token))
		case w.Kind == Wrote:
			accepted++
		case w.who == c.frozen && w.At > c.thawed:
			late++
		}
	}
	if late == 0 {
		f.violations = append(f.violations, fmt.Sprintf("%s went on at %s, but made no late write that was refused", c.frozen, c.at(c.thawed)))
	}
	f.evidence = fmt.Sprintf("%d writes accepted, none with an older token than before it; %s's late one refused", accepted, c.frozen)
	return f
}
