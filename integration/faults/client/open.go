package client

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/fairlead-go/fairlead/session"
	_ "github.com/fairlead-go/fairlead/session/etcd" // the backends that URLs may name
	_ "github.com/fairlead-go/fairlead/session/postgres"
	"github.com/fairlead-go/fairlead/session/redis"
	_ "github.com/fairlead-go/fairlead/session/zk"
)

// Open opens a session at the servers that the URL names, but dials routes[addr]
// for each of their addresses, where there is one.
func Open(ctx context.Context, backend, rawURL string, routes map[string]string, opts *session.Options) (*session.Session, error) {
	if backend != "redis" {
		for from, to := range routes {
			rawURL = strings.Replace(rawURL, from, to, 1)
		}
		return session.Open(ctx, rawURL, opts)
	}
	// Sentinels tell addresses, which have to be replaced when they are dialled.
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if to, ok := routes[addr]; ok {
			addr = to
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	u, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	store, err := redis.OpenWith(ctx, u, opts, dial)
	if err != nil {
		return nil, err
	}
	return session.New(ctx, store, opts)
}

// parse is url.Parse for several hosts, of which all but the last would have a port
// that it does not know.
func parse(raw string) (*url.URL, error) {
	scheme, rest, _ := strings.Cut(raw, "://")
	hosts, query, _ := strings.Cut(rest, "?")
	u, err := url.Parse(scheme + "://host?" + query)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", raw, err)
	}
	u.Host = hosts
	return u, nil
}
