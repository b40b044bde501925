// Package zk holds the tests of Fairlead against real ensembles of three
// ZooKeeper servers, which lose their leader, freeze, restart, or are no majority
// any more, and of sessions that end behind their owners' backs. It has no code
// of its own.
package zk
