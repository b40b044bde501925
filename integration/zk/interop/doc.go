// Package interop has tests in which our primitives compete with those of other
// libraries on ZooKeeper: Curator, kazoo and go-zookeeper. It has no code.
package interop
