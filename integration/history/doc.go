// Package history records what clients asked of a lock and what they were told,
// and checks that there is an order of it all that the lock's rules allow.
//
// A test makes a [Recorder], calls [History.Begin] before each call and one of
// the methods of [Call] after it, and [Recorder.Check] at the end:
//
//	rec := history.NewRecorder(nil)
//	h := rec.Lock("billing/nightly")
//
//	call := h.Begin(client, history.Lock())
//	g, err := m.Lock(ctx)
//	if err != nil {
//		call.Unknown()
//		return
//	}
//	call.Granted(g.Token())
//	...
//	call = h.Begin(client, history.Release(g.Token()))
//	...
//	err = rec.Check(nil)
//
// Tokens, names and outcomes are plain values: nothing here depends on how the
// lock is made, and a history may mix clients of several libraries.
//
// # What is checked
//
// A history is legal when each operation can be given one moment between its
// begin and its end, so that at these moments the operations happen one after
// the other as the model has it. So a holder holds at least from the moment when
// its acquisition returned until it calls release, and two holders whom the model
// keeps apart must not overlap there.
//
// The model of locks ([Recorder.Lock]) covers mutexes, read-write locks and
// elections together, since they exclude each other on one name. That of
// semaphores ([Recorder.Semaphore]) is one of its own. In both, the token of each
// grant exceeds those of all grants before it: tokens are positions in a queue
// that is served from its head, and readers and permits that hold together can
// be put into the order of the queue as well.
//
// # Outcomes
//
// What has certainly had no effect ends with [Call.Failed]: an attempt that found
// the lock held. What may have had an effect, then or at any later time, ends
// with [Call.Unknown], or is not ended at all: the request whose reply was lost,
// the release that goes on in the background, the process that was killed in the
// middle. An acquisition that was cancelled is such a case, because its entry may
// have been at the head of the queue for a moment, where [Leader] sees it.
//
// # Loss
//
// The operation [Lose] ends a hold without a release. When it begins decides what
// is checked:
//
//   - Begun when the holder sees that its context is done, it demands that nobody
//     be granted the lock before. This is the promise that a session makes on its
//     own account.
//   - Begun before the test takes the lease away by force, or kills the holder,
//     it lets the next be granted at once. Where the acquisition had not returned
//     by then, so that the token was not known, take the [Recorder.Stamp] then,
//     and give it to [History.BeginAt] later.
//
// What is lost may be in the store for a while: Leader may still return the lost
// leader, until it returns somebody else or nobody, or another was granted.
//
// # Limits
//
// The search takes time that is exponential in the worst case, and memory that
// grows with the square of the length even in the best. Some thousands of
// operations a name are fine. Where an illegal history is long and has many unknown
// outcomes, the search may give up before it has ruled out every order; that is a
// failure too, and says so. For longer runs take [History.Holds], and
// [CheckExclusion], [CheckFIFO] and [CheckPermits], which sort and look once.
//
// Nothing is said about progress: a lock that grants nothing is legal.
package history
