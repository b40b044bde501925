package postgres_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// backend runs the suite in a namespace of its own, as the user of the URL.
func backend(s *pgserver.Server, rawURL, ns string) drivertest.Backend {
	return drivertest.Backend{
		MinTTL:    2 * time.Second,
		Networked: true,
		Connect: func(tb drivertest.TB, link *drivertest.Link) driver.Store {
			return connect(tb, rawURL, nil, link)
		},
		Expire: func(tb drivertest.TB, l driver.Lease) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			id, err := strconv.ParseInt(l.ID(), 16, 64)
			if err == nil {
				err = s.Exec(ctx, "postgres", "DELETE FROM "+ns+".session WHERE id = $1", id)
			}
			if err != nil {
				tb.Errorf("end the session: %v", err)
			}
		},
	}
}

// The suite runs as a user who may call the functions and nothing else.
func TestConformance(t *testing.T) {
	user := executor(t, "conformance")
	drivertest.Run(t, backend(server, with(t, user, "namespace", "conformance"), "conformance"))
}

// And behind a pooler that shares connections between transactions.
func TestConformanceWhenPolling(t *testing.T) {
	executor(t, "polling")
	pooled := bouncer(t, pgserver.PoolTransaction, "polling").URL("polling", "secret", "postgres")
	drivertest.Run(t, backend(server, with(t, pooled, "namespace", "polling", "poll", "20ms"), "polling"))
}
