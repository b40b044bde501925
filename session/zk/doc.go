// Package zk is the store on ZooKeeper, version 3.5 or later.
//
// Importing it registers the schemes zk and zks:
//
//	s, err := session.Open(ctx, "zk://10.0.0.1,10.0.0.2,10.0.0.3/team", nil)
//
// A program that needs more than a URL can say uses [NewSession].
//
// # The URL
//
//	zk://USER:PASSWORD@HOST:PORT,HOST:PORT/CHROOT?PARAMETERS
//
// zks is the same with TLS. The port is 2181 unless given. The path is that under
// which all nodes are; it is made on demand. A user is one of the scheme digest. The
// parameters are
//
//	ttl            the session's timeout, as 15s; the ensemble may grant another, within its minSessionTimeout and maxSessionTimeout
//	acl            creator: the nodes can be read and deleted by their user alone. Who contends has to be the same user
//	password-file  a file with the password, instead of the URL
//	cacert         a file with the certificates of those who may sign the server's; the system's if not given
//	cert, key      files with the client's certificate and its key
//	server-name    the name to expect in the server's certificate, instead of the host
//
// Without acl, everybody who can reach the ensemble may do everything with the nodes.
//
// # Layout
//
// A lease is a session of ZooKeeper's, on a connection of its own. Its nodes are
// ephemeral:
//
//	/.fairlead/v1/session/SESSION        {"identity": …, "marks": …}
//	/NAME/_c_GUID-lock-NNNNNNNNNN        an entry of a mutex or an election
//	/NAME/_c_GUID-__WRIT__NNNNNNNNNN     a writer's
//	/NAME/_c_GUID-__READ__NNNNNNNNNN     a reader's
//	/NAME/_c_GUID-permit-NNNNNNNNNN      a permit of a semaphore
//
// and one is not: /.fairlead/v1/limit/NAME, with the limit of a semaphore that is in
// use. NAME is percent-encoded, so that billing/nightly is the node billing%2Fnightly:
// nothing but entries may be below a queue's node, which other clients take for
// contenders. The nodes above entries are containers, which the server removes some
// time after they became empty.
//
// The data of an entry are a line, which begins with "fairlead", and the value of the
// claim; an election's proposal is the value. GUID is the claim's ID. The marks of a session
// tell it which of its entries somebody breaks, with session.Session.Break: who does that
// needs no more rights than who contends and, with acl=creator, has to be the same user.
//
// These are the names of Curator. Its InterProcessMutex and our mutexes and elections
// exclude one another, and so do its InterProcessReadWriteLock and our rwmutex; zk.Lock of
// go-zookeeper and all of ours; kazoo's Lock, if it is told to, and our mutexes and
// elections. docs/interop.md has the details. Any node with a session and a number at its
// end counts, whoever made it; one of no known kind as exclusive. A node without a session,
// or without a number, is ignored, with a warning.
//
// # Algorithm
//
// Joining is one transaction: check the session's node, at the epoch that we know;
// create the entry; set the queue's node. The last tells the transaction's number, which
// is the entry's czxid, and the token; and how many children the node has, so that the
// queue is listed only where somebody else is in it. Waiting is a watch on the
// nearest entry ahead, and a look at the queue when that fires; a session has at most
// one watch on a node, however many of its goroutines wait for it. Leaving deletes
// the node, whose path never comes again.
//
// A server may lag behind the leader, and the leader itself behind what it has let be answered. So
// what has to be new is read after a transaction that changes nothing, which sync alone does
// not replace; and who is to be refused at once for what is in a queue looks once more then.
//
// Who leaves as the first of a queue, with others behind, leaves word in the transaction that
// deletes its node: it makes another one, and deletes that. So who joined a queue again
// within 100 ms after leaving it, and has two watches more, has its turn by events alone:
// there was word, the node ahead is gone, and its own is there.
//
// Where a session has several joins under way, those that come meanwhile go together, of a
// queue each, in one transaction; and so do leaves. One that the server refuses for any of
// them does nothing, and each is made again alone.
//
// The order of a queue is that of the sequence numbers, up to the end of the server's
// counter, 2^31-1, where it gives out numbers beyond and the same ones again: then it is
// that of the czxids, for which every entry is asked. A hand-off uses up two numbers, one of
// them for word. The counter begins anew when the
// queue's node was removed, which can be only when there are no entries; tokens do not.
//
// When the reply to a join is lost, the session's node is set, which moves the epoch, and
// then the queue is searched for the claim's ID. If the entry is not there, the request can
// no longer apply when it arrives late, since it names an older epoch.
//
// When a session has expired, the client library would begin another, and send under it
// what had been waiting. Here a connection belongs to one session, and ends with it.
//
// # How time enters
//
// The leader of the ensemble alone decides when a session has expired, by its own
// clock. It hears of a session from the server that the client is connected to, which
// reports twice a tick whom it has heard of: so a session is renewed by a request that
// only the leader can answer (sync), and an answer proves what was sent a quarter of
// the timeout before. A client trusts its session from then on, for the timeout that the
// server granted.
//
// Each server puts that between its own minSessionTimeout and maxSessionTimeout, whenever a
// client connects to it, also with a session that is there. All servers should have the same:
// where another one grants a session less, its client gives up what it holds as soon as it
// hears of that, while it has all of the shorter timeout left, and begins another session.
//
// The client library sends pings of its own, whether or not the program still runs as it
// should. Where nobody renews a session, its connection is dropped, and it expires.
//
// # Guarantees
//
//   - Joins are ordered by the ensemble's log, and so are tokens, which strictly
//     increase for as long as the ensemble's data live.
//   - A session that has expired takes its entries with it in one step, and nothing can
//     be written under it any more.
//   - A wait costs one watch, three where the queue changes hands all the time. A release
//     wakes one waiter.
//   - A server that is frozen, or cut off from the leader, is given up for another within half
//     of the timeout.
//
// # Not guaranteed
//
//   - TryLock and its like beside contenders of other libraries: ours see one another
//     in one step, but of theirs we learn only from within the queue. So a call that
//     fails may have been in their way for a moment; and in that of ours, where others
//     have joined five times between its look and its step.
//   - The first view of a queue of permits is made of several reads. What it shows may be
//     less than what was ahead at any one moment, and never more.
//   - Where servers have different bounds for timeouts, who is cut off before it hears that
//     it was granted less goes by what it was granted before: then two may hold.
//   - Two who use an idle semaphore in the same moment, with different limits, may both be
//     refused.
//   - A request larger than the server's jute.maxbuffer, 1 MB unless configured, ends the
//     connection without a word; the error says that it may be that.
//   - A crash between the making of a container and that of its first entry may leave the
//     one without the other. The server removes it if znode.container.maxNeverUsedIntervalMs
//     is set, which by default it is not.
//   - Listing a queue costs time and bytes in proportion to its length: about 60 bytes an
//     entry.
package zk
