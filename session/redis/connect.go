package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

func init() {
	session.Register("redis", Open)
	session.Register("rediss", Open)
}

const (
	// openTimeout bounds the beginning of a store where the context does not.
	openTimeout = 10 * time.Second

	// pingInterval is how long a connection may be silent before it is asked for a sign
	// of life.
	pingInterval = time.Second

	// refreshInterval is how often sentinels are asked who is the primary: they also
	// tell, which can be missed.
	refreshInterval = 5 * time.Second

	// leastMajor is the version of Redis that is needed: for scripts that only a primary
	// runs, and for channels that stay on one server of a cluster.
	leastMajor = 7
)

// A Config says how a client is to be used.
type Config struct {
	Namespace string // what the names of all keys begin with, in braces; "" is DefaultNamespace
	Wait      int    // how many replicas have to acknowledge what must not be lost, 0 to 100
}

// A Dialer makes a connection to a server.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Open connects to the servers that a redis:// or rediss:// URL names; it is what
// session.Open calls. The package's documentation lists the URL's parts.
//
// It fails at once, and for good, on what is wrong with the URL, with the credentials, with
// TLS, or with the server's configuration. Servers of which nobody answers are temporary
// trouble; the error names those that were tried.
func Open(ctx context.Context, u *url.URL, opts *session.Options) (driver.Store, error) {
	return OpenWith(ctx, u, opts, (&net.Dialer{}).DialContext)
}

// OpenWith is Open with a dialer of one's own; TLS, if any, is spoken on what it returns.
func OpenWith(ctx context.Context, u *url.URL, opts *session.Options, dial Dialer) (driver.Store, error) {
	t, err := parseTarget(u)
	if err != nil {
		return nil, err
	}
	timeout := timeoutOf(opts)
	dialer := net.Dialer{Timeout: timeout, KeepAlive: pingInterval}
	conns := &connections{dial: dial, name: t.ServerName, open: map[*connection]struct{}{}}
	conns.ctx, conns.cancel = context.WithCancel(context.Background())
	client, err := conns.client(ctx, rueidis.ClientOption{
		InitAddress: t.Hosts, SelectDB: t.database,
		Username: t.User, Password: t.Password, TLSConfig: t.TLS,
		Sentinel: rueidis.SentinelOption{
			MasterSet: t.sentinel, Username: t.sentinelUser, Password: t.sentinelPassword, TLSConfig: t.TLS,
			Dialer: dialer, TopologyRefreshInterval: refreshInterval,
		},
		ClusterOption:    rueidis.ClusterOption{MaxMovedRedirections: 5},
		DialCtxFn:        conns.connect,
		Dialer:           dialer,
		ConnWriteTimeout: timeout,
		ClientName:       "fairlead",
		ClientSetInfo:    rueidis.DisableClientSetInfo,

		PipelineMultiplex: -1,   // one connection, on which requests queue
		AlwaysPipelining:  true, // or a request would not end with its context
		DisableCache:      true,
		DisableRetry:      true, // the session does that, who knows what may be repeated
	})
	if err != nil {
		conns.close()
		if reason := conns.diagnosed(ctx, t, err); reason != nil {
			err = reason
		}
		return nil, refused(ctx, t, err)
	}
	s := newStore(client, strings.Join(t.Hosts, ", "), Config{t.namespace, t.replicas}, opts)
	s.conns = conns
	return s.begin(ctx)
}

