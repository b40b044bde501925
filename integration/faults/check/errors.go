package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// register checks what the registers have accepted, from what they wrote down, and
// that they refused nobody who held. They decide by the token alone: so it looks at the
// writes of holders.
func (c *Case) register() (looked int, found []Violation) {
	newest := map[string]uint64{}
	for _, w := range c.Writes {
		if w.Accepted && w.Token < newest[w.Name] {
			found = append(found, Violation{w.Name, w.At, fmt.Sprintf("%s: the register accepted token %d from %s at %s, and had seen %d",
				w.Name, w.Token, w.Life, c.since(w.At), newest[w.Name])})
		}
		if w.Accepted {
			newest[w.Name] = max(newest[w.Name], w.Token)
		}
	}
	for _, name := range c.called() {
		for _, k := range c.calls[name] {
			if k.before.Kind != journal.Writing || k.after == nil || k.after.Error != "" {
				continue
			}
			t := c.tries[acquisition{k.life.Name, k.before.Hold}]
			if t == nil || k.after.At >= t.Ended() {
				continue
			}
			looked++
			if k.after.Refused {
				found = append(found, Violation{t.Name, k.after.At, fmt.Sprintf("the register refused a holder at %s: %s", c.since(k.after.At), c.story(t))})
			}
		}
	}
	return looked, found
}

// called are the names that were called for something else than an acquisition.
func (c *Case) called() []string { return slices.Sorted(maps.Keys(c.calls)) }

// errors checks that calls failed only for reasons that they may have.
func (c *Case) errors() (looked int, found []Violation) {
	for _, t := range c.Tries {
		looked++
		if t.Outcome == journal.Failed && !c.excused(t.Error, t.Called, t.Returned) {
			found = append(found, Violation{t.Name, t.Returned, fmt.Sprintf("%v failed at %s: %s", t, c.since(t.Returned), t.Error)})
		}
		n, bad := c.givenBack(t)
		looked += n
		found = append(found, bad...)
	}
	for _, name := range c.called() {
		for _, k := range c.calls[name] {
			if k.after == nil || !c.hasToSucceed(k) {
				continue
			}
			looked++
			if k.after.Error != "" {
				found = append(found, Violation{name, k.after.At, fmt.Sprintf("%s: %s of %s, begun %s, failed at %s: %s",
					name, k.before.Kind, k.life.Name, c.since(k.before.At), c.since(k.after.At), k.after.Error)})
			}
		}
	}
	for i := range c.Lives {
		for _, e := range c.Lives[i].Events {
			if e.Kind != journal.Closed {
				continue
			}
			looked++
			if e.Error != "" {
				found = append(found, Violation{"", e.At, fmt.Sprintf("%s could not close its session: %s", c.Lives[i].Name, e.Error)})
			}
		}
	}
	return looked, found
}

// healed tells whether that was after the last fault was undone.
func (c *Case) healed(at int64) bool { return c.Healed != 0 && at > c.Healed }

// hasToSucceed tells whether a call may have no error. Nothing happens to the register. Of
// the others that begin when all is healed, and end before the clients are told to leave,
// none has an error that is an answer; but who proclaims may have lost what it held, and
// may no more when it has.
func (c *Case) hasToSucceed(k call) bool {
	if k.before.Kind == journal.Writing {
		return true
	}
	if t := c.tries[acquisition{k.life.Name, k.before.Hold}]; t != nil {
		for _, lost := range []int64{t.Lost, t.Forced} {
			if lost != 0 && lost <= k.after.At+int64(awake) {
				return false
			}
		}
	}
	return c.healed(k.before.At) && k.after.At < c.End && !c.stood(k.life, k.before.At, k.after.At) &&
		!c.excused(k.after.Error, k.before.At, k.after.At)
}

// givenBack checks that who had not lost what it held could downgrade it, and give it
// back, when all was healed. The lease may have been lost meanwhile, as a slow store had not
// renewed it in time: the error says so, and nothing else does.
func (c *Case) givenBack(t *Try) (looked int, found []Violation) {
	if t.Lost != 0 || t.Forced != 0 {
		return 0, nil
	}
	for _, step := range []struct {
		what     string
		from, to int64
		error    string
	}{
		{"downgrade", t.Downgrading, t.Downgraded, t.DowngradeError},
		{"release", t.Releasing, t.Released, t.ReleaseError},
	} {
		if step.from == 0 || step.to == 0 || !c.healed(step.from) || c.stood(t.Life, step.from, step.to) {
			continue
		}
		looked++
		if step.error != "" && !strings.Contains(step.error, isLost) && !c.excused(step.error, step.from, step.to) {
			found = append(found, Violation{t.Name, step.to, fmt.Sprintf("a %s failed at %s: %s: %s", step.what, c.since(step.to), step.error, c.story(t))})
		}
	}
	return looked, found
}
