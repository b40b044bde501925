package redis_test

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

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/redis"
)

// patience is how long tests wait for what has to happen.
const patience = 20 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// user has the least that works, as the package's documentation has it.
const (
	user     = "fairlead"
	password = "p@ss/word"
)

// server is what most tests run on.
var server *redisserver.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	// Fuzz targets need no server, whose goroutines would pass for coverage.
	if flag.Parse(); flag.Lookup("test.fuzz").Value.String() != "" {
		return m.Run()
	}
	var err error
	server, err = redisserver.Start(redisserver.Config{Users: []string{rules(redis.DefaultNamespace)}})
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

// leaks finds goroutines that stay. Some of the client library's sleep for some seconds,
// whatever becomes of the client, before they do the last that they have to.
func leaks() (err error) {
	for range 10 {
		if err = goleak.Find(); err == nil {
			return nil
		}
	}
	return err
}

// rules are those of the documentation, for a namespace.
func rules(namespace string) string {
	return fmt.Sprintf("%s on >%s %s", user, password, redis.Rules(namespace))
}

func serverURL(s *redisserver.Server, parameters string) string {
	return fmt.Sprintf("redis://%s@%s%s", url.UserPassword(user, password), s.Addr(), parameters)
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
	st, err := redis.OpenWith(ctx, u, opts, dial)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return st
}

// expire ends a session behind its owner's back, as an operator may: without a word.
func expire(tb drivertest.TB, s *redisserver.Server, namespace string, l driver.Lease) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := s.Do(ctx, "DEL", "{"+namespace+"}:s:"+l.ID()); err != nil {
		tb.Errorf("end the session: %v", err)
	}
}
