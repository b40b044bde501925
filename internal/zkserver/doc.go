// Package zkserver starts real ZooKeeper servers, one or an ensemble, as
// processes on the loopback interface: for tests and demonstrations, which kill
// them, freeze them, and end sessions behind their clients' backs.
//
// It needs the command java, and ZooKeeper's jars where Debian's package
// libzookeeper-java puts them. FAIRLEAD_ZOOKEEPER_JARS=DIR has another release's
// zookeeper.jar and zookeeper-jute.jar, from DIR, come before these.
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
package zkserver
