package zk_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/zk"
)

// The answer to a renewal may come together with the end of the lease.
func TestTimerOfALeaseEndsWithIt(t *testing.T) {
	t.Parallel()
	st := connect(t, "zk://"+server.Addr()+prefix(t), nil, nil)
	l, _, err := st.Grant(bounded(t), driver.Spec{TTL: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Revoke(bounded(t)), st.Close()); err != nil {
		t.Fatal(err)
	}
	zk.Rewind(l)
	if zk.IsCounting(l) {
		t.Error("the timer runs on")
	}
}
