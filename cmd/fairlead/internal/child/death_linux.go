package child

import "syscall"

// processAttributes puts the command into a group of its own, and lets the
// kernel kill it when its supervisor is killed.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
