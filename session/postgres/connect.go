package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

func init() {
	session.Register("postgres", Open)
	session.Register("postgresql", Open)
}

// openTimeout bounds the beginning of a store where the context does not.
const openTimeout = 10 * time.Second

// inboxPrefix begins the names of the channels that stores listen to.
const inboxPrefix = "fairlead_"

// A Config says how to use a pool that the program already has.
type Config struct {
	// Pool stays the caller's, who closes it after the session. One of its
	// connections is taken out of it to listen, for all sessions through it that are
	// alike, and replaced when it is lost. With MaxConns of 1, requests wait for one
	// another, and so does the renewal of the lease. Its client_encoding is UTF8.
	Pool *pgxpool.Pool

	// Namespace is the schema, of a to z, 0 to 9 and _, at most 63. "": fairlead.
	Namespace string

	// Poll, when positive, is how often a waiter looks, instead of being told. It is
	// for a pooler that shares connections between transactions.
	Poll time.Duration

	// NoMigrate says not to make or update the schema, but to fail if it is not there
	// or too old.
	NoMigrate bool
}

// Open connects to the database that a postgres:// or postgresql:// URL names; it is
// what session.Open calls. The package's documentation lists the URL's parts.
//
// It fails at once, and for good, on what is wrong with the URL, with the credentials,
// with TLS, with the schema or with a pooler. Where no host answers, or all are read
// only, that is temporary trouble; the error names the hosts that were tried.
//
// Sessions of a process that are opened alike share their connections: with the same URL,
// and the same in the files that it names, the same logger, and the same TTL, or one of 5 s or
// more.
func Open(ctx context.Context, u *url.URL, opts *session.Options) (driver.Store, error) {
	t, err := parseTarget(u)
	if err != nil {
		return nil, err
	}
	timeout, logger := settings(opts)
	like := likeness{url: u.String(), secrets: t.secrets(), timeout: timeout, handler: logger.Handler()}
	return share(ctx, like, t.migrate, func() (*store, error) { return t.open(ctx, opts, nil) })
}

// OpenWith is Open with a dialer of one's own; TLS, if any, is spoken on what it
// returns. nil: plain TCP. Such sessions share no connection.
func OpenWith(ctx context.Context, u *url.URL, opts *session.Options, dial pgconn.DialFunc) (driver.Store, error) {
	t, err := parseTarget(u)
	if err != nil {
		return nil, err
	}
	s, err := t.open(ctx, opts, dial)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (t target) open(ctx context.Context, opts *session.Options, dial pgconn.DialFunc) (*store, error) {
	d := newDialer(dial)
	cfg, err := t.poolConfig(d.DialContext)
	if err != nil {
		return nil, err
	}
	if t.poll > 0 { // a prepared statement may be on another connection of the pooler's
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return nil, driver.Permanent(err)
	}
	s := newStore(Config{Pool: pool, Namespace: t.namespace, Poll: t.poll}, opts)
	s.own, s.where, s.lenient = true, t.where(), t.sslmode == "prefer"
	s.release = func() { shut(pool, d) }
	if err := s.begin(ctx, t.migrate); err != nil {
		return nil, err
	}
	return s, nil
}

// shut closes a pool. What does not end by itself soon, as its peer is silent, is
// severed.
func shut(pool *pgxpool.Pool, d *dialer) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		pool.Close()
	}()
	soon := time.NewTimer(300 * time.Millisecond)
	defer soon.Stop()
	select {
	case <-closed:
	case <-soon.C:
	}
	d.sever()
	<-closed
}

// NewSession opens a session through a pool that the program already has, in the
// namespace, a schema, which is made if it is not there. The caller keeps owning the
// pool, and closes it after the session. Sessions through one pool that are opened alike
// share the connection that listens. [NewSessionWith] has further options.
//
// The pool should reach primaries alone, as with target_session_attrs=read-write. Since
// version 14 of PostgreSQL a request that gets a connection to a standby fails, and the
// connection is closed; before, a standby that lags may be believed.
//
// It blocks until the session has begun, and ends otherwise with ctx, or after 20 s if
// that has no deadline, half of it for the connection and half for the lease; at once
// with an error that trying again cannot heal. A session of which nobody was told, as the
// reply was lost, is ended again, or expires.
func NewSession(ctx context.Context, pool *pgxpool.Pool, namespace string, opts *session.Options) (*session.Session, error) {
	return NewSessionWith(ctx, Config{Pool: pool, Namespace: namespace}, opts)
}

