package session

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/internal/storeurl"
	"github.com/fairlead-go/fairlead/session/driver"
)

// openTimeout bounds Open when its context has no deadline.
const openTimeout = 10 * time.Second

// An Opener connects to the store that u names. opts is never nil and has its
// defaults filled in. An error marked with driver.Permanent ends Open at once;
// after any other, Open tries again until its context ends.
type Opener func(ctx context.Context, u *url.URL, opts *Options) (driver.Store, error)

var (
	openersMu sync.RWMutex
	openers   = map[string]Opener{}
)

// Register makes a backend known under a URL scheme, in the manner of
// database/sql. Backends call it when they are imported. It panics when the
// scheme is taken.
func Register(scheme string, open Opener) {
	openersMu.Lock()
	defer openersMu.Unlock()
	if _, taken := openers[scheme]; taken {
		panic("session: scheme registered twice: " + scheme)
	}
	openers[scheme] = open
}

// Open connects to the store that rawURL names and obtains a lease there. The
// scheme's backend must have been imported, as in
//
//	import _ "github.com/fairlead-go/fairlead/session/etcd"
//
// Every URL takes ?ttl=, a duration such as 30s, which Options.TTL overrides.
//
// ctx bounds Open alone, not the life of the session; without a deadline Open
// gives up after 10 s. A store that cannot be reached is tried until then, as
// it may be starting. Errors in the URL, of authentication and of TLS are
// returned at once. A password in the URL appears in no error; / ? # and % in it have to
// be percent-encoded, and so has an @ behind the hosts.
func Open(ctx context.Context, rawURL string, opts *Options) (*Session, error) {
	u, err := storeurl.Split(rawURL)
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	ctx, cancel := withOpenTimeout(ctx)
	defer cancel()
	store, o, err := connect(ctx, u, opts)
	var s *Session
	if err == nil {
		s, err = New(ctx, store, o)
	}
	if err != nil {
		return nil, fmt.Errorf("open session at %s: %w", storeurl.Place(u), err)
	}
	return s, nil
}

// Connect is the first part of Open: it connects to the store, of which one may want to
// know more before a session begins, or when none can. The second part is New, with the
// options returned, which have the TTL of the URL; otherwise the caller closes the store.
func Connect(ctx context.Context, rawURL string, opts *Options) (driver.Store, *Options, error) {
	u, err := storeurl.Split(rawURL)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the store: %w", err)
	}
	store, o, err := connect(ctx, u, opts)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to %s: %w", storeurl.Place(u), err)
	}
	return store, o, nil
}

func connect(ctx context.Context, u *url.URL, opts *Options) (driver.Store, *Options, error) {
	openersMu.RLock()
	open, ok := openers[u.Scheme]
	known := slices.Sorted(maps.Keys(openers))
	openersMu.RUnlock()
	if !ok {
		return nil, nil, fmt.Errorf("no backend for the scheme %q (known: %s): import the backend's package, such as "+
			"_ %q", u.Scheme, strings.Join(known, ", "), "github.com/fairlead-go/fairlead/session/etcd")
	}
	var withTTL Options
	if opts != nil {
		withTTL = *opts
	}
	if ttl := u.Query().Get("ttl"); ttl != "" {
		d, err := time.ParseDuration(ttl)
		if err != nil || d <= 0 {
			return nil, nil, fmt.Errorf("ttl=%s is not a positive duration such as 15s", ttl)
		}
		if withTTL.TTL == 0 {
			withTTL.TTL = d
		}
	}
	o, err := withTTL.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := withOpenTimeout(ctx)
	defer cancel()
	store, err := retryUntil(ctx, func() (driver.Store, error) { return open(ctx, u, &o) })
	if err != nil {
		return nil, nil, err
	}
	return store, &o, nil
}

func withOpenTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, openTimeout)
}

// retryUntil calls f until it succeeds, fails for good, or ctx ends.
func retryUntil[T any](ctx context.Context, f func() (T, error)) (T, error) {
	var pause pause
	for {
		v, err := f()
		if err == nil || driver.IsPermanent(err) {
			return v, err
		}
		if pause.wait(ctx) != nil {
			return v, because(ctx, err)
		}
	}
}
