// Package zkpeer drives other implementations of locks on ZooKeeper: Curator's
// in a Java process, kazoo's in a Python one, and go-zookeeper's in this one.
// Tests let them compete with ours.
//
// A peer recognizes other peers' nodes by their names. On one path,
//
//	                curator  kazoo  go-zookeeper
//	curator           yes     no        yes
//	kazoo             yes     yes       yes       (*)
//	go-zookeeper      yes     yes       yes
//
// says whether the peer on the left waits for the one above.
//
// (*) Because it is told to, with extra_lock_patterns; by default kazoo waits
// for kazoo only. Nothing makes Curator wait for kazoo: so these two exclude
// each other only when kazoo comes later.
package zkpeer
