//go:build unix && !linux

package child

import "syscall"

// processAttributes puts the command into a group of its own. This system
// cannot tie its life to the supervisor's.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
