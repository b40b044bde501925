package zk

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/internal/storeurl"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

func init() {
	session.Register("zk", Open)
	session.Register("zks", Open)
}

// form is that of the URLs.
var form = storeurl.Form{Scheme: "zk", Port: "2181", Parameters: []string{"acl"}}

// A Config says where an ensemble is, and how to talk to it.
type Config struct {
	Servers []string // as host or host:port, at least one; the port is 2181 unless given
	Chroot  string   // the path under which everything is, made on demand: "/team"
	Auth    []Auth   // who the program is
	ACL     []zk.ACL // of the nodes that are made; nil: everybody may do everything
	Dial    Dialer   // nil: plain TCP
}

// An Auth is what addauth takes: a scheme such as "digest", and its data.
type Auth struct {
	Scheme string
	Data   []byte
}

// Open makes a store of a zk:// or zks:// URL; it is what session.Open calls. The
// package's documentation lists the URL's parts.
//
// It fails at once, and for good, on what is wrong with the URL, with TLS or with
// permissions. An ensemble of which nobody answers is temporary trouble; the error
// names the servers that were tried.
func Open(ctx context.Context, u *url.URL, opts *session.Options) (driver.Store, error) {
	return OpenWith(ctx, u, opts, (&net.Dialer{}).DialContext)
}

// OpenWith is Open with a dialer of one's own; TLS, if any, is spoken on what it
// returns.
func OpenWith(ctx context.Context, u *url.URL, opts *session.Options, dial Dialer) (driver.Store, error) {
	t, err := form.Parse(u)
	if err != nil {
		return nil, err
	}
	cfg := Config{Servers: t.Hosts, Chroot: t.Path, Dial: dial}
	if strings.Contains(t.User, ":") {
		return nil, driver.Permanent(fmt.Errorf("the user %q has a colon, which ZooKeeper takes for the end of the name", t.User))
	}
	if t.User != "" {
		cfg.Auth = []Auth{{"digest", []byte(t.User + ":" + t.Password)}}
	}
	if cfg.ACL, err = parseACL(t.Query.Get("acl"), cfg.Auth); err != nil {
		return nil, driver.Permanent(err)
	}
	if t.TLS != nil {
		cfg.Dial = overTLS(dial, t.TLS, t.ServerName)
	}
	return connect(ctx, cfg, opts)
}

// NewSession opens a session with what a URL cannot say. It blocks until the session has
// begun, and ends otherwise with ctx, or after 10 s if that has no deadline; at once with
// an error about cfg, TLS or permissions; or when no server answers, with an error that
// names them. A session of which nobody was told, as the reply was lost, expires. In ZooKeeper a session is a
// connection, and one that expires takes all its nodes along: so sessions of ours are
// never on a connection that the program uses itself.
func NewSession(ctx context.Context, cfg Config, opts *session.Options) (*session.Session, error) {
	st, err := connect(ctx, cfg, opts)
	if err != nil {
		return nil, fmt.Errorf("open session on ZooKeeper: %w", err)
	}
	return session.New(ctx, st, opts)
}

// connect makes a store, and sees whether a server answers.
func connect(ctx context.Context, cfg Config, opts *session.Options) (driver.Store, error) {
	s, err := newStore(cfg, opts)
	if err != nil {
		return nil, driver.Permanent(err)
	}
	if err := s.probe(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func newStore(cfg Config, opts *session.Options) (*store, error) {
	if len(cfg.Servers) == 0 {
		return nil, errors.New("no servers are given")
	}
	s := &store{
		root: strings.TrimRight(cfg.Chroot, "/"), auth: cfg.Auth, acl: cfg.ACL, dial: cfg.Dial,
		timeout: session.DefaultTTL, logger: slog.Default(),
		opening: make(chan struct{}, 1), conns: map[*conn]struct{}{}, warned: map[string]struct{}{}, owners: map[string]string{},
	}
	if err := checkRoot(s.root); err != nil {
		return nil, err
	}
	for _, addr := range cfg.Servers {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			addr = net.JoinHostPort(strings.Trim(addr, "[]"), form.Port)
		}
		s.servers = append(s.servers, addr)
	}
	if s.acl == nil {
		s.acl = zk.WorldACL(zk.PermAll)
	}
	if s.dial == nil {
		s.dial = (&net.Dialer{}).DialContext
	}
	if opts != nil && opts.TTL > 0 {
		s.timeout = opts.TTL
	}
	if opts != nil && opts.Logger != nil {
		s.logger = opts.Logger
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// parseACL reads the parameter acl.
func parseACL(acl string, auth []Auth) ([]zk.ACL, error) {
	switch {
	case acl == "":
		return nil, nil
	case acl != "creator":
		return nil, fmt.Errorf("acl=%s: the only value is creator, for nodes that their user alone can read and delete", acl)
	case len(auth) == 0:
		return nil, fmt.Errorf("acl=creator needs a user: the URL should look like zk://USER:PASSWORD@HOST:PORT")
	}
	return zk.AuthACL(zk.PermAll), nil
}

// checkRoot tells what is wrong with a path of the URL.
func checkRoot(root string) error {
	if root == "" {
		return nil
	}
	if root[0] != '/' {
		return fmt.Errorf("the path %q does not begin with a slash", root)
	}
	for _, part := range strings.Split(root[1:], "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, func(r rune) bool { return r != '%' && !allowed(r) }) {
			return fmt.Errorf("the path %q has the part %q, which ZooKeeper does not allow", root, part)
		}
	}
	return nil
}

// overTLS speaks TLS on the connections of a dialer.
func overTLS(dial Dialer, cfg *tls.Config, name string) Dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		own := cfg.Clone()
		if own.ServerName = name; name == "" {
			own.ServerName, _, _ = net.SplitHostPort(addr)
		}
		secure := tls.Client(c, own)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("TLS with %s: %w", addr, err)
		}
		return secure, nil
	}
}

// probe connects to the servers, one after the other, until one answers: the client
// library does not tell why it could not.
func (s *store) probe(ctx context.Context) error {
	var last error
	for _, addr := range s.servers {
		c, err := s.dial(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no answer from ZooKeeper at %s: %w", s.where(), ctx.Err())
		}
		if isMismatch(err) {
			return driver.Permanent(err)
		}
		last = errors.Join(last, err)
	}
	return fmt.Errorf("no connection to ZooKeeper at %s: %w", s.where(), last)
}

// isMismatch tells of an error of TLS that trying again cannot heal.
func isMismatch(err error) bool {
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	op, remote := errors.AsType[*net.OpError](err) // an alert, which the server has sent
	return cert || record || remote && op.Op == "remote error"
}
