package pgserver

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// servant returns who is to run the servers: nobody else, unless we are root.
func servant() (*owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("find the user who runs PostgreSQL for root: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	return &owner{uid: uid, gid: gid}, err
}

// dress has the command run as the owner and in a process group of its own, and
// has the kernel kill it when the thread that starts it is gone. A change of user
// makes the kernel forget such a wish, but it comes first.
func dress(cmd *exec.Cmd, o *owner) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if o != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
	}
}

// sweep removes the segment of System V shared memory that a killed server has
// left: a few bytes, but the system has room for a few thousand segments only. The
// lock file, which a server removes that ends in order, has the process id in its
// first line, and in the seventh the segment's key and id.
func sweep(data string) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 7 {
		return
	}
	var pid, key, id int
	if _, err := fmt.Sscan(lines[0]+" "+lines[6], &pid, &key, &id); err != nil {
		return
	}
	if done, err := all(pid, gone); err == nil && done { // or else it may be somebody's server
		_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) // an error means that it is gone
	}
}
