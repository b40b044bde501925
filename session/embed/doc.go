// Package embed runs an etcd server inside this process: for development, for
// tests, and for a single machine whose processes want to coordinate without
// anything else being installed.
//
// Importing it registers the scheme embed:
//
//	s, err := session.Open(ctx, "embed:///var/lib/fairlead", nil)
//
// The path is the directory of the data. ?listen=HOST:PORT sets where the server
// listens, so that other processes can connect with etcd://HOST:PORT; without
// it a free port on 127.0.0.1 is taken. Sessions of one process on one directory
// share one server, which stops with the last of them. A directory that another
// process uses is an error at once.
//
// [Start] starts a server that is not bound to sessions.
//
// The server is a cluster of one: it is as available as the process and as
// durable as the disk. Its guarantees are those of package etcd. It listens
// without TLS or authentication, and so on loopback unless told otherwise.
//
// The package links the whole etcd server, which is why it is a package of its
// own.
package embed
