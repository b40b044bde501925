//go:build !linux

package process

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"syscall"
)

// No process gets signal 0: Stop and Cont fail here.
const (
	sigStop = syscall.Signal(0)
	sigCont = syscall.Signal(0)
)

func dieWithUs(*exec.Cmd) {}

// Reserve finds a port that is free now.
func Reserve() (Port, error) {
	l, err := net.Listen("tcp4", net.JoinHostPort(Loopback, "0"))
	if err != nil {
		return Port{}, fmt.Errorf("choose a port: %w", err)
	}
	defer l.Close()
	return Port{Number: l.Addr().(*net.TCPAddr).Port}, nil
}

func awaitStopped(int) error { return errors.ErrUnsupported }
