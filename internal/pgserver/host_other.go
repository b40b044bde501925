//go:build !linux

package pgserver

import (
	"errors"
	"os/exec"
)

func servant() (*owner, error) { return nil, nil }

func dress(*exec.Cmd, *owner) {}

func sweep(string) {}

func killChildren(int) error { return nil }

func stopChildren(int) (release func(), err error) { return nil, errors.ErrUnsupported }

func contChildren(int) error { return nil }
