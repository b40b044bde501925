package check

import (
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// starved tells whether a call failed because the store had no space left, and said so.
// Right after that it may still say it: what one member knows the next is yet to learn.
func (c *Case) starved(t *Try) bool {
	if !strings.Contains(t.Error, "space") {
		return false
	}
	for i := range c.Strikes {
		if s := &c.Strikes[i]; s.Full && s.From < t.Returned && t.Called < s.To+int64(time.Second) {
			return true
		}
	}
	return false
}

// voided tells whether a step of the store's clock may have ended the session that a
// hold hangs on, without the holder's knowing. It knows when it is to renew the next
// time, and at the latest when the TTL is over: what it says to hold after that has
// been renewed since, and the promise is as good as ever. Until the next renewal it may
// also ask for what it then holds: the store still knows the session, but for less time.
func (c *Case) voided(t *Try, s *journal.Strike) bool {
	end := t.Ended()
	renewed := s.Done + int64(c.TTL/3+inFlight)
	return s.Clock > 0 && t.Called < renewed && t.Returned <= renewed &&
		end > s.From && end <= s.Done+int64(c.TTL+awake)
}

// refused tells whether a call failed because the password had been changed, and said
// so.
func (c *Case) refused(t *Try) bool {
	if !strings.Contains(t.Error, "WRONGPASS") && !strings.Contains(t.Error, "authentication failed") {
		return false
	}
	for i := range c.Strikes {
		if s := &c.Strikes[i]; s.Refused && s.Overlaps(t.Called, t.Returned) {
			return true
		}
	}
	return false
}

// diedAsleep tells whether a process that was stopped was killed before it could see
// what it had lost.
func (c *Case) diedAsleep(t *Try, s *journal.Strike) bool {
	died := c.died(t.Life.Name)
	return t.Ended() == never && t.Called < s.To && died > s.From && died <= s.To+int64(awake)
}