// NewSession opens a session through a client that the program already has, which it
// keeps owning, and closes after the session. It blocks until the session has begun, and
// ends otherwise with ctx, or after 20 s if that has no deadline, half of it for the
// connection and half for the lease; at once with an error that trying again cannot heal.
// A session of which nobody was told, as the reply was lost, expires.
//
// It keeps a connection of the client's blocking pool, and with Config.Wait up to 128 more:
// ClientOption.BlockingPoolSize has to have room for them, as it does by default.
//
// Where the server becomes a replica and lives on, and neither sentinels nor a cluster tell the
// client of another, it stays connected to that one, and so without a session. Where a name or a
// balancer leads to the primary, use [Open], or have ClientOption.ConnLifetime bound how long.
func NewSession(ctx context.Context, client rueidis.Client, cfg Config, opts *session.Options) (*session.Session, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = DefaultNamespace
	}
	err := checkNamespace(cfg.Namespace)
	if err == nil && (cfg.Wait < 0 || cfg.Wait > maxReplicas) {
		err = fmt.Errorf("Wait is %d, and must be from 0 to %d", cfg.Wait, maxReplicas)
	}
	if err != nil {
		return nil, fmt.Errorf("open session on Redis: %w", err)
	}
	where := strings.Join(slices.Sorted(maps.Keys(client.Nodes())), ", ")
	starting := ctx
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		starting, cancel = context.WithTimeout(ctx, openTimeout)
		defer cancel()
	}
	st, err := newStore(client, where, cfg, opts).begin(starting)
	if err != nil {
		return nil, fmt.Errorf("open session on Redis: %w", err)
	}
	return session.New(ctx, st, opts)
}

func timeoutOf(opts *session.Options) time.Duration {
	ttl := session.DefaultTTL
	if opts != nil && opts.TTL > 0 {
		ttl = opts.TTL
	}
	return min(max(ttl, 2*time.Second), 5*time.Second)
}

