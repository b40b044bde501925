// Package etcd is the store on etcd, version 3.4 or later.
//
// Importing it registers the schemes etcd and etcds:
//
//	s, err := session.Open(ctx, "etcd://10.0.0.1:2379,10.0.0.2:2379/team", nil)
//
// A program that already has a client uses [NewSession].
//
// # The URL
//
//	etcd://USER:PASSWORD@HOST:PORT,HOST:PORT/PREFIX?PARAMETERS
//
// etcds is the same with TLS. The port is 2379 unless given. The path is the
// prefix of all keys, as written: under /team the queue billing/nightly lives at
// /team/billing/nightly/, without a path at billing/nightly/, which is where
// "etcdctl lock billing/nightly" queues. The parameters are
//
//	ttl            the TTL of the session's lease, as 15s; etcd grants no less than 2 s
//	password-file  a file with the password, instead of the URL
//	cacert         a file with the certificates of those who may sign the server's; the system's if not given
//	cert, key      files with the client's certificate and its key
//	server-name    the name to expect in the server's certificate, instead of the host
//
// A user needs one role, with readwrite permission on the prefix. So does an operator who
// breaks what others hold: see session.Session.Break.
//
// # Layout
//
// A lease is etcd's. Four kinds of keys hang on it:
//
//	PREFIX/.fairlead/v1/session/LEASE            {"identity": …}
//	PREFIX/.fairlead/v1/session/LEASE/mark/ID    {"by": …, "reason": …}
//	PREFIX/.fairlead/v1/tail/NAME                the key of the entry that was the last to replace this
//	PREFIX/NAME/LEASE-f1MK-SLOT                  ID-INFO, a newline, the value of the claim
//	PREFIX/NAME/LEASE-f1xe-ID-INFO               the value of the claim, for elections
//
// LEASE is the lease's ID in hex. The first is the session key: while it is there
// the session lives, and its mod revision is the session's epoch. The second tells the
// session that somebody breaks one of its entries; it watches what is below its key, and
// removes a mark when that entry is gone. The third is written where a queue is long, and a
// hint: see below. One key hangs on no lease, PREFIX/.fairlead/v1/limit/NAME: the limit of a
// semaphore that is in use, which the last permit to leave removes. The rest are
// entries: f1 is the version of the layout, M a letter for the mode, K one for
// the primitive, ID the claim's 32 hex digits, and INFO its note, time and trace
// context. The order of a queue is that of create revisions; they are the
// tokens too. An election's proposal is the value, where "etcdctl elect -l" and
// others look for it.
//
// SLOT is a small number that no other entry of the lease has in that queue. So
// the same few keys are used again and again: etcd keeps a deleted key in its
// index until the next compaction, and each range walks over it. An entry is
// never told by its key alone, but by key and create revision.
//
// Nothing else is written under NAME/. With one key with a lease per
// acquisition, ordered by create revision, this is how concurrency.Mutex,
// concurrency.Election, etcdctl and the lock and election services queue, and so
// they and we exclude one another. Any key with a lease that is not of our
// making counts as an exclusive entry. A key with a further slash belongs to a
// queue whose name is longer; a foreign client would wait for it all the same,
// so names must not nest where foreign clients take part. A key without a lease
// would bar the way for ever: it is ignored, with a warning. An entry with a
// newer layout than this package knows is refused by name.
//
// # Algorithm
//
// Joining is one transaction: put the entry, if the session is at the epoch that
// we know, and read the nearest entry ahead. Waiting is a watch on that entry's
// key, from the store's present on, and one look, at the revision at which the watch
// began, whether both entries are there; then one look at the queue for each event on
// that key. So a release is one event, for one waiter, whatever the length of the queue.
// Leaving is a delete guarded on the token.
//
// To find the nearest ahead etcd reads all of the queue. So where a process has seen 256
// keys or more, its mutexes and elections do not ask for it as they join, but read and
// replace the queue's tail, a key with the key of the entry that did so last, and wait for
// that one, which one more read shows to be there. Then joining costs the same whatever the
// length, as in the lock of Mellor-Crummey and Scott (Algorithms for Scalable
// Synchronization on Shared-Memory Multiprocessors, 1991). Nothing depends on the tail: the
// look before a turn is at the queue, at keys without values if it is long, and finds whoever
// joined without it. Readers, permits and those who only try read the queue as ever.
//
// Joins of one lease that meet several others under way go together in the next
// transaction, nested, each with its own guards: so they share a request, and an entry
// of the cluster's log. Leaves do the same. One that meets few goes at once. There are
// never two of one queue in a transaction, as entries with one revision would have
// no order; where the server refuses a transaction for one of those in it, each
// goes alone.
//
// When the reply to a join is lost, a transaction moves the session key, and with
// it the epoch, and reads the entry. If the entry is not there, the request can
// no longer apply when it arrives late, since it names an older epoch. Where many replies
// are lost at once, one move of the epoch is enough for all.
//
// A join that is conditional, as that of who only tries, or gives a queue its limit, is
// also guarded on that the queue has no key that we have not seen, and looks again where it
// has. After five times it goes without that guard, and leaves again if by what its
// transaction has read it may not be there: see insist.go.
//
// # How time enters
//
// The leader of the cluster alone decides when a lease has run out, by its own
// monotonic clock, and begins anew with each renewal and with each change of
// leader. A client trusts its lease from the moment at which it sent the last
// request that was acknowledged. Requests are bounded by the TTL, at least two
// seconds and at most five, so that a lost one is followed by another in time.
//
// Whatever can be asked twice is asked again, beside the first request and on another
// connection, after a second, or twice the time that the store took of late if that
// is longer; a join is not, but its outcome is resolved then. So a member that is
// frozen, or a leader that dies with what was forwarded to it, costs about a
// second, while a slow store is not asked more often. On the stream of watches
// something has to arrive at least every third of the TTL; if nothing does, those who
// wait look again and watch on another.
//
// # Guarantees
//
//   - Joins are ordered by the cluster's log, and so are tokens, which strictly
//     increase for as long as the cluster's data lives.
//   - Everything that decides is linearizable, or read at a revision that follows
//     what has been seen.
//   - A lease that has ended takes its entries with it in one step, and nothing
//     can be written under it any more.
//   - A wait costs one watch. Watches share one stream for each store, and
//     require a leader, so a member that is cut off does not keep a waiter in the
//     dark.
//
// # Not guaranteed
//
//   - A cluster that was restored from a backup may hand out tokens anew that it
//     had handed out since, unless revisions were bumped when it was restored
//     (etcdutl snapshot restore --bump-revision).
//   - A leader that stood still for a TTL may end leases that are alive when it goes
//     on, before it hears that it leads no more (etcd-io/etcd#15247). Who held is told at
//     once, but maybe not before the next one is granted.
//   - A leader that stood still for less than a TTL may acknowledge, before it hears
//     that another leads, a renewal that a follower as far behind has passed on to it, of
//     which the other leader does not know: the holder trusts its lease for too long. That
//     takes two members that are behind, one of them the only one that the session
//     talks to: give all members as endpoints.
//   - A range in the order of create revisions makes the server walk over the whole
//     queue: taking over slows down with its length, by some 0.3 ms at 1,000 waiters
//     and 3 ms at 10,000, and by three times that before etcd 3.7. So does joining, for
//     readers, permits and those who only try, and where a process does not know yet that
//     a queue is long.
//   - Where etcd is out of space nobody can join, while leaving works. A join whose
//     reply was lost just then is settled when there is space again, or when the
//     lease has run out.
package etcd
