package client

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/etcd"
	"github.com/fairlead-go/fairlead/session/postgres"
	"github.com/fairlead-go/fairlead/session/redis"
	"github.com/fairlead-go/fairlead/session/zk"
)

// retryAfter is how long to wait before a store is dialled again.
const retryAfter = 50 * time.Millisecond

// An Access says how to reach a store.
type Access struct {
	Backend string
	URL     string
	Routes  map[string]string // which address to dial in place of another
}

// Open opens a session at the store, through what wrap makes of its driver; nil: the
// driver itself. It tries until ctx ends.
func Open(ctx context.Context, a Access, opts *session.Options, wrap func(driver.Store) driver.Store) (*session.Session, error) {
	for {
		store, err := a.connect(ctx, opts)
		if err == nil {
			if wrap != nil {
				store = wrap(store)
			}
			return session.New(ctx, store, opts)
		}
		if sleep(ctx, retryAfter); ctx.Err() != nil || driver.IsPermanent(err) {
			return nil, fmt.Errorf("open session at %s: %w", a.URL, err)
		}
	}
}

func (a Access) connect(ctx context.Context, opts *session.Options) (driver.Store, error) {
	raw := a.URL
	if a.Backend != "redis" { // whose sentinels tell addresses, which are replaced when they are dialled
		raw = a.routed()
	}
	u, err := parse(raw)
	if err != nil {
		return nil, err
	}
	switch a.Backend {
	case "etcd":
		return etcd.Open(ctx, u, opts)
	case "postgres":
		return postgres.Open(ctx, u, opts)
	case "redis":
		return redis.OpenWith(ctx, u, opts, a.dial)
	case "zk":
		return zk.Open(ctx, u, opts)
	}
	return nil, driver.Permanent(fmt.Errorf("there is no backend %q", a.Backend))
}

// routed is the URL with the addresses to dial.
func (a Access) routed() string {
	raw := a.URL
	for from, to := range a.Routes {
		raw = strings.Replace(raw, from, to, 1)
	}
	return raw
}

func (a Access) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if to, ok := a.Routes[addr]; ok {
		addr = to
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// parse is url.Parse for several hosts, of which all but the last would have a port
// that it does not know.
func parse(raw string) (*url.URL, error) {
	scheme, rest, _ := strings.Cut(raw, "://")
	end := len(rest)
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		end = i
	}
	begin := strings.LastIndex(rest[:end], "@") + 1 // of the hosts, after the user
	u, err := url.Parse(scheme + "://" + rest[:begin] + "hosts" + rest[end:])
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", raw, err)
	}
	u.Host = rest[begin:end]
	return u, nil
}
