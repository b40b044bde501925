package embed

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/etcd"
)

func init() { session.Register("embed", Open) }

// Open returns a connection to the server in the directory that an embed:// URL
// names, which it starts if this process has not yet done so through Open. It
// is what session.Open calls. The last connection to be closed stops the server.
func Open(ctx context.Context, u *url.URL, opts *session.Options) (driver.Store, error) {
	cfg, err := parseURL(u)
	if err != nil {
		return nil, driver.Permanent(err)
	}
	cfg.Logger = opts.Logger
	srv, err := acquire(ctx, cfg)
	if err != nil {
		return nil, err
	}
	st, err := etcd.Open(ctx, &url.URL{Scheme: "etcd", Host: srv.Addr()}, opts)
	if err != nil {
		srv.release()
		return nil, err
	}
	return &store{etcdStore: st.(etcdStore), release: sync.OnceFunc(srv.release)}, nil
}

func parseURL(u *url.URL) (Config, error) {
	var cfg Config
	if u.Host != "" || u.User != nil {
		return cfg, fmt.Errorf("an embed URL has no host: write embed:///DIR with three slashes, not embed://%s", u.Host)
	}
	dir := u.Path
	if runtime.GOOS == "windows" { // embed:///C:/data
		dir = strings.TrimPrefix(dir, "/")
	}
	if strings.Trim(dir, "/") == "" {
		return cfg, errors.New("the URL names no directory: it should look like embed:///var/lib/fairlead")
	}
	cfg.Dir = filepath.Clean(filepath.FromSlash(dir))
	if filepath.Dir(cfg.Dir) == cfg.Dir {
		return cfg, fmt.Errorf("%s is the root of the file system: the URL should look like embed:///var/lib/fairlead", cfg.Dir)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return cfg, fmt.Errorf("the part after the ? is malformed: %w", err)
	}
	if u.Fragment != "" {
		return cfg, errors.New("the part after the # has no meaning: a # in a path must be written %23")
	}
	for name, values := range query {
		if len(values) > 1 || values[0] == "" {
			return cfg, fmt.Errorf("parameter %q is empty, or given more than once", name)
		}
		switch name {
		case "ttl": // session.Open's
		case "listen":
			cfg.ListenClient = values[0]
		default:
			return cfg, fmt.Errorf("unknown parameter %q (known: listen, ttl)", name)
		}
	}
	return cfg, nil
}

// An etcdStore is what etcd's store is. Who wraps it must hide nothing of that.
type etcdStore interface {
	driver.Store
	driver.Remainer
	driver.Doctor
}

// A store is a connection that keeps the server running.
type store struct {
	etcdStore
	release func()
}

// Close implements driver.Store.
func (s *store) Close() error {
	defer s.release()
	return s.etcdStore.Close()
}

// A shared server is used by all sessions of this process on its directory.
type shared struct {
	*Server
	cfg   Config
	users int // guarded by sharedMu
}

// sharedMu is held while a server starts or stops, so that a directory never has
// two.
var (
	sharedMu sync.Mutex
	servers  = map[string]*shared{} // by directory
)

func acquire(ctx context.Context, cfg Config) (*shared, error) {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if srv, ok := servers[cfg.Dir]; ok {
		if cfg.ListenClient != "" && cfg.ListenClient != srv.cfg.ListenClient {
			return nil, driver.Permanent(fmt.Errorf("the server in %s runs already, in this process, and listens on %s instead of %s",
				cfg.Dir, srv.Addr(), cfg.ListenClient))
		}
		srv.users++
		return srv, nil
	}
	s, err := Start(ctx, cfg)
	if ctx.Err() == nil {
		err = driver.Permanent(err) // a directory or port in use is not to be waited for
	}
	if err != nil {
		return nil, err
	}
	srv := &shared{Server: s, cfg: cfg, users: 1}
	servers[cfg.Dir] = srv
	return srv, nil
}

func (s *shared) release() {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if s.users--; s.users == 0 {
		delete(servers, s.cfg.Dir)
		s.Close()
	}
}
