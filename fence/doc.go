// Package fence refuses the writes of a holder of the past, at the resource
// itself: it keeps the newest token seen for each resource, and admits none that
// is older.
//
// No lock can stop a process that was paused between its last look at its context
// and its write. When it goes on, somebody else may hold. So the token goes along
// with the write, and whoever receives it asks a register first:
//
//	             token 7              token 9
//	holder A ──────┤ paused ═══════════════════════▶ writes, with 7: ErrStale
//	holder B       └──── lock is lost ──┤ writes, with 9: admitted
//
// There is a register in a table of an SQL database, [SQL], for what is written in
// that database, and one in memory, [Memory], for what a process guards itself, and
// for tests. Anything else that stores a number with what it keeps, and compares, can
// be one. Where the resource is in the store of the locks, no register is needed: see
// Guard of session/etcd, session/zk, session/redis and session/postgres.
//
// # GUARANTEES
//
//   - For each resource, the tokens that are admitted never decrease.
//   - A refusal changes nothing, and Is [ErrStale].
//   - A token may be admitted any number of times: a holder has one for all its
//     writes.
//
// # NOT GUARANTEED
//
// That what follows the admission is in time: between the two, somebody newer may be
// admitted, and write. They have to be one step. With [SQL] that is the caller's
// transaction; with [Memory], a mutex of the caller's.
//
// Nothing of those who write without asking.
//
// # Which tokens
//
// The tokens of one resource have to come from one name in one store. A lock that
// moves to another store, or to one whose data were lost, may have smaller tokens
// there: then delete the resource from the register, when nobody of before is left. In
// memory, [Memory.Forget] does so; in a table, as somebody with the right to DELETE there,
//
//	DELETE FROM fairlead_fence WHERE resource = 'ledger'
//
// They have to be those of exclusive grants: of a mutex, a writer, a leader. Readers
// and permits are held together, so that there is a larger token does not make one's
// own stale.
package fence
