package cluster

import (
	"context"
	"errors"
	"testing"
)

// The admin's client waits for a server for as long as there is none.
func TestCallOfTheAdminEndsWithTheContext(t *testing.T) {
	t.Parallel()
	c := &zookeeper{}
	answer := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := c.ask(ctx, func() error {
		<-answer
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context was canceled", err)
	}
	close(answer)
	c.calls.Wait()
	if err := c.ask(t.Context(), func() error { return errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want the call's error", err)
	}
}
