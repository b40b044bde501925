//go:build unix

package demo

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/child"
)

// unsupported says why the demo cannot run on this system, if so.
const unsupported = ""

// monotonic returns the time on a clock that all processes of this machine share
// and that nobody sets.
func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic("demo: no monotonic clock: " + err.Error())
	}
	return now.Nano()
}

func freeze(p *child.Process) error { return p.Signal(unix.SIGSTOP) }

func thaw(p *child.Process) error { return p.Signal(unix.SIGCONT) }

// instant converts a time of this process to the clock that all share.
func instant(t time.Time) int64 { return monotonic() + time.Until(t).Nanoseconds() }
