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
		joined := t.seen
		if joined > t.Returned { // by then it was known to be in the queue
			joined = 0
		}
		all = append(all, history.Hold{
			Client: t.Life.Client, Token: t.Token, Shared: t.Op == journal.RLock, Weight: t.N,
			Called: t.Called, Joined: joined, Granted: t.Returned, Ended: end(t), Downgraded: t.Downgrading,
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
	case client.Pool: // its limit changes, as the history knows if the pool was kept
		return len(holds), history.CheckPermits(holds, client.MaxLimit)
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

// told checks those whose session an operator has ended, or whose entry one has
// removed, if that is known to have worked. The former hear of it; the latter find out, as a session looks at its entries
// three times in a TTL.
func (c *Case) told() (looked int, found []Violation) {
	for i := range c.Strikes {
		s := &c.Strikes[i]
		limit := promptly
		switch {
		case s.Failed: // so there may be nothing to be told
			continue
		case s.Token != 0:
			limit += c.TTL / 3
		case !s.Ended:
			continue
		}
		for _, t := range c.Tries {
			hit := s.Token == 0 && t.Life.Name == s.Life || s.Token != 0 && t.Name == s.Name && t.Token == s.Token
			if !t.Granted() || !hit || t.Forced != s.From || t.Returned > s.From || t.Life.Client < 0 {
				continue
			}
			looked++
			late := c.late(i, t.Life.Name, limit)
			if t.knew() > late && c.died(t.Life.Name) > late && !c.stood(t.Life, s.From, late) {
				found = append(found, Violation{t.Name, s.Done, fmt.Sprintf("%s, done %s, and by %s was not told to %s",
					s.Text, c.since(s.Done), c.since(late), c.story(t))})
			}
		}
	}
	return looked, found
}

// knew is when the holder knew by itself that its hold was over.
func (t *Try) knew() int64 {
	known := int64(never)
	for _, at := range []int64{t.Lost, t.Releasing, t.failedDowngrade()} {
		if at != 0 {
			known = min(known, at)
		}
	}
	return known
}

// late is when a life has to know what the i-th fault has done to it. Where it or the
// store is in other trouble, it gets its trust's time, and that of the trouble.
func (c *Case) late(i int, life string, limit time.Duration) int64 {
	from := c.Strikes[i].From - int64(time.Second)
	late := c.Strikes[i].Done + int64(limit)
	for k := range c.Strikes {
		s := &c.Strikes[k]
		if k != i && (s.Server() || s.Life == life) && s.Overlaps(from, late) {
			late = max(late, max(s.To, c.Strikes[i].Done)+int64(c.TTL+limit))
		}
	}
	return late
}

// died is when a life was ended by force.
func (c *Case) died(life string) int64 {
	for i := range c.Strikes {
		if s := &c.Strikes[i]; s.Death && s.Life == life {
			return s.From
		}
	}
	if c.Cut != 0 {
		return c.Cut
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
