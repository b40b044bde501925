package zk_test

import (
	"context"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/zk"
)

// The whole suite on an ensemble: each session is connected to one of three
// servers, which know what the others do only after a while, and comes back to
// another one when its connection was lost.
func TestConformance(t *testing.T) {
	t.Parallel()
	s := at(t, calm)
	u, err := url.Parse(s.url(s.ConnectString()))
	if err != nil {
		t.Fatal(err)
	}
	drivertest.Run(t, drivertest.Backend{
		MinTTL:    shortTTL,
		Networked: true,
		Connect: func(tb drivertest.TB, link *drivertest.Link) driver.Store {
			tb.Helper()
			dial := (&net.Dialer{}).DialContext
			if link != nil {
				dial = link.Dial
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			store, err := zk.OpenWith(ctx, u, options("", 0), dial)
			if err != nil {
				tb.Fatalf("connect: %v", err)
			}
			return store
		},
		Expire: func(tb drivertest.TB, lease driver.Lease) {
			tb.Helper()
			// It may have ended by itself.
			if err := s.end(t, lease.ID()); err != nil && !strings.Contains(err.Error(), "no such session") {
				tb.Errorf("%v", err)
			}
		},
	})
}
