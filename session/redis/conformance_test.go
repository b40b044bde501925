package redis_test

import (
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/redis"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, drivertest.Backend{
		MinTTL:    2 * time.Second,
		Networked: true,
		Connect: func(tb drivertest.TB, link *drivertest.Link) driver.Store {
			return connect(tb, serverURL(server, ""), nil, link)
		},
		Expire: func(tb drivertest.TB, l driver.Lease) { expire(tb, server, redis.DefaultNamespace, l) },
	})
}
