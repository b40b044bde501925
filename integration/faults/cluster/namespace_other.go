//go:build !linux

package cluster

import (
	"errors"
	"os"
)

func newNamespace() (*os.File, error) { return nil, errors.ErrUnsupported }
