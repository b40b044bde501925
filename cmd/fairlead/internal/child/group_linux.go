package child

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A member is a process of a group, as /proc has it.
type member struct {
	pid, parent int
	dead        bool // but not reaped
}

// members lists the processes of a group.
func members(group int) (found []member) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it has ended meanwhile
		}
		// The name of the program, in parentheses, may have any characters.
		var state string
		var parent, of int
		_, err = fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent, &of)
		if err == nil && of == group {
			found = append(found, member{pid, parent, state == "Z" || state == "X"})
		}
	}
	return found
}

// remains reports whether anybody lives in the group of a command that has ended. The dead
// whom their parent does not reap, as the first process of many a container, do not count.
func (p *Process) remains() bool {
	all := p.reap()
	return len(all) == 0 || // it has gone just now, or there is no /proc to go by
		slices.ContainsFunc(all, func(m member) bool { return !m.dead })
}

// reap reaps orphans of the group that are ours, and returns who was in it.
func (p *Process) reap() []member {
	all := members(p.pid)
	for _, m := range all {
		if m.dead && m.parent == os.Getpid() && m.pid != p.pid {
			_, _ = unix.Wait4(m.pid, nil, unix.WNOHANG, nil)
		}
	}
	return all
}

// adopts reports whether orphans become children of this process, as they do of the first
// one of a container.
func adopts() bool {
	if os.Getpid() == 1 {
		return true
	}
	var set int32
	return unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&set)), 0, 0, 0) == nil && set != 0
}
