// Package postgres is the store on PostgreSQL, version 13 or later (tested on 15).
//
// Importing it registers the schemes postgres and postgresql:
//
//	s, err := session.Open(ctx, "postgres://app:secret@10.0.0.1,10.0.0.2/prod", nil)
//
// A program that already has a pool uses [NewSession]. One whose data is in the same
// database makes its transactions conditional on what it holds with [Guard].
//
// # The URL
//
//	postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?PARAMETERS
//
// The port is 5432 unless given, the database is named like the user. Hosts are tried
// in this order; those that are read only, standbys, are passed over. The parameters
// are
//
//	ttl            the TTL of the session's lease, as 15s; less than 2 s leaves no time to renew it
//	namespace      the schema to use: a to z, 0 to 9 and _, at most 63, and neither a digit nor pg_ first; fairlead if not given
//	migrate        auto (the default): make the schema, or update it, where that is allowed; or never
//	poll           look that often, as 200ms, instead of being told; see below
//	password-file  a file with the password, instead of the URL
//	sslmode        as in libpq: disable, prefer, require, verify-ca or verify-full
//	cacert         a file with the certificates of those who may sign the server's; the system's if not given
//	cert, key      files with the client's certificate and its key
//	server-name    the name to expect in the server's certificate, instead of the host
//
// Without sslmode, it is verify-full if one of cacert, cert, key and server-name is
// given, and else prefer, which encrypts if the server can, and verifies nothing. With
// cacert, require verifies as verify-ca does. A user need not have a password, where a
// certificate or pg_hba.conf vouches for it.
//
// Nothing is taken from the environment variables of libpq, from ~/.pgpass or from
// ~/.postgresql: a URL means the same wherever it is used. For what it cannot say, a
// Unix socket for one, make a pool and use [NewSession].
//
// # The schema and who may use it
//
// The schema is made, and updated, by its owner: with migrate=auto by the first that
// connects and may, or with `fairlead migrate`, or [Migrate]. Who may act for the owner, as a
// superuser, may update it too: it stays the owner's. Everybody else needs no
// access to its tables, only to its functions:
//
//	CREATE ROLE app LOGIN PASSWORD '…';
//	GRANT USAGE ON SCHEMA fairlead TO app;
//	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA fairlead TO app;
//	ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA fairlead GRANT EXECUTE ON FUNCTIONS TO app;
//
// The last one is for functions that later releases add. Who may call the functions may
// take and give up any lock in the namespace; use one namespace for each circle of
// trust. An operator looks at the view fairlead.place, and ends a session by deleting
// its row in fairlead.session: its owner and those who wait for it learn of it at once. Who
// breaks what others hold, with session.Session.Break, needs the functions alone. The layout
// 2 of the schema brought that; builds of layout 1 go on beside it, and obey no mark. Layout 3
// is for speed alone. Layout 4 corrects functions, for older builds as well, and has no new ones.
//
// A process keeps up to 17 connections: 16 for requests, each for as long as one takes, and
// the one that listens and renews. Those of its sessions share them that are opened alike: with
// the same URL, the same in the files that it names, the same logger, and the same TTL, or one
// of 5 s or more. PostgreSQL wakes every connection of a database that listens for each message
// to any of them: a hundred processes cost it ten times as much for a hand-off as ten.
//
// # Poolers
//
// Waiters are woken with NOTIFY, on one connection for each store. A
// pooler that shares connections between transactions, as pgbouncer with
// pool_mode=transaction, takes LISTEN and never delivers. That is found out when a
// session is opened, which then fails. With the parameter poll it works all the same:
// waiters look that often. Everything else is as without. Each request is a
// transaction in one statement, a join two of them, and nothing is prepared.
//
// # Algorithm
//
// An entry is a row. Joining takes the queue's advisory lock, for the transaction,
// before it takes the next number of a sequence, the token, and reads the queue: so
// tokens become visible in their order, which without the lock they would not. Joining
// also notes whom a waiter has to be told of. Leaving, under the same lock, deletes
// the row and notifies who waits for it; the message says so where nobody is ahead any
// more, and the turn has come without another request. Waiters also look when the
// session that they wait for would expire, at a third of their own TTL, and when the
// connection that listens was lost: a message may be lost, a turn is not.
//
// A session is a row, and lives until that is deleted. One that has expired is deleted
// by whoever comes across it, who locks it first: a renewal that is under way has done
// so before, or finds nothing to renew. A claim whose reply was lost is looked up under
// the queue's lock and, if its entry is not there, noted as settled: the request cannot
// apply any more when it arrives late.
//
// What lets somebody in is on the disk before anybody relies on it, whatever the default of
// synchronous_commit is: one flush for each acquisition, and one for each renewal. Where
// others were ahead the last time, an entry becomes visible, and the queue is unlocked, before
// its flush, which many share then; only when that is done does Join return. As PostgreSQL
// writes its log in the order of commits, an entry is never on the disk without those ahead of
// it. Leaving is not flushed at all, as its loss in a crash only brings an entry back whose
// owner has left it, and who removes it when it has connected again. Notifications never go with a durable commit,
// as they lock out all others of the database for as long as that takes; but for those of
// session.Session.Break, which is rare.
//
// Joins and leaves that find all connections busy are gathered, and go together with
// the next one that is free: up to 32 in one transaction, each of another queue, and never
// joins with leaves. Such a transaction waits for no lock: a queue that is locked just then
// has its request made separately. So have joins that may be answered with a whole queue,
// or with values: a process that is stopped keeps what is locked for it until it has been
// told everything. Nothing is delayed to be gathered. What is gathered is flushed under the
// locks of its queues.
//
// # How time enters
//
// The server's clock alone decides when a session has expired. A client trusts its
// lease from the moment at which it sent the last renewal that was acknowledged.
// Requests are bounded by the TTL, at least two seconds and at most five.
//
// # Guarantees
//
//   - Tokens strictly increase for as long as the database's data lives, in the order
//     of joining, across crashes and across failover to a synchronous standby.
//   - Everything that decides is read on the primary, from what is committed.
//   - Nothing can be done under a session that has ended, and its entries count no more
//     from that moment.
//   - A release costs one short transaction and at most one message for each that waits
//     for just this entry, whatever the length of the queue.
//   - No connection is held by who waits or holds.
//   - Behind [Guard], a stale holder cannot commit.
//
// # Not guaranteed
//
//   - Failover to an asynchronous standby may lose what was committed last: two may
//     hold then, and tokens may be handed out anew. So may a restored backup, and a
//     server that runs with fsync off.
//   - A step of the server's clock forward ends sessions too early, while their owners
//     trust them: then only the token, or Guard, protects.
//   - Right after a crash of the server, what was released up to 0.6 s before it (three times
//     wal_writer_delay) may be shown as held, by Leader for one, until the process that had it has
//     connected again. It keeps nobody waiting for longer than that, or than the lease lasts.
//   - A transaction that stays open anywhere in the database keeps deleted rows from
//     being cleaned up, and a busy queue slows down until it ends. One that called Guard
//     keeps the queue waiting.
//   - While the server is restarting nobody joins or leaves; a restart that takes longer
//     than the TTL, less the margin, ends all leases.
//   - Joining a queue of permits, or as a reader, and to try, read the whole queue.
package postgres
