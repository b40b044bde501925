// Package cluster runs the stores that are tortured: real servers, each a process
// of its own on the loopback interface, with all that is done to them and all that
// an operator may do to what is kept in them.
//
//	etcd       three members, this program started again
//	redis      a primary, a replica and three sentinels
//	postgres   one server
//	zk         an ensemble of three
package cluster
