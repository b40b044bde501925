// Package check finds out from the journals of a run whether the promises of
// Fairlead were kept:
//
//	history     there is an order of all that was asked and answered that the rules of
//	            the locks allow: porcupine looks for it, name by name
//	exclusion   exclusive holds follow one another in the order of their tokens, and
//	            permits never weigh more than the limit; those of a pool that the keeper did
//	            not keep in use, so that nobody knows its limit: more than the largest
//	loss        who held and lost saw it before the next was granted
//	told        who lost a session or an entry to an operator saw it soon
//	fifo        who was seen in the queue before another asked was served before
//	place       who was seen in the queue did not have to join it anew
//	progress    after the last fault everybody proceeds within two TTLs, or is told why not
//	register    no write with an older token was accepted, and none refused to a holder
//	errors      no call failed for a reason that it should not have; after the last fault,
//	            none but those of who had lost what it held
//	clean       nothing of ours is left: in the store, at its servers, in the clients; and
//	            nothing piles up there while all are at work after the last fault
//
// A run that was broken off, as the store did not come back say, is checked up to then, for
// all but progress and clean. A run in which a check that always has something to look at
// has looked at nothing shows nothing, and fails: see [Case.Vacuous].
//
// # How a hold ends
//
// A hold lasts from the return of the acquisition to the moment in which the holder
// knew that it was over: it began to release, having found the grant good, or saw
// its loss. Nobody may be granted the lock before.
//
// There are five exceptions, in which only the token protects. A process that was
// killed holds until then. One that was stopped, or that the machine had no time
// for, and that sees its loss as soon as it runs again, held until it was stopped.
// One whose session or entry an operator removed, until then. And one who held when the
// clock of a store was stepped forward that ends sessions by the wall clock, and who saw
// the loss or gave up the hold within a TTL, held until the step: a holder stops before
// its successor starts, which is guarantee 2, only as long as nobody steps that clock.
// And one whose session was ended when a leader ran again that had stood still for long,
// until then: etcd's may end leases that are alive.
//
// A store may acknowledge a release before that is on its disk, as PostgreSQL does. After a
// crash the leader who released just before is seen again, for a while; he holds nothing, and
// keeps nobody from being granted the lock who was told in time that it was free.
// All else is asked for as ever: tokens rise, and the register refuses the older one.
package check
