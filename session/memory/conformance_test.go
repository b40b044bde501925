package memory_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	st := memory.NewStore()
	drivertest.Run(t, drivertest.Backend{
		MinTTL:  300 * time.Millisecond,
		Connect: func(drivertest.TB, *drivertest.Link) driver.Store { return st.Connect() },
		Expire: func(tb drivertest.TB, lease driver.Lease) {
			// Neither a session's faults nor its driver stand in between.
			if err := lease.Revoke(context.Background()); err != nil {
				tb.Errorf("end the lease: %v", err)
			}
		},
	})
}
