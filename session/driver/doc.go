// Package driver is the interface between Fairlead and a store.
//
// Users of Fairlead never call it: they open a session with a URL, or with a
// backend's own constructor. Who writes a backend implements [Store] and
// [Lease] and runs the suite in session/drivertest against them.
//
// # The model
//
// A store holds queues, each under a name. A queue is a sequence of entries in
// the order in which the store accepted them. Each entry belongs to a lease
// and goes when the lease does. A queue of permits also has a limit, for as long
// as it has entries. That is all: what an entry entitles its owner to is decided
// outside the store, by a rule over the entries ahead of it.
//
// # What a backend promises
//
//   - Join appends: an entry never appears ahead of one that was there before.
//   - Tokens of one name strictly increase in join order, over the whole life
//     of the store, also when the queue was empty in between.
//   - A lease that was renewed by a request sent at local time t is not ended
//     by the store, of its own accord, before t + TTL on the store's clock.
//   - When a lease is gone, its entries are gone, and no request that names
//     the lease can take effect any more, however late it arrives.
//   - An entry is recognised by its own identity (ID and token). Leave and
//     Update of an entry that is gone never touch another one.
//   - Break of an entry that is gone never touches another one either, and leaves
//     no mark.
//   - Methods return promptly when their context ends. What the store did by
//     then is unknown to the caller, who asks with Resolve.
//
// # Errors
//
// A method fails with an error that Is [ErrLeaseGone], [ErrEntryGone],
// [ErrRefused] or [ErrConflict], or is a [LimitError], each of which is definite;
// with one marked by [Permanent], which trying again cannot heal; or with any
// other, which is temporary and, for a call that changes the store, leaves the
// outcome unknown. A permanent error of Join leaves the outcome unknown as well:
// a store may apply a request and reject it in the same breath.
package driver
