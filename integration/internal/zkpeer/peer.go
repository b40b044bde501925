package zkpeer

import (
	"context"
	"time"
)

// A Locker takes locks, each at most once at a time.
type Locker interface {
	// Acquire waits for the lock at the path for as long as the timeout, which
	// must be positive, and reports whether the lock is held now. When ctx is
	// done it returns an error at once, and what becomes of the lock is open
	// until the peer is closed.
	Acquire(ctx context.Context, path string, timeout time.Duration) (bool, error)

	// Release gives back a lock that Acquire got.
	Release(ctx context.Context, path string) error
}

// A Peer is another implementation's client. As a Locker it takes exclusive
// locks.
type Peer interface {
	Locker

	// Kill ends the peer as a crash would: its sessions, and the locks in them,
	// last until they expire. It waits until the peer is gone.
	Kill() error

	// Close ends the peer, and its sessions with it, and waits until it is gone.
	Close()
}
