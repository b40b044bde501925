package process

import (
	"cmp"
	"os/exec"
	"slices"
)

// A Host says where and how a server runs, if not simply on the loopback interface.
type Host struct {
	Addr string // an address of the machine, or of a network namespace

	// Through is a command line that runs the one which follows it, in the same
	// process, such as nsenter or env.
	Through []string
}

// Of returns the i-th of the hosts; those that are not there are the loopback
// interface.
func Of(hosts []Host, i int) Host {
	if i >= len(hosts) {
		return Host{Addr: Loopback}
	}
	return Host{Addr: cmp.Or(hosts[i].Addr, Loopback), Through: hosts[i].Through}
}

// Command is exec.Command on that host.
func (h Host) Command(name string, args ...string) *exec.Cmd {
	line := slices.Concat(h.Through, []string{name}, args)
	return exec.Command(line[0], line[1:]...)
}