// NewSessionWith is NewSession with options of this backend.
func NewSessionWith(ctx context.Context, cfg Config, opts *session.Options) (*session.Session, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = DefaultNamespace
	}
	if err := checkNamespace(cfg.Namespace); err != nil {
		return nil, driver.Permanent(fmt.Errorf("open session on PostgreSQL: %w", err))
	}
	starting := ctx
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		starting, cancel = context.WithTimeout(ctx, openTimeout)
		defer cancel()
	}
	timeout, logger := settings(opts)
	like := likeness{pool: cfg.Pool, ns: cfg.Namespace, poll: cfg.Poll, timeout: timeout, handler: logger.Handler()}
	st, err := share(starting, like, !cfg.NoMigrate, func() (*store, error) { return cfg.open(starting, opts) })
	if err != nil {
		return nil, fmt.Errorf("open session on PostgreSQL: %w", err)
	}
	return session.New(ctx, st, opts)
}

func (cfg Config) open(ctx context.Context, opts *session.Options) (*store, error) {
	s := newStore(cfg, opts)
	s.lenient = true
	if cfg.Poll > 0 {
		switch cfg.Pool.Config().ConnConfig.DefaultQueryExecMode {
		case pgx.QueryExecModeCacheStatement, pgx.QueryExecModeDescribeExec:
			s.mode = []any{pgx.QueryExecModeExec}
		}
	}
	if err := s.begin(ctx, !cfg.NoMigrate); err != nil {
		return nil, err
	}
	return s, nil
}

// settings are what a store takes from a session's options: how long a request may take,
// and where to log.
func settings(opts *session.Options) (timeout time.Duration, logger *slog.Logger) {
	ttl, logger := session.DefaultTTL, slog.Default()
	if opts != nil && opts.TTL > 0 {
		ttl = opts.TTL
	}
	if opts != nil && opts.Logger != nil {
		logger = opts.Logger
	}
	return min(max(ttl, 2*time.Second), 5*time.Second), logger
}

// newStore makes a store on a pool.
func newStore(cfg Config, opts *session.Options) *store {
	timeout, logger := settings(opts)
	s := &store{
		pool: cfg.Pool, ns: cfg.Namespace, where: hostsOf(cfg.Pool), sql: statementsFor(cfg.Namespace),
		timeout: timeout, poll: max(cfg.Poll, 0), logger: logger,
		release:  func() {},
		prepares: cfg.Poll <= 0 && cfg.Pool.Config().ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement,
		lanes:    make(chan struct{}, max(cfg.Pool.Config().MaxConns-1, 1)),
		leases:   map[int64]*lease{}, telling: map[news]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.joins = newGathering(s, s.joining, s.sql.joinMany, (*row).fields)
	s.leaves = newGathering(s, s.leaving, s.sql.leaveMany, func(r *row) []any { return []any{&r.what} })
	s.hub = newHub(s, inboxPrefix+strconv.FormatUint(rand.Uint64(), 16))
	return s
}

// hostsOf names the hosts of a pool, for errors.
func hostsOf(pool *pgxpool.Pool) string {
	cc := pool.Config().ConnConfig
	where := net.JoinHostPort(cc.Host, strconv.Itoa(int(cc.Port)))
	last := where
	for _, f := range cc.Fallbacks {
		if h := net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port))); h != last {
			where, last = where+", "+h, h
		}
	}
	return where
}

// begin sees whether the store can be used, and starts to listen. It closes a store
// that cannot.
func (s *store) begin(ctx context.Context, mayMigrate bool) error {
	err := s.start(ctx, mayMigrate)
	if err != nil {
		err = errors.Join(s.failed(ctx, "connect", err), s.Close())
	}
	return err
}

func (s *store) start(ctx context.Context, mayMigrate bool) error {
	if err := s.prepare(ctx, mayMigrate); err != nil {
		return err
	}
	c, err := s.hub.connect(ctx)
	if err == nil && s.poll == 0 {
		if err = s.hub.probe(ctx, c); err != nil {
			err = errors.Join(err, hangUp(c))
		}
	}
	if err != nil {
		return err
	}
	s.background(func() { s.hub.run(c) })
	return nil
}
