// Package nemesis draws faults from a seed and has them happen: to the members of
// a store, to what is kept in it, and to its clients and their networks.
//
// Faults happen in lanes. Those of a lane follow one another, with pauses, and one
// is undone before the next begins: so there is never more than one member away,
// which is what the stores bear, and never more than two clients. The plan is the
// same for each run of a seed; whom it hits, where that is "the leader" or "who
// holds the mutex", and when exactly, is not.
package nemesis
