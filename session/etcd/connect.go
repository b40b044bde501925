package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

func init() {
	session.Register("etcd", Open)
	session.Register("etcds", Open)
}

const (
	// A connection that falls silent is noticed by pings.
	pingInterval = 10 * time.Second
	pingTimeout  = 5 * time.Second

	// maxAttempts bounds what the client library does by itself, which is to
	// repeat reads and to renew its token. The session spaces out its retries.
	maxAttempts = 3
)

// Open connects to the cluster that an etcd:// or etcds:// URL names; it is what
// session.Open calls. The package's documentation lists the URL's parts.
//
// It fails at once, and for good, on what is wrong with the URL, with the
// credentials or with TLS. A cluster of which nobody answers is temporary
// trouble; the error names the endpoints that were tried.
func Open(ctx context.Context, u *url.URL, opts *session.Options) (driver.Store, error) {
	return OpenWith(ctx, u, opts)
}

// OpenWith is Open with further options for the connection, a dialer of one's
// own say.
func OpenWith(ctx context.Context, u *url.URL, opts *session.Options, dial ...grpc.DialOption) (driver.Store, error) {
	t, err := parseTarget(u)
	if err != nil {
		return nil, err
	}
	if t.ServerName != "" {
		dial = append(dial, grpc.WithTransportCredentials(newExpecting(t.TLS, t.ServerName)))
	}
	// The client lives as long as this context, but making it is bounded by ctx.
	life, cancel := context.WithCancel(context.Background())
	unbind := context.AfterFunc(ctx, cancel)
	client, err := connect(ctx, clientv3.Config{
		Context:              life,
		Endpoints:            t.endpoints,
		TLS:                  t.TLS,
		Username:             t.User,
		Password:             t.Password,
		DialKeepAliveTime:    pingInterval,
		DialKeepAliveTimeout: pingTimeout,
		MaxUnaryRetries:      maxAttempts,
		DialOptions:          dial,
		Logger:               zap.NewNop(),
	})
	if err == nil && !unbind() {
		err = errors.Join(ctx.Err(), client.Close())
	}
	if err != nil {
		cancel()
		return nil, err
	}
	s := newStore(client, t.Path, opts)
	s.release = func() error {
		defer cancel()
		return client.Close()
	}
	return s, nil
}

// NewSession opens a session through a client that the program already has. The
// names of primitives live under prefix, as with the path of a URL. The caller
// keeps owning the client, and closes it after the session. A client whose KV
// was replaced, by one of clientv3/namespace say, is refused: not all of what a
// session does would go through it.
func NewSession(ctx context.Context, client *clientv3.Client, prefix string, opts *session.Options) (*session.Session, error) {
	if plain := clientv3.NewKVFromKVClient(nil, nil); reflect.TypeOf(client.KV) != reflect.TypeOf(plain) {
		return nil, fmt.Errorf("open session on etcd: the client's KV was replaced by a %T: pass the client as clientv3.New made it, and a prefix", client.KV)
	}
	return session.New(ctx, newStore(client, prefix, opts), opts)
}

// connect makes a client and sees whether it gets through to a server.
func connect(ctx context.Context, cfg clientv3.Config) (*clientv3.Client, error) {
	if cfg.Username != "" {
		// A client with a user blocks in New until a server is there, and tells
		// nothing of what keeps it from getting there. One without does.
		anonymous := cfg
		anonymous.Username, anonymous.Password = "", ""
		c, err := connect(ctx, anonymous)
		if err != nil {
			return nil, err
		}
		if err := c.Close(); err != nil {
			return nil, err
		}
	}
	c, err := clientv3.New(cfg)
	if err == nil && cfg.Username == "" {
		if err = probe(ctx, c); err != nil {
			_ = c.Close() // of a connection that has never been one
		}
	}
	if err != nil {
		return nil, refused(ctx, cfg, err)
	}
	return c, nil
}

// probe asks for any answer from a server, its refusal included. The client's
// own methods wait for a connection until their context ends, and do not tell
// what they waited for; this fails as soon as no endpoint can be connected to.
func probe(ctx context.Context, c *clientv3.Client) error {
	_, err := pb.NewMaintenanceClient(c.ActiveConnection()).Status(ctx, &pb.StatusRequest{}, grpc.WaitForReady(false))
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return err
	}
	return nil
}

// refused turns what kept us from connecting into an error of the driver.
func refused(ctx context.Context, cfg clientv3.Config, err error) error {
	where := strings.Join(cfg.Endpoints, ", ")
	switch {
	case isMismatch(err):
		return driver.Permanent(fmt.Errorf("no agreement on TLS with etcd at %s: %s", where, status.Convert(err).Message()))
	case isPermanent(err):
		return driver.Permanent(fmt.Errorf("etcd at %s: %w", where, err))
	case ctx.Err() != nil:
		return fmt.Errorf("no answer from etcd at %s: %w", where, ctx.Err())
	case isHangup(err) && speaksOther(ctx, cfg):
		if cfg.TLS == nil {
			return driver.Permanent(fmt.Errorf("etcd at %s speaks TLS: use etcds:// instead of etcd://", where))
		}
		return driver.Permanent(fmt.Errorf("etcd at %s does not speak TLS: use etcd:// instead of etcds://", where))
	}
	return fmt.Errorf("no connection to etcd at %s: %w", where, err)
}

// speaksOther tells whether the servers, which hang up on us without a word, do
// so because we speak TLS to them and they do not, or the reverse: whether they
// answer when they are asked the other way, without credentials.
func speaksOther(ctx context.Context, cfg clientv3.Config) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	other := clientv3.Config{Logger: cfg.Logger}
	from, to := "https://", "http://"
	if cfg.TLS == nil {
		from, to = to, from
		// Nothing is said on this connection that its other end must not know.
		other.TLS = &tls.Config{InsecureSkipVerify: true}
	}
	for _, e := range cfg.Endpoints {
		other.Endpoints = append(other.Endpoints, to+strings.TrimPrefix(e, from))
	}
	c, err := clientv3.New(other)
	if err != nil {
		return false
	}
	defer c.Close()
	err = probe(ctx, c)
	return err == nil || other.TLS != nil && isMismatch(err) // it may want a certificate
}

// newStore makes a store on a client, which stays the caller's.
func newStore(client *clientv3.Client, prefix string, opts *session.Options) *store {
	ttl, logger := session.DefaultTTL, slog.Default()
	if opts != nil && opts.TTL > 0 {
		ttl = opts.TTL
	}
	if opts != nil && opts.Logger != nil {
		logger = opts.Logger
	}
	timeout := min(max(ttl, 2*time.Second), 5*time.Second)
	s := &store{
		client:     client,
		kv:         clientv3.RetryKVClient(client),
		keys:       newKeyspace(prefix),
		timeout:    timeout,
		overdue:    newWatchdog(timeout),
		patience:   newWatchdog(patience),
		logger:     logger,
		release:    func() error { return nil },
		identities: newIdentities(),
		lengths:    newLengths(),
		keepalives: &keepalives{client: client},
		streams:    map[*stream]int{},
		warned:     map[string]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.refreshStream(s.stream)
	s.work.Go(func() { s.attend(max(ttl, 2*time.Second) / 3) })
	return s
}
