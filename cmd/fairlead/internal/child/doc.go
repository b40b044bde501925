// Package child runs a command under a grant: the command may run for as long
// as the grant lasts, and not longer.
//
// The command is started directly, not through a shell, as the leader of a
// process group of its own. [Command.Run] hands it the signals that it is given
// and watches [Grant].Deadline, which moves with each renewal of the lease. When
// the deadline comes near because renewals fail, the group gets SIGTERM, and at
// the deadline SIGKILL: before the store can give the lock to somebody else.
//
//	running ──▶ ending ──▶ killed
//	   │  TERM     │  KILL    │
//	   └───────────┴──────────┴──▶ ended
//
// A command that ends by itself may leave others of its group behind, which is its own
// business. One that was asked to end, with SIGTERM, or ended by another signal that was
// handed on, has ended when its whole group has: a shell ends at once, and the program that it
// was waiting for may need a moment. A second request ends that wait.
//
// # The terminal
//
// A group of its own is a background job for the terminal, and the kernel stops
// a background job that reads from it (SIGTTIN). So when the command is stopped
// like that while fairlead is in the foreground, it is given the terminal and
// goes on. It is not given the terminal before it asks: in
//
//	fairlead lock backup -- backup.sh | less
//
// less is in the foreground as well, and must stay there. When the command is
// stopped otherwise (Ctrl-Z), fairlead takes the terminal back and stops itself,
// so that the shell notices; the lease then runs out after its TTL unless the
// job is resumed in time, and the command is killed instead of resumed if it was
// not. Where SIGSTOP has stopped a command that did not have the terminal, fairlead
// goes on: whoever sent that may resume the command alone.
//
// # NOT GUARANTEED
//
// A process that leaves the group (setsid, a daemon) is not reached, and neither is one
// that runs as another user (sudo), of which [Command.Warn] is told. A command that is
// resumed alone after Ctrl-Z runs without supervision until fairlead is. When the
// supervisor itself is killed with SIGKILL, the command is killed with it on
// Linux, and with everything it started on Windows; elsewhere it goes on. There
// too the fencing token is what protects the data.
package child
