package drivertest

import (
	"context"
	"errors"
	"testing"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/memory"
)

// tapped is a lease whose calls pass through c.
func tapped(t *testing.T, c *Calls) (driver.Lease, driver.Store) {
	t.Helper()
	st := memory.NewStore()
	direct, store := st.Connect(), c.Interpose(st.Connect())
	l, _, err := store.Grant(t.Context(), driver.Spec{TTL: longTTL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Heal()
		if err := l.Revoke(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return l, direct
}

func length(t *testing.T, s driver.Store, name string) int {
	t.Helper()
	q, err := s.Read(t.Context(), name, 0)
	if err != nil {
		t.Fatal(err)
	}
	return len(q.Entries)
}

func TestLostReplyIsOfACallThatWasMade(t *testing.T) {
	c := &Calls{}
	l, direct := tapped(t, c)
	c.LoseReply(2)
	if _, err := l.Join(t.Context(), claim("q")); err != nil {
		t.Errorf("the first request: %v", err)
	}
	if v, err := l.Join(t.Context(), claim("q")); !errors.Is(err, errReplyLost) || v.Me.Token != 0 {
		t.Errorf("the second request returned %+v, %v, want its reply lost", v, err)
	}
	if n := length(t, direct, "q"); n != 2 {
		t.Errorf("%d entries, want 2", n)
	}
	if n := c.Requests(); n != 2 {
		t.Errorf("%d requests counted, want 2", n)
	}
}

func TestLostRequestIsOfACallThatWasNotMade(t *testing.T) {
	c := &Calls{}
	l, direct := tapped(t, c)
	c.At(1, loseRequest)
	if _, err := l.Join(t.Context(), claim("q")); !errors.Is(err, errRequestLost) {
		t.Errorf("Join returned %v, want its request lost", err)
	}
	if n := length(t, direct, "q"); n != 0 {
		t.Errorf("%d entries, want none", n)
	}
	c.At(5, loseRequest)
	if n := c.Clear(); n != 1 {
		t.Errorf("Clear tells that %d faults were left, want 1", n)
	}
	if _, err := l.Join(t.Context(), claim("q")); err != nil || c.Clear() != 0 {
		t.Errorf("after Clear: %v", err)
	}
}

func TestFrozenCallsWaitForHealOrTheirContext(t *testing.T) {
	c := &Calls{}
	l, direct := tapped(t, c)
	c.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), moment)
	defer cancel()
	if _, err := l.Join(ctx, claim("q")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a frozen Join returned %v, want DeadlineExceeded", err)
	}
	if n := length(t, direct, "q"); n != 0 {
		t.Errorf("a frozen Join has reached the store: %d entries", n)
	}
	joined := make(chan error, 1)
	go func() {
		_, err := l.Join(t.Context(), claim("q"))
		joined <- err
	}()
	c.Heal()
	if err := <-joined; err != nil {
		t.Errorf("after Heal: %v", err)
	}
}

func TestCutFailsWhatIsUnderWayAlone(t *testing.T) {
	c := &Calls{}
	l, _ := tapped(t, c)
	watching := make(chan error, 1)
	started := make(chan struct{})
	c.On(OpWatchLease, func(ctx context.Context, _ Op, call func(context.Context) error) error {
		close(started)
		return call(ctx)
	})
	go func() { watching <- l.Watch(t.Context(), func() {}) }()
	<-started
	c.Cut()
	if err := <-watching; !errors.Is(err, errCut) {
		t.Errorf("a call under way returned %v, want it cut", err)
	}
	if err := l.Check(t.Context()); err != nil {
		t.Errorf("the next call: %v", err)
	}
	if n := c.Made(OpCheck); n != 1 {
		t.Errorf("%d checks counted, want 1", n)
	}
}
