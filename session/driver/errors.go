package driver

import (
	"errors"
	"fmt"
)

var (
	// ErrLeaseGone says that the lease is not, or no longer, in the store.
	ErrLeaseGone = errors.New("the lease is gone")

	// ErrEntryGone says that the entry is not, or no longer, in the queue.
	ErrEntryGone = errors.New("the entry is gone")

	// ErrRefused is the error of a conditional Join that was not admitted.
	ErrRefused = errors.New("not admitted")

	// ErrConflict says that a queue is no longer as it was read.
	ErrConflict = errors.New("the queue has changed")
)

// Refused is the error of a conditional Join that was not admitted, with the
// entries that were ahead. It Is ErrRefused.
type Refused struct{ Ahead []Entry }

func (e *Refused) Error() string { return ErrRefused.Error() }

// Is reports whether target is ErrRefused.
func (e *Refused) Is(target error) bool { return target == ErrRefused }

// LimitError is the error of a Join to a queue that is in use with another limit,
// or without one, with the entries that are there.
type LimitError struct {
	Limit int64 // 0: none
	Ahead []Entry
}

func (e *LimitError) Error() string {
	if e.Limit == 0 {
		return "the queue is in use without a limit"
	}
	return fmt.Sprintf("the queue is in use with limit %d", e.Limit)
}

type permanent struct{ err error }

func (e permanent) Error() string { return e.err.Error() }
func (e permanent) Unwrap() error { return e.err }

// Permanent marks err as one that trying again cannot heal: no permission, a
// value too large, content of an unknown layout.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent reports whether err was marked with [Permanent].
func IsPermanent(err error) bool {
	_, ok := errors.AsType[permanent](err)
	return ok
}

// LayoutError says that an entry was written by a release of Fairlead whose
// layout this one does not understand. It is permanent.
func LayoutError(key string, layout, understood int) error {
	return Permanent(fmt.Errorf("%q has layout %d and this build understands up to %d: upgrade this program, or wait until the newer one has left",
		key, layout, understood))
}
