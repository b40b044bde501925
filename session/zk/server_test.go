package zk_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/zk"
)

// patience is how long tests wait for what has to happen.
const patience = 20 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// server is what most tests run on.
var server *zkserver.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	// Fuzz targets need no server, whose goroutines would pass for coverage.
	if flag.Parse(); flag.Lookup("test.fuzz").Value.String() != "" {
		return m.Run()
	}
	var err error
	server, err = zkserver.Start(zkserver.Config{NoSync: true, Commands: []string{"wchc"}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	server.Close()
	if err := leaks(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// leaks finds goroutines that stay. The client library's last ones take a second to
// find that nobody answers any more.
func leaks() (err error) {
	for range 10 {
		if err = goleak.Find(); err == nil {
			return nil
		}
	}
	return err
}

// connect opens a store. link may be nil.
func connect(tb drivertest.TB, rawURL string, opts *session.Options, link *drivertest.Link) driver.Store {
	tb.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	if opts == nil {
		opts = &session.Options{}
	}
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	dial := (&net.Dialer{}).DialContext
	if link != nil {
		dial = link.Dial
	}
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	st, err := zk.OpenWith(ctx, u, opts, dial)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return st
}
