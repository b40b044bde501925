package postgres_test

import (
	"context"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/postgres"
)

// The whole suite, over TLS, with certificates that both sides verify.
func TestConformanceOverTLS(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, drivertest.Backend{
		MinTTL:    2 * time.Second,
		Networked: true,
		Connect:   connect,
		Expire: func(tb drivertest.TB, l driver.Lease) {
			tb.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			id, err := strconv.ParseInt(l.ID(), 16, 64)
			if err == nil {
				err = server.Exec(ctx, "postgres", "DELETE FROM fairlead.session WHERE id = $1", id)
			}
			if err != nil {
				tb.Errorf("end the session: %v", err)
			}
		},
	})
}

// connect makes a store of the server's, through the link unless that is nil.
func connect(tb drivertest.TB, link *drivertest.Link) driver.Store {
	tb.Helper()
	u, err := url.Parse(at(server.Addr()))
	if err != nil {
		tb.Fatalf("%v", err)
	}
	dial := (&net.Dialer{}).DialContext
	if link != nil {
		dial = link.Dial
	}
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	st, err := postgres.OpenWith(ctx, u, &session.Options{Logger: slog.New(slog.DiscardHandler)}, dial)
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	return st
}
