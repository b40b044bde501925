package etcd_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

func TestConformance(t *testing.T) {
	admin := raw(t, server, "", "")
	drivertest.Run(t, drivertest.Backend{
		MinTTL:    2 * time.Second,
		Networked: true,
		Connect: func(tb drivertest.TB, link *drivertest.Link) driver.Store {
			return connect(tb, server.Endpoint()+"/conformance", nil, link)
		},
		Expire: func(tb drivertest.TB, lease driver.Lease) { expire(tb, admin, lease.ID()) },
	})
}

// expire ends a lease behind its owner's back.
func expire(tb drivertest.TB, admin *clientv3.Client, lease string) {
	tb.Helper()
	id, err := strconv.ParseInt(lease, 16, 64)
	if err != nil {
		tb.Fatalf("the lease %q: %v", lease, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := admin.Revoke(ctx, clientv3.LeaseID(id)); err != nil {
		tb.Fatalf("revoke the lease: %v", err)
	}
}
