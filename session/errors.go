package session

import (
	"fmt"
	"strings"
)

// The errors that callers test for with errors.Is. All of them come wrapped in
// an [Error] from the methods of a primitive.
var (
	// ErrLost: the lease ended, or trust in it did, or somebody removed the
	// entry. What was held is held no longer.
	ErrLost error = &sentinel{"lost", "lost"}

	// ErrClosed: the session was closed.
	ErrClosed error = &sentinel{"session closed", "closed"}

	// ErrReleased: the grant was released by its owner.
	ErrReleased error = &sentinel{"released", "released"}

	// ErrHeld: a Try method found the way barred. The Error tells by whom.
	ErrHeld error = &sentinel{"held by another", "held"}

	// ErrKind: the name is in use by a primitive of another kind.
	ErrKind error = &sentinel{"in use by another kind of primitive", "kind"}

	// ErrLimit: the semaphore is in use with another limit, or what was asked for
	// is more than its limit.
	ErrLimit error = &sentinel{"the limit does not allow it", "limit"}

	// ErrNotHeld: nothing stands in the queue under that token. See Session.Break.
	ErrNotHeld error = &sentinel{"nothing is held or waits under this token", "not_held"}

	// ErrNoLeader: nobody leads.
	ErrNoLeader error = &sentinel{"no leader", "no_leader"}
)

// A sentinel is an error that is told by its identity.
type sentinel struct{ text, errorType string }

func (e *sentinel) Error() string { return e.text }

// ErrorType is the value of error.type in telemetry.
func (e *sentinel) ErrorType() string { return e.errorType }

// Broken is why a grant, or a wait, ended that somebody broke: see
// [Session.Break]. It Is ErrLost.
type Broken struct {
	By     string // who broke it
	Reason string // in their own words; may be empty
}

func (b *Broken) Error() string {
	if b.Reason == "" {
		return fmt.Sprintf("%v: broken by %s", ErrLost, b.By)
	}
	return fmt.Sprintf("%v: broken by %s: %s", ErrLost, b.By, b.Reason)
}

// Is reports whether target is ErrLost.
func (b *Broken) Is(target error) bool { return target == ErrLost }

// ErrorType is the value of error.type in telemetry.
func (b *Broken) ErrorType() string { return "broken" }

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
