package check

import (
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// excused tells whether a call may have failed with that error, from when it began to
// when it returned.
func (c *Case) excused(text string, from, to int64) bool {
	return c.starved(text, from, to) || c.refused(text, from, to)
}

// starved tells whether a call failed because the store had no space left, and said so.
// Right after that it may still say it: what one member knows the next is yet to learn.
func (c *Case) starved(text string, from, to int64) bool {
	if !strings.Contains(text, "space") {
		return false
	}
	for i := range c.Strikes {
		if s := &c.Strikes[i]; s.Full && s.From < to && from < s.To+int64(time.Second) {
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

// revived tells whether a leader that had stood still may have ended the session that a
// hold hangs on, without the holder's knowing. A leader of etcd's may do so when it runs
// again: its leases are over by what it knows, and what it orders before it hears that
// it leads no more is passed on to the leader (etcd-io/etcd#15247, of which releases
// since then have made the window small).
func (c *Case) revived(t *Try, s *journal.Strike) bool {
	end := t.Ended()
	return s.Frozen && s.Leader && s.To-s.From > int64(c.TTL)/2 && strings.Contains(t.ReleaseError, endedAtTheStore) &&
		t.Called < s.To && end > s.To-int64(inFlight) && end <= s.To+int64(inFlight)
}

// isLost is what an error has that tells of a loss: "mutex "x": lost: why".
const isLost = ": lost: "

// endedAtTheStore is what a holder says whose lease the store does not know any more.
const endedAtTheStore = "the lease was ended at the store"

// refused tells whether a call failed because the password had been changed, and said
// so.
func (c *Case) refused(text string, from, to int64) bool {
	if !strings.Contains(text, "WRONGPASS") && !strings.Contains(text, "authentication failed") {
		return false
	}
	for i := range c.Strikes {
		if s := &c.Strikes[i]; s.Refused && s.Overlaps(from, to) {
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
