package zk_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/zk"
)

// backend runs the suite on a server.
func backend(server, rawURL string) drivertest.Backend {
	return drivertest.Backend{
		MinTTL:    4 * time.Second,
		Networked: true,
		Connect: func(tb drivertest.TB, link *drivertest.Link) driver.Store {
			return connect(tb, rawURL, nil, link)
		},
		Expire: func(tb drivertest.TB, l driver.Lease) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			id, passwd := zk.SessionOf(l)
			err := zkserver.Expire(ctx, server, id, passwd)
			if err != nil && !strings.Contains(err.Error(), "no such session") { // it may have ended by itself
				tb.Errorf("end the session: %v", err)
			}
		},
	}
}

func TestConformance(t *testing.T) {
	drivertest.Run(t, backend(server.Addr(), "zk://"+server.Addr()))
}
