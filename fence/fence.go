package fence

import (
	"context"
	"errors"
	"fmt"
)

// A Register knows the newest token that was admitted to each resource. [Memory] and
// [SQL] are registers.
type Register interface {
	// Admit returns nil if the token is at least as new as the newest that was
	// admitted to the resource, which it then is itself; and otherwise a
	// *StaleError, which Is ErrStale. Any other error tells nothing of the token,
	// and does not allow the write either.
	Admit(ctx context.Context, resource string, token uint64) error
}

// ErrStale is why a token is refused: a newer one was admitted.
var ErrStale = errors.New("stale token")

// A StaleError says which token was refused, and for the sake of which. It Is
// [ErrStale].
type StaleError struct {
	Resource string
	Token    uint64 // that was refused
	Newest   uint64 // that was admitted before
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("fence: token %d for %q is stale: %d was admitted before", e.Token, e.Resource, e.Newest)
}

// Is makes it an ErrStale.
func (e *StaleError) Is(target error) bool { return target == ErrStale }

// check refuses what no grant has, and most likely was forgotten to be set.
func check(resource string, token uint64) error {
	switch {
	case resource == "":
		return errors.New("fence: the resource has no name")
	case token == 0:
		return fmt.Errorf("fence: token 0 for %q: no grant has it", resource)
	}
	return nil
}
