// Package redis is the store on Redis, version 7.0 or later: one server, sentinels, or a
// cluster.
//
// Importing it registers the schemes redis and rediss:
//
//	s, err := session.Open(ctx, "redis://10.0.0.1", nil)
//
// A program that already has a client of the library rueidis uses [NewSession].
//
// # The URL
//
//	redis://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?PARAMETERS
//
// rediss is the same with TLS. The port is 6379 unless given, that of sentinels 26379; a
// password may come without a user. Several hosts are those of a cluster or, with
// sentinel, sentinels. A host may also be a name, or a balancer, that leads to the primary: a
// server that has become a replica is left, and the name asked again. The path is the number
// of a database. The parameters are
//
//	ttl            the TTL of the session, as 15s
//	namespace      what all keys begin with, in braces: 1 to 64 letters, digits and _ . : -; fairlead unless given
//	wait           how many replicas have to acknowledge what must not be lost, 0 to 100; see below
//	sentinel       the name of the primary that the hosts, as sentinels, watch
//	sentinel-user, sentinel-password-file
//	               who to be for the sentinels
//	password-file  a file with the password, instead of the URL
//	cacert         a file with the certificates of those who may sign the server's; the system's if not given
//	cert, key      files with the client's certificate and its key
//	server-name    the name to expect in the server's certificate, instead of the host
//
// The server has to have maxmemory-policy noeviction: with any other it may throw away a
// lock that is held, and is refused. The least that a user needs is what [Rules] returns; an
// operator who breaks what others hold, with session.Session.Break, needs no more.
//
// # Layout
//
// All keys have the namespace as their hash tag, so in a cluster they are on one server:
//
//	{NS}:guard          a hash: the reign of the server, how long nothing is granted, the longest TTL
//	{NS}:token          the last token
//	{NS}:names          the queues that have entries
//	{NS}:s:SESSION      a hash that expires with the session: its reign, its entries, claims that were given up and how
//	                    many there have been, and marks of entries that somebody breaks
//	{NS}:q:NAME         the IDs of a queue's entries, by token
//	{NS}:d:NAME         a hash: the record of each entry, the limit, and who is told when one of them leaves
//	                    or changes
//
// and channels
//
//	{NS}:i:CONNECTION   what a connection's entries wait for
//	{NS}:c:NAME         that a queue has changed
//
// The channels are sharded ones, which a cluster does not send everywhere.
//
// # Algorithm
//
// Every call is one script, and so one step. Joining appends an entry with a token that is
// larger than all before: the time in microseconds, or the last token and one. An exclusive
// entry is put on the list of those who are told about the entry right ahead of it, in the
// same step. Leaving tells those on the list of the entry that leaves: that they are first
// now; or, when who leaves had not had its turn, puts them on the list of the next one
// ahead. So a release is one message, for one waiter, who has nothing to ask. Readers and
// permits look at the queue when they are told.
//
// Messages get lost when a connection breaks; when a session begins under another reign it is
// broken, as the server may be another. So after a reconnection all who wait look again; and in
// any case when the session of whom they wait for may have expired, which nobody tells, or
// after a third of their own TTL. Who looks removes what sessions that are over have left.
//
// When the reply to a join is lost, a script looks for the entry and, if it is not there, marks
// the claim in the session: a request that arrives late is refused then. After a thousand of
// those the marks are cleared, and an epoch of the session ends: joins tell the epoch in which
// they were sent, and one of an earlier epoch is refused, and sent again if somebody still waits.
//
// # When the server is not the one that it was
//
// Replication is asynchronous: a primary that fails may take with it what it has
// acknowledged, and so may a server that restarts. What is there then may be missing an
// entry that is held. So each session belongs to one reign of one server, which ends with its
// process, and when it becomes the primary again after it was a replica. Scripts that name a
// session of another reign are refused, and nothing is granted until the longest TTL in use has
// passed, by the clock of the server. The reign, that time and that TTL are in the store, so
// that who arrives later knows, too. What was written last may be missing there as well, so
// the TTL of whoever asks counts, too.
//
// A server without any data cannot tell whether it is new or has lost them. For two seconds
// after it was first asked for a session it grants nothing, for those to report who have been
// connected before, and who ask four times a second while they are refused; then it waits
// for as long as they say. Who gets no answer at all, as packets are dropped, is cut off, and
// may come too late. So the first session ever of a namespace takes two seconds. Redis
// 7.0 with the user default switched off and appendonly on comes back without what scripts
// wrote, and counts as such.
//
// With ?wait=N, a join, a change of a limit, and the beginning of a session are taken to have
// happened when N replicas have them; otherwise they fail, and are tried again. A replica
// that has them may still not be the one that takes over.
//
// # How time enters
//
// The server alone decides when a session has expired, by its wall clock, and begins anew
// with each renewal. A client trusts its session from the moment at which it sent the last
// request that was acknowledged.
//
// # Guarantees
//
// With one server that is not restarted and whose clock is not set:
//
//   - Joins are ordered, and so are tokens.
//   - A session that has expired has no entries any more, and nothing can be written
//     under it.
//   - A wait costs one name in a set. A release wakes one waiter.
//
// And across restarts and failovers, as long as the server that took over has the key
// guard, and the one before has ended:
//
//   - Nobody is granted anything before those who held have stopped, if those who ask have
//     no shorter TTL than those who hold.
//   - Tokens rise, as long as the clocks of the servers differ by less than a TTL.
//
// # Not guaranteed
//
//   - While a primary that was replaced still runs, cut off from the sentinels or the
//     cluster, sessions that still reach it are renewed there; those who turn to the new
//     one are granted something after the longest TTL. Then two hold. Redis can be told to
//     take no writes where no replica listens (min-replicas-to-write, min-replicas-max-lag),
//     which narrows that.
//   - Steps of the server's wall clock shorten or lengthen sessions: one forward by a TTL
//     lets others in beside those who hold. Let the clock be slewed, not stepped.
//   - Of those who held before a restart without data, somebody who was paused or cut off
//     from the server then, and of whom nobody who knew is left, is not waited for.
//   - FLUSHALL ends all sessions. Those who are connected find out within a second, and so before
//     others are granted anything; somebody who is paused or cut off then is not waited for.
//   - Tokens may fall where the key token is lost and the clock goes back.
//   - A primary that took over and has had no replica for an hour (repl-backlog-ttl) begins
//     another reign, once: all sessions end.
//
// Where two holders at once would cost you more than an inconvenience, use etcd or
// ZooKeeper, or send the token along with what you write.
package redis
