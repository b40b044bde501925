// Package demo shows Fairlead at work on real processes, and checks what they
// did.
//
// Five replicas, processes of their own, stand for one election, queue for one
// lock, and share the permits of one semaphore. The director kills the leader with SIGKILL, freezes the next one
// with SIGSTOP until it has been replaced, and lets it go on in the middle of
// its work. Whoever leads writes to a register that refuses writes with an older
// fencing token than the newest it has seen.
//
// # What is checked, and from what
//
// Each replica appends to a journal of its own what it asks for, gets, gives
// back, loses and writes, with the time on the machine's monotonic clock, which
// all processes share. The verdict comes from these journals and from the times
// of death of the processes that the director killed; Fairlead's state in the
// store is not looked at.
//
//   - No two holders at once. A hold lasts from the moment that the call which
//     asked for it had returned to the moment before the call that gives it back.
//     A killed holder's ends with its death. A lost one ends when the holder was
//     bound to stop trusting it, the last deadline it was given, or when it
//     noticed, if that was earlier. (A frozen process does nothing until it goes
//     on; what it does then is what the register is for.)
//   - No more permits at once than there are, with holds counted likewise.
//   - First come, first served. If a replica saw itself in the queue before
//     another one asked, it came first, and has to be served first. Pairs for
//     which the journals cannot tell are not counted. Who was seen in the queue
//     is not passed over, unless it died or its lease ran out. Of two that have
//     permits at once, either may be the first to notice; but the one with the
//     smaller token had its turn by the time that the other one noticed, and
//     counted from then on, too, there are no more permits than there are.
//   - Tokens rise from grant to grant, and for permits from each grant to whatever
//     is asked for after it.
//   - The late write is refused: the replica that was frozen writes with its old
//     token when it goes on, and the register, which orders all writes, never
//     accepts an older token after a newer one.
//
// Each check fails when it had nothing to check.
package demo
