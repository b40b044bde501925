package watch

import "github.com/fairlead-go/fairlead/session/driver"

// A Rule decides over a turn, from the entries ahead of one's own in queue
// order, nearest last. It returns the entry to wait for, or false when nothing
// has to be waited for. Entries ahead can only leave or change; a rule must not
// depend on anything else.
type Rule func(ahead []driver.Entry) (on driver.Entry, wait bool)

// Exclusive is the rule of a mutex and of an election: wait for the nearest
// entry ahead. When that leaves while it waits itself, the next one ahead is
// the nearest.
func Exclusive(ahead []driver.Entry) (on driver.Entry, wait bool) {
	if len(ahead) == 0 {
		return driver.Entry{}, false
	}
	return ahead[len(ahead)-1], true
}
