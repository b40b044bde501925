// Package nemesis draws faults from a seed and has them happen: to the members of
// a store, their network, disks and clocks, to what is kept in it, and to its clients,
// their networks and their password.
//
// What is done to a store has its effect, or fails the run: a partition has dropped
// something, a leader that is cut off has noticed, a disk takes no byte more, etcd has
// raised its alarm, a server whose clock was set tells another time, an old password is
// refused.
//
// Faults happen in lanes. Those of a lane follow one another, with pauses, and one
// is undone before the next begins: so there is never more than one member away,
// which is what the stores bear, and never more than two clients. The plan is the
// same for each run of a seed; whom it hits, where that is "the leader" or "who
// holds the mutex", and when exactly, is not.
package nemesis
