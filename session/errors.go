package session

import (
	"errors"
	"fmt"
	"strings"
)

// The errors that callers test for with errors.Is. All of them come wrapped in
// an [Error] from the methods of a primitive.
var (
	// ErrLost: the lease ended, or trust in it did, or somebody removed the
	// entry. What was held is held no longer.
	ErrLost = errors.New("lost")

	// ErrClosed: the session was closed.
	ErrClosed = errors.New("session closed")

	// ErrReleased: the grant was released by its owner.
	ErrReleased = errors.New("released")

	// ErrHeld: a Try method found the way barred. The Error tells by whom.
	ErrHeld = errors.New("held by another")

	// ErrKind: the name is in use by a primitive of another kind.
	ErrKind = errors.New("in use by another kind of primitive")

	// ErrLimit: the semaphore is in use with another limit.
	ErrLimit = errors.New("in use with another limit")

	// ErrNoLeader: nobody leads.
	ErrNoLeader = errors.New("no leader")
)

// Error is the error of every method of a primitive: what was tried, on what,
// and why it failed.
type Error struct {
	Op     string // "lock mutex"
	Name   string
	Holder string // who was in the way, where known
	Token  uint64 // of the holder in the way, else of one's own grant; 0 when unknown
	Err    error
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q: %v", e.Op, e.Name, e.Err)
	switch {
	case e.Holder != "" && e.Token != 0:
		fmt.Fprintf(&b, " (ahead: %s, token %d)", e.Holder, e.Token)
	case e.Holder != "":
		fmt.Fprintf(&b, " (ahead: %s)", e.Holder)
	case e.Token != 0:
		fmt.Fprintf(&b, " (token %d)", e.Token)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// lost returns an error that Is ErrLost and says why.
func lost(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrLost}, args...)...)
}
