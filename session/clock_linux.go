package session

import (
	"time"

	"golang.org/x/sys/unix"
)

// suspended returns for how long this machine has been suspended since it was
// booted. Go's monotonic clock stands still meanwhile, the store's does not.
// Only differences between two calls mean anything.
func suspended() time.Duration {
	// The monotonic clock is read first: a thread that is not scheduled between
	// the two calls seems to have slept, which ends trust early, never late.
	var mono, boot unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}
