// Package redisserver starts real Redis servers as processes on the loopback
// interface: one alone, a primary with a replica and sentinels that watch them,
// or a cluster. They are for tests and demonstrations, which kill them, freeze
// them, and have another server take over.
//
// It needs the command redis-server, of version 7, which Debian's package of
// that name has.
//
// # What they are like
//
// The servers keep nothing on disk unless the Config says so: who kills one and
// starts it again has an empty one, with another run id, at the same address.
// That is the worst that a real one can do, and what locks have to bear.
//
// Nothing is asked of clients unless the Config says so either. Whatever it
// says, the package has a user of its own, redisserver, who may do everything
// and has a random password: with it Do, replicas and sentinels go about their
// work.
//
// # Ports
//
// A server cannot be told to choose its ports itself, so they are chosen for
// it. On Linux they stay reserved until Close, by sockets that are bound and
// never listen: the system gives such a port to nobody who asks for any port,
// and a server may still listen on it, again and again. So runs beside one
// another do not collide, and a killed server finds its ports free. Elsewhere a
// port may be taken between the choice and its use; a start that fails for that
// reason is repeated with other ports, a Restart cannot be.
//
// # What is left behind
//
// Close waits for the process and removes the directory, if it was a temporary
// one. On Linux the servers die with the process that started them, however it
// ends; then the directory stays.
package redisserver
