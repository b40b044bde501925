package session

import (
	"sync/atomic"
	"time"
)

// Asleep is added to the time for which the machine has been suspended.
var Asleep atomic.Int64

func init() {
	real := suspended
	suspended = func() time.Duration { return real() + time.Duration(Asleep.Load()) }
}
