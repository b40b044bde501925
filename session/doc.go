// Package session keeps a lease alive in a store, and knows what is held under
// it. Locks, elections and the other primitives are made from a session.
//
//	import _ "github.com/fairlead-go/fairlead/session/etcd"
//
//	s, err := session.Open(ctx, "etcd://127.0.0.1:2379", nil)
//	defer s.Close(ctx)
//
// Open one session when the process starts and share it.
//
// # GUARANTEES
//
// A session survives. When its lease is lost (the store could not be reached
// for too long, the process was stopped, an operator ended it), everything held
// under it is lost for good: each [Grant]'s context is done, and its cause Is
// [ErrLost]. The session then takes a new lease, and calls that were still
// waiting join their queue again, at its end.
//
// A holder learns of a loss before the store may grant to a successor, without
// hearing from the store, as long as its monotonic clock runs at the right rate,
// the process is scheduled, and nobody else removes its lease or entry.
//
// What somebody takes away with [Session.Break] ends in the same way: who held it
// is told by whom and why, and the next one is granted when it has stopped.
//
// A request whose reply is lost is settled: its entry is adopted or is made
// impossible. Whatever a call that failed may have left in the store is removed
// in the background until that is known to have happened or the lease is over.
//
// # NOT GUARANTEED
//
// A process that was stopped and goes on may act before it looks at a context.
// [Grant.Check] narrows the gap; the fencing token, [Grant.Token], closes it if
// the resource refuses old ones. On systems other than Linux, time that the
// machine spends suspended is not counted against the lease.
//
// # How time enters
//
// The store alone judges when a lease expires. The session trusts its lease
// until TTL - Margin after the moment at which it sent the last request to
// renew that was acknowledged, on the monotonic clock, less the time the machine
// was suspended. No wall clock decides anything.
//
//	send            ack                       trust ends      may expire
//	 │───────────────│─────────────────────────────│───────────────│
//	 │◀──────────────────── TTL - Margin ─────────▶│◀── Margin ───▶│
package session
