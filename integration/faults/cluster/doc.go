// Package cluster runs the stores that are tortured: real servers, each a process
// of its own, with all that is done to them and all that an operator may do to what
// is kept in them.
//
//	etcd       three members, this program started again
//	redis      a primary, a replica and three sentinels
//	postgres   one server
//	zk         an ensemble of three
//
// # Partitions
//
// Members are cut off from one another by packets that are dropped between network
// namespaces, one for each member: see [Enter]. Proxies between the members would need
// no rights, but could not tell who sends: the members of an etcd cluster have to agree
// on one address for each, and all that a proxy sees of a connection is that address.
// What drops packets by their sender and receiver gives all kinds of partitions, and for
// all stores alike. Without the right to have namespaces there are no partitions.
//
// # Space
//
// Members that keep something on a disk have small ones of their own, in memory, which
// are filled up; a Redis keeps nothing there. etcd also has a quota, which somebody else
// uses up. Either needs no more than what an operator who looks away can do.
//
// # Passwords
//
// Clients of Redis and PostgreSQL have a password, which is changed; they are started
// again with the new one. A digest of ZooKeeper's cannot be changed: it is part of the
// rules that each node was made with. The clients of etcd have none here.
//
// # Clocks
//
// Redis and PostgreSQL end sessions by the wall clock. Their servers are given another
// by a shim of a few lines between them and the system; libfaketime, which does the same
// and more, ends in a recursion with the allocator that Redis has. etcd and ZooKeeper
// count by the monotonic clock, and nothing of theirs depends on another.
package cluster
