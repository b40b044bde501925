// Package watch waits for one's turn in a queue, and shows queues live.
//
// Every primitive of Fairlead is a queue of entries that go with their owner's
// lease, and a [Rule]: a pure function of the entries ahead of one's own, that
// says either "your turn" or "wait for this one". [Turn] is the rest: it joins,
// waits for that one entry to leave or to change, looks again, and returns a
// grant. Somebody who needs a primitive of another kind writes a rule.
//
// [Queue] and [List] are for those who look on: operators, dashboards, tests.
//
// # GUARANTEES
//
// Turns come in the order in which the store accepted the entries. A release
// wakes those that the rule makes wait for the entry that left, and nobody else.
// A wait ends when the turn comes, when the context ends, when the session is
// closed, or on an error that trying again cannot heal; never because a
// connection dropped, a watch was compacted or a server changed.
//
// A call whose session loses its lease while waiting joins again, at the end of
// the queue: its old place is gone.
package watch
