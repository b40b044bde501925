package demo

import (
	"errors"
	"time"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/child"
)

// unsupported says why the demo cannot run on this system, if so.
const unsupported = "it freezes a process with SIGSTOP, and Windows has nothing like it: run it on Linux or macOS, or in WSL"

func monotonic() int64 { return time.Now().UnixNano() }

func freeze(*child.Process) error { return errors.ErrUnsupported }

func thaw(*child.Process) error { return errors.ErrUnsupported }

func instant(t time.Time) int64 { return t.UnixNano() }
