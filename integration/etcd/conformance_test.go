package etcd_test

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/etcd"
)

// The whole suite once more, where every connection needs a certificate and
// every request the permission of a role that has one prefix. That the
// operations go through is the lesser part: a refusal in a path that only a
// fault leads to would show here.
func TestConformanceUnderMutualTLSAndRoles(t *testing.T) {
	t.Parallel()
	f := startFortress(t)
	u, err := url.Parse(f.url(nil))
	if err != nil {
		t.Fatal(err)
	}
	drivertest.Run(t, drivertest.Backend{
		MinTTL:    shortTTL,
		Networked: true,
		Connect: func(tb drivertest.TB, link *drivertest.Link) driver.Store {
			tb.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			s, err := etcd.OpenWith(ctx, u, quiet("", 0), through(link)...)
			if err != nil {
				tb.Fatalf("connect: %v", err)
			}
			return s
		},
		Expire: func(tb drivertest.TB, lease driver.Lease) {
			tb.Helper()
			id, err := strconv.ParseInt(lease.ID(), 16, 64)
			if err != nil {
				tb.Fatalf("lease %q: %v", lease.ID(), err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if _, err := f.root.Revoke(ctx, clientv3.LeaseID(id)); err != nil {
				tb.Fatalf("revoke lease %s: %v", lease.ID(), err)
			}
		},
	})
}

// through makes a client dial through the link, if there is one.
func through(link *drivertest.Link) []grpc.DialOption {
	if link == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		return link.Dial(ctx, "tcp", addr)
	})}
}
