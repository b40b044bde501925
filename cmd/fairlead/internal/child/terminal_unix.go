//go:build unix

package child

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// A terminal is the one that controls this process. The methods of a nil terminal do
// nothing.
type terminal struct {
	fd   int
	own  int  // our process group
	lent bool // the command had it when it was stopped
}

// openTerminal returns nil when no terminal controls this process. It need not be standard
// input: one asks for a password at the terminal, whatever that is.
func openTerminal() *terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	t := &terminal{fd: fd, own: unix.Getpgrp()}
	if _, err := t.foreground(); err != nil {
		_ = unix.Close(fd)
		return nil
	}
	// While the command has the terminal, we are the background job, and
	// writing to it (`stty tostop`) or taking it back would stop us: a stopped
	// supervisor cannot renew the lease nor end the command. The command does
	// not inherit this, as it was started before.
	signal.Ignore(unix.SIGTTOU)
	return t
}

// close takes the terminal back from a command that has ended.
func (t *terminal) close(p *Process) {
	if t == nil {
		return
	}
	t.take(p)
	signal.Reset(unix.SIGTTOU)
	_ = unix.Close(t.fd)
}

// foreground returns the process group that has the terminal.
func (t *terminal) foreground() (int, error) { return unix.IoctlGetInt(t.fd, unix.TIOCGPGRP) }

func (t *terminal) give(group int) { _ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group) }

// take makes us the foreground again if the command is, and reports that.
func (t *terminal) take(p *Process) bool {
	if group, err := t.foreground(); err != nil || group != p.pid {
		return false
	}
	t.give(t.own)
	return true
}

// stopped deals with a command that a signal has stopped. See the package's
// documentation.
func (t *terminal) stopped(p *Process, sig os.Signal) {
	if t == nil {
		return
	}
	wants := sig == unix.SIGTTIN || sig == unix.SIGTTOU
	group, err := t.foreground()
	if err != nil {
		return // the terminal is gone, and SIGHUP is on its way
	}
	switch {
	case wants && group == t.own:
		t.give(p.pid)
	case wants && group == p.pid:
		// One of the group asked before it was lent.
	case wants && t.unattended():
		return // it is in nobody's foreground, and would ask again at once
	case t.unattended():
		// No shell could resume us, so Ctrl-Z is not obeyed.
	case sig == unix.SIGSTOP && group != p.pid:
		// Nobody did that at the terminal. Whoever did can resume the command alone, which
		// must not run on under a supervisor that is stopped.
		return
	default:
		t.lent = t.take(p)
		_ = unix.Kill(0, unix.SIGSTOP) // we go on from here when the shell says so
		return
	}
	p.resume()
}

// unattended reports whether nobody in our session looks after our group, as in
// a container: who stops then is never resumed.
func (t *terminal) unattended() bool {
	session, err := unix.Getsid(0)
	if err != nil || session == t.own {
		return true
	}
	parents, err := unix.Getsid(os.Getppid())
	return err != nil || parents != session
}

// resumed lends the terminal again, once a shell has brought us to the
// foreground, to a command that had it.
func (t *terminal) resumed(p *Process) {
	if t == nil || !t.lent {
		return
	}
	if group, err := t.foreground(); err == nil && group == t.own {
		t.lent = false
		t.give(p.pid)
	}
}
