package check

import (
	"fmt"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/client"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/integration/history"
)

// holds returns what was held of a name, with the ends that end gives.
func (c *Case) holds(name string, end func(*Try) int64) []history.Hold {
	var all []history.Hold
	for _, t := range c.names[name] {
		if !t.Granted() {
			continue
		}
		all = append(all, history.Hold{
			Client: t.Life.Client, Token: t.Token, Shared: t.Op == journal.RLock, Weight: t.N,
			Called: t.Called, Joined: t.seen, Granted: t.Returned, Ended: end(t), Downgraded: t.Downgrading,
		})
	}
	return all
}

// withoutLosses has who saw a loss hold nothing. What is still wrong then is not
// that it came late.
func withoutLosses(t *Try) int64 {
	if t.sawLoss() {
		return t.Returned
	}
	return t.Ended()
}

// exclude checks the holds of a name in the way that its kind asks for.
func (c *Case) exclude(name string, end func(*Try) int64) (int, error) {
	holds := c.holds(name, end)
	switch kindOf(name) {
	case client.Pool: // its limit changes: the history is checked
		return 0, nil
	case client.Semaphore:
		return len(holds), history.CheckPermits(holds, c.Limit)
	}
	return len(holds), history.CheckExclusion(holds)
}

func (c *Case) exclusion() (looked int, found []Violation) {
	for _, name := range c.order {
		n, err := c.exclude(name, withoutLosses)
		looked += n
		if err != nil {
			found = append(found, c.violation(name, err))
		}
	}
	return looked, found
}

func (c *Case) loss() (looked int, found []Violation) {
	for _, name := range c.order {
		for _, t := range c.names[name] {
			if t.Granted() && t.sawLoss() {
				looked++
			}
		}
		if _, err := c.exclude(name, withoutLosses); err != nil {
			continue // told by exclusion
		}
		if _, err := c.exclude(name, (*Try).Ended); err != nil {
			found = append(found, c.violation(name, fmt.Errorf("a loss was seen late: %w", err)))
		}
	}
	return looked, found
}

// violation makes one of an error about holds, and adds who they are.
func (c *Case) violation(name string, err error) Violation {
	v := Violation{Name: name, Text: fmt.Sprintf("%s: %v", name, err)}
	// The error names the tokens.
	for _, t := range c.names[name] {
		if t.Granted() && mentions(err.Error(), t.Token) {
			v.Text += "\n    " + c.story(t)
			v.At = max(v.At, t.Returned)
		}
	}
	return v
}

// story tells what became of an acquisition.
func (c *Case) story(t *Try) string {
	text := fmt.Sprintf("%v: asked %s", t, c.since(t.Called))
	for _, step := range []struct {
		what string
		at   int64
	}{
		{"seen in the queue", t.seen}, {"granted", t.Returned}, {"downgraded", t.Downgrading},
		{"releasing", t.Releasing}, {"released", t.Released}, {"loss seen", t.Lost}, {"forced", t.Forced},
	} {
		if step.at != 0 {
			text += fmt.Sprintf(", %s %s", step.what, c.since(step.at))
		}
	}
	if t.Why != "" {
		text += " (" + t.Why + ")"
	}
	return text
}

// promptly bounds how long it takes until who lost to an operator sees it.
const promptly = 2 * time.Second

// told checks those whose session an operator has ended. An entry removed by hand is
// not looked for by who holds it.
func (c *Case) told() (looked int, found []Violation) {
	for i := range c.Strikes {
		s := &c.Strikes[i]
		if !s.Ended {
			continue
		}
		limit := promptly
		if c.disturbed(i, s.From-int64(time.Second), s.Done+int64(promptly)) {
			limit = c.TTL + time.Second // trust is over by then in any case
		}
		for _, t := range c.Tries {
			if !t.Granted() || t.Life.Name != s.Life || t.Forced != s.From || t.Returned > s.From {
				continue
			}
			looked++
			late := s.Done + int64(limit)
			known := int64(never)
			for _, at := range []int64{t.Lost, t.Releasing, t.failedDowngrade()} {
				if at != 0 {
					known = min(known, at)
				}
			}
			if known > late && c.died(t.Life.Name) > late && !c.stood(t.Life, s.From, late) {
				found = append(found, Violation{t.Name, s.Done, fmt.Sprintf("%s ended %s, and within %v was not told to %s",
					s.Text, c.since(s.Done), limit, c.story(t))})
			}
		}
	}
	return looked, found
}

// disturbed tells whether another fault than the i-th lasted some time between.
func (c *Case) disturbed(i int, from, to int64) bool {
	for k := range c.Strikes {
		if k != i && c.Strikes[k].Overlaps(from, to) {
			return true
		}
	}
	return false
}

// died is when a life ended.
func (c *Case) died(life string) int64 {
	for i := range c.Strikes {
		if s := &c.Strikes[i]; s.Death && s.Life == life {
			return s.From
		}
	}
	return never
}

// stood tells whether a process did not run some time between.
func (c *Case) stood(l *Life, from, to int64) bool {
	for i := range l.Events {
		if e := &l.Events[i]; e.Kind == journal.Stalled && e.From < to && from < e.At {
			return true
		}
	}
	return false
}

func (c *Case) fifo() (looked int, found []Violation) {
	for _, name := range c.order {
		holds := c.holds(name, (*Try).Ended)
		for i := range holds {
			if holds[i].Joined != 0 {
				looked++
			}
		}
		if err := history.CheckFIFO(holds); err != nil {
			found = append(found, c.violation(name, err))
		}
	}
	return looked, found
}
