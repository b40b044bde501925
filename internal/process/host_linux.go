package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
)

// dieWithUs has the kernel kill the command's process when the thread that
// starts it is gone.
func dieWithUs(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

// Reserve binds a socket to a port that the system chooses, and never listens.
// Because this socket and the server's both have SO_REUSEADDR, the server may
// listen on the port; who asks for any port is not given one that is bound.
func Reserve() (Port, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return Port{}, fmt.Errorf("reserve a port: %w", err)
	}
	number, err := bindAny(fd)
	if err != nil {
		syscall.Close(fd)
		return Port{}, fmt.Errorf("reserve a port: %w", err)
	}
	return Port{Number: number, free: func() { syscall.Close(fd) }}, nil
}
func bindAny(fd int) (int, error) {
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return addr.(*syscall.SockaddrInet4).Port, nil
}

// awaitStopped returns when every thread of the process has stopped: the signal
// reaches them one after the other, and until then they go on answering.
func awaitStopped(pid int) error {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		switch stopped, err := allStopped(pid); {
		case err != nil:
			return err
		case stopped:
			return nil
		case time.Since(start) > stopTimeout:
			return fmt.Errorf("process %d still runs %v after SIGSTOP", pid, stopTimeout)
		}
	}
}

func allStopped(pid int) (bool, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false, err
	}
	if len(files) == 0 {
		return false, os.ErrProcessDone
	}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			return false, err
		}
		// The state follows the name, which is in parentheses and may have some.
		_, state, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
		if !strings.HasPrefix(state, "T") {
			return false, nil
		}
	}
	return true, nil
}
