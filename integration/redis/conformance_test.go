package redis_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// The whole suite, where a server has to be found before it is used.
func TestConformanceWithSentinels(t *testing.T) {
	t.Parallel()
	conform(t, through(replicated, ""), replicated.Primary)
}

// And where each key has its server.
func TestConformanceInACluster(t *testing.T) {
	t.Parallel()
	conform(t, at(cluster.Addrs(), ""), func(ctx context.Context) (*redisserver.Server, error) {
		return cluster.Owner(ctx, "{fairlead}:guard")
	})
}

func conform(t *testing.T, rawURL string, owner func(context.Context) (*redisserver.Server, error)) {
	drivertest.Run(t, drivertest.Backend{
		MinTTL:    2 * time.Second,
		Networked: true,
		Connect: func(tb drivertest.TB, link *drivertest.Link) driver.Store {
			return connect(tb, rawURL, link)
		},
		Expire: func(tb drivertest.TB, l driver.Lease) {
			tb.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			s, err := owner(ctx)
			if err == nil {
				_, err = s.Do(ctx, "DEL", fmt.Sprintf("{fairlead}:s:%s", l.ID()))
			}
			if err != nil {
				tb.Errorf("end the session: %v", err)
			}
		},
	})
}
