//go:build !linux

package zkserver

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

// reserve finds a port that is free now.
func reserve() (port, error) {
	l, err := net.Listen("tcp4", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return port{}, fmt.Errorf("choose a port: %w", err)
	}
	defer l.Close()
	return port{number: l.Addr().(*net.TCPAddr).Port, free: func() {}}, nil
}

func awaitStopped(int) error { return errors.ErrUnsupported }
