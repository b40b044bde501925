package session

import (
	"time"

	"golang.org/x/sys/unix"
)

// suspended returns for how long this machine has been suspended since it was
// booted. Go's monotonic clock stands still meanwhile, the store's does not.
// Only differences between two calls mean anything. Tests replace it.
//
// It asks the system for both clocks: in a test with virtual time, package time has
// neither.
var suspended = bootMinusMonotonic

func bootMinusMonotonic() time.Duration {
	// The clocks are read one after the other. A thread that was not scheduled
	// in between tells nonsense, so it looks again.
	for range 10 {
		before, boot, after := clock(unix.CLOCK_MONOTONIC), clock(unix.CLOCK_BOOTTIME), clock(unix.CLOCK_MONOTONIC)
		if after-before < time.Millisecond {
			return boot - before
		}
	}
	return clock(unix.CLOCK_BOOTTIME) - clock(unix.CLOCK_MONOTONIC)
}

func clock(id int32) time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts) // fails for an unknown clock only
	return time.Duration(ts.Nano())
}
