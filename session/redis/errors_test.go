package redis

import (
	"context"
	"testing"

	"github.com/redis/rueidis"

	"github.com/fairlead-go/fairlead/session/driver"
)

// The library says that it is closing also of a connection that it gives up for one to
// another server, as after a failover.
func TestConnectionThatWasGivenUpIsTemporaryTrouble(t *testing.T) {
	s := newStore(nil, "h:6379", Config{Namespace: DefaultNamespace}, nil)
	if err := s.failed(t.Context(), "join", rueidis.ErrClosing); err == nil || driver.IsPermanent(err) {
		t.Errorf("while the store is open: %v, want a temporary error", err)
	}
	s.cancel()
	if err := s.failed(context.WithoutCancel(t.Context()), "join", rueidis.ErrClosing); !driver.IsPermanent(err) {
		t.Errorf("when it is closed: %v, want a permanent error", err)
	}
}
