// Package etcd holds the tests of Fairlead against real etcd servers: other
// libraries on the same name, broken networks, clusters that lose members,
// servers that ask who one is. It has no code of its own.
package etcd
