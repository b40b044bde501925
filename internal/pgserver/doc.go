// Package pgserver starts real PostgreSQL servers, their hot standbys, and
// pgbouncer before them, as processes on the loopback interface: for tests and
// demonstrations, which kill them, freeze them and promote them.
//
// It needs the programs of PostgreSQL where Debian's package postgresql puts
// them, of which it takes the newest version, or else in PATH; and the command
// pgbouncer. PostgreSQL does not run as root: on Linux root has the user postgres
// run it, and that user must be able to pass through the directories above the
// server's. Those inside the directory for temporary files are changed to let it
// pass, others are not.
//
// # Processes
//
// A PostgreSQL server is a postmaster and a process for each connection and each
// chore. Kill, Stop and Cont reach all of them on Linux. Elsewhere Kill ends the
// postmaster alone, the others notice and follow, and Restart waits for that; Stop
// is not possible.
//
// # Ports
//
// A server cannot be told to choose its port itself, so it is chosen for it. On
// Linux it stays reserved until Close, by a socket that is bound and never
// listens: the system gives such a port to nobody who asks for any port, and a
// server may still listen on it, again and again. So runs beside one another do
// not collide, and a killed server finds its port free. Elsewhere a port may be
// taken between the choice and its use; a start that fails for that reason is
// repeated with another port, a Restart cannot be.
//
// # What is left behind
//
// Close waits for the processes and removes the directory, if it was a temporary
// one. On Linux the servers die with the process that started them, however it
// ends, even if they were stopped; then the directory stays, and so does a segment
// of shared memory, 56 bytes, that marks the directory as used until the next
// start there.
package pgserver
