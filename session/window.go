package session

import (
	"slices"
	"time"
)

// A window is the time for which a lease may be trusted. It ends a margin before
// the store could expire the lease, counted from the moment at which the
// request that the store acknowledged was sent: the store cannot have begun to
// count any earlier. Counted from the receipt of the answer, it would overlap
// the next holder's by the time that the answer took.
type window struct {
	end    time.Time     // on the monotonic clock
	asleep time.Duration // suspended(), before the request was sent
}

// left returns how long the window stays open; it is closed when that is not
// positive.
func (w window) left() time.Duration {
	return time.Until(w.end) - w.slept()
}

// slept returns for how long the machine has been suspended since the request
// was sent, in whole milliseconds: the clocks that tell do not agree to the
// nanosecond.
func (w window) slept() time.Duration {
	return max(0, suspended()-w.asleep).Truncate(time.Millisecond)
}

// renewals are those that the store has acknowledged, oldest first, each as the
// window that would end when it was sent.
type renewals []window

// proven adds a renewal, and returns the latest one that is proven to count by it:
// it was sent at least lag before. It forgets those that are of no more use.
func (rs *renewals) proven(sent window, lag time.Duration) (window, bool) {
	at, _ := slices.BinarySearchFunc(*rs, sent, func(a, b window) int { return a.end.Compare(b.end) })
	*rs = slices.Insert(*rs, at, sent)
	latest := -1
	for i, r := range *rs {
		if !r.end.After(sent.end.Add(-lag)) {
			latest = i
		}
	}
	if latest < 0 {
		return window{}, false
	}
	found := (*rs)[latest]
	*rs = slices.Delete(*rs, 0, latest)
	return found, true
}