func newStore(client rueidis.Client, where string, cfg Config, opts *session.Options) *store {
	prefix := "{" + cfg.Namespace + "}:"
	s := &store{
		client: client, where: where, prefix: prefix, guard: prefix + "guard", id: randomID(),
		timeout: timeoutOf(opts), replicas: cfg.Wait, logger: slog.Default(),
		turns: make(chan struct{}, maxLines),
	}
	if opts != nil && opts.Logger != nil {
		s.logger = opts.Logger
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.inbox = newInbox(s)
	s.known.Store(&knowledge{longest: "0"})
	return s
}

// begin sees whether the server will do, and begins to listen.
func (s *store) begin(ctx context.Context) (driver.Store, error) {
	err := s.probe(ctx)
	if err == nil {
		up := s.inbox.next()
		s.background(func() { s.inbox.run(s.ctx) })
		if err = s.subscribed(ctx, up); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, s.Close())
}

// subscribed waits until the inbox is up. A refusal it does not wait out.
func (s *store) subscribed(ctx context.Context, up <-chan struct{}) (err error) {
	overdue := time.After(s.timeout)
	for err == nil {
		select {
		case <-up:
			return nil
		case <-s.inbox.failed:
			if _, permanent := refusal(s.inbox.trouble()); !permanent {
				continue
			}
		case <-ctx.Done():
			err = fmt.Errorf("no subscription with Redis at %s: %w", s.where, ctx.Err())
		case <-overdue:
			err = fmt.Errorf("no subscription with Redis at %s within %v", s.where, s.timeout)
		}
		if last := s.inbox.trouble(); last != nil {
			err = s.failed(ctx, "subscribe to a channel", last)
		}
	}
	return err
}

// probe asks the server what it is.
func (s *store) probe(ctx context.Context) error {
	const op = "ask what the server is"
	r, err := s.run(ctx, probeScript)
	if err != nil {
		return s.failed(ctx, op, err)
	}
	if r.status != "ok" || len(r.rest) != 2 {
		return unexpected(op, r)
	}
	version, policy := r.rest[0], r.rest[1]
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < leastMajor {
		return driver.Permanent(fmt.Errorf("the Redis server at %s is version %s, and %d.0 or later is needed", s.where, version, leastMajor))
	}
	if policy != "noeviction" {
		return driver.Permanent(fmt.Errorf("the Redis server at %s has maxmemory-policy %s, with which it may throw away a lock that is held: "+
			"set it to noeviction, or use a server of its own for locks", s.where, policy))
	}
	return nil
}

// connections are those of a client. The library closes them when all that is under
// way has been answered, or has taken too long; here they can be closed at once.
type connections struct {
	dial Dialer
	name string // to expect in the server's certificate, instead of the host

	ctx    context.Context // ends when no further ones are wanted
	cancel context.CancelFunc

	doubts  atomic.Uint64 // how many were closed, and how many requests were given up on them
	settled atomic.Uint64 // how many of those there were when a request was last answered slowly

	mu   sync.Mutex
	over bool   // ctx has ended
	last string // where the latest went
	open map[*connection]struct{}
}

// A connection is one of them.
type connection struct {
	net.Conn
	of *connections
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.of.doubts.Add(1)
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// client makes a client, and gives up when ctx ends, of which the library knows nothing.
func (cs *connections) client(ctx context.Context, opts rueidis.ClientOption) (rueidis.Client, error) {
	stop := context.AfterFunc(ctx, cs.close)
	client, err := rueidis.NewClient(opts)
	if !stop() && err == nil {
		client.Close()
		return nil, ctx.Err()
	}
	return client, err
}

// close closes all connections, and lets none be made any more.
func (cs *connections) close() {
	cs.cancel()
	cs.mu.Lock()
	cs.over = true
	cs.mu.Unlock()
	cs.hangUp()
}

// hangUp closes the connections that there are. The library makes new ones.
func (cs *connections) hangUp() {
	cs.mu.Lock()
	open := slices.Collect(maps.Keys(cs.open))
	cs.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

// connected is the key of contexts of requests that are only for connections that are up.
type connected struct{}

// connect makes a connection; the library calls it, for the first of those who need one.
func (cs *connections) connect(ctx context.Context, addr string, d *net.Dialer, cfg *tls.Config) (net.Conn, error) {
	if ctx.Value(connected{}) != nil {
		return nil, errConnecting
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	defer context.AfterFunc(cs.ctx, cancel)()
	plain, err := cs.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &connection{plain, cs}
	cs.mu.Lock()
	over := cs.over
	cs.open[c], cs.last = struct{}{}, addr
	cs.mu.Unlock()
	if over {
		_ = c.Close()
		return nil, rueidis.ErrClosing
	}
	if cfg == nil {
		return c, nil
	}
	secure := tls.Client(c, cs.forHost(cfg, addr))
	if err := cs.handshake(ctx, addr, secure); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("TLS with %s: %w", addr, err)
	}
	return secure, nil
}

// forHost is the configuration of TLS for one server.
func (cs *connections) forHost(cfg *tls.Config, addr string) *tls.Config {
	own := cfg.Clone()
	if own.ServerName = cs.name; cs.name == "" {
		own.ServerName, _, _ = net.SplitHostPort(addr)
	}
	return own
}

// diagnosed is what is wrong for good with the server that was asked last, or nil.
func (cs *connections) diagnosed(ctx context.Context, t target, err error) error {
	if _, permanent := refusal(err); permanent || isMismatch(err) {
		return nil // we know
	}
	cs.mu.Lock()
	addr := cs.last
	cs.mu.Unlock()
	if addr == "" {
		return nil
	}
	return cs.diagnose(ctx, addr, t.TLS)
}

// refused turns what kept us from connecting into an error of the driver.
func refused(ctx context.Context, t target, err error) error {
	where := strings.Join(t.Hosts, ", ")
	if t.sentinel != "" {
		where = fmt.Sprintf("%s (sentinels of %q)", where, t.sentinel)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("no answer from Redis at %s: %w", where, ctx.Err())
	}
	if advice, permanent := refusal(err); permanent {
		return driver.Permanent(fmt.Errorf("the Redis server at %s: %w%s", where, err, advice))
	}
	if isMismatch(err) {
		return driver.Permanent(fmt.Errorf("the Redis server at %s: %w", where, err))
	}
	if len(t.Hosts) > 1 && t.sentinel == "" && strings.Contains(err.Error(), "cluster support disabled") {
		return driver.Permanent(fmt.Errorf("the Redis server at %s is no cluster: several hosts are those of a cluster or, with ?sentinel=NAME, sentinels", where))
	}
	return fmt.Errorf("no connection to Redis at %s: %w", where, err)
}

// isMismatch tells of an error of TLS that trying again cannot heal.
func isMismatch(err error) bool {
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	op, remote := errors.AsType[*net.OpError](err) // an alert, which the server has sent
	return cert || record || remote && op.Op == "remote error" || errors.Is(err, errPlain) || errors.Is(err, errSecure)
}
