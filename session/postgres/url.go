package postgres

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fairlead-go/fairlead/internal/storeurl"
	"github.com/fairlead-go/fairlead/session/driver"
)

const (
	// DefaultNamespace is the schema where a URL does not name one.
	DefaultNamespace = "fairlead"

	minPoll = time.Millisecond

	// maxConns is how many connections a store of its own has at most, beside the
	// one that listens. Each is in use for the time of a request alone.
	maxConns = 16

	// connectTimeout bounds the making of a connection to one host, which takes six
	// answers with TLS and a password: time for each to be a second late, and less than
	// openTimeout, so that a silent host leaves some for the next.
	connectTimeout = 8 * time.Second
)

// form is that of the URLs. TLS is asked for by a parameter here, so the scheme
// with an s is ours alone: it makes the form read the files.
var form = storeurl.Form{Scheme: "postgres", Port: "5432", Parameters: []string{"namespace", "poll", "migrate", "sslmode"}}

// needTLS are the parameters that mean TLS.
var needTLS = []string{"cacert", "cert", "key", "server-name"}

// A target is what a URL says.
type target struct {
	storeurl.Target
	database  string
	namespace string
	poll      time.Duration // 0: listen
	migrate   bool
	sslmode   string
}

func parseTarget(u *url.URL) (target, error) {
	t, err := readTarget(u)
	return t, driver.Permanent(err)
}

func readTarget(u *url.URL) (t target, err error) {
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return t, fmt.Errorf("the scheme %q is neither postgres nor postgresql", u.Scheme)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return t, fmt.Errorf("the part after the ? is malformed: %w", err)
	}
	if t.sslmode, err = readSSLMode(query); err != nil {
		return t, err
	}
	plain := *u
	plain.User, plain.Scheme = nil, "postgres" // the user is read below: here, one need not have a password
	if t.sslmode != "disable" {
		plain.Scheme = "postgress"
	}
	if query.Has("password-file") {
		query.Del("password-file")
		plain.RawQuery = query.Encode()
	}
	if t.Target, err = form.Parse(&plain); err != nil {
		return t, err
	}
	if t.User, t.Password, err = readUser(u); err != nil {
		return t, err
	}
	if t.database, err = readDatabase(u.Path, t.User); err != nil {
		return t, err
	}
	t.namespace = cmp.Or(t.Query.Get("namespace"), DefaultNamespace)
	if err := checkNamespace(t.namespace); err != nil {
		return t, err
	}
	switch m := t.Query.Get("migrate"); m {
	case "", "auto":
		t.migrate = true
	case "never":
	default:
		return t, fmt.Errorf("migrate=%s is neither auto nor never", m)
	}
	if p := t.Query.Get("poll"); p != "" {
		if t.poll, err = time.ParseDuration(p); err != nil || t.poll < minPoll {
			return t, fmt.Errorf("poll=%s is not a duration of at least %v such as 200ms", p, minPoll)
		}
	}
	return t, nil
}

// readSSLMode returns libpq's sslmode: prefer unless given, and verify-full where
// another parameter says that TLS is wanted.
func readSSLMode(query url.Values) (string, error) {
	given := slices.ContainsFunc(needTLS, query.Has)
	switch mode := query.Get("sslmode"); mode {
	case "":
		if given {
			return "verify-full", nil
		}
		return "prefer", nil
	case "disable":
		if given {
			return "", fmt.Errorf("sslmode=disable contradicts the parameters for TLS (%s)", strings.Join(needTLS, ", "))
		}
		return mode, nil
	case "require":
		if query.Has("cacert") {
			return "verify-ca", nil // as libpq does
		}
		return mode, nil
	case "prefer", "verify-ca", "verify-full":
		return mode, nil
	default:
		return "", fmt.Errorf("sslmode=%s is none of disable, prefer, require, verify-ca, verify-full", mode)
	}
}

// readUser reads who to log in as. Where a certificate or the server's own
// configuration vouches for the user, there is no password.
func readUser(u *url.URL) (user, password string, err error) {
	user = u.User.Username()
	password, given := u.User.Password()
	query := u.Query()
	file := query.Get("password-file")
	switch {
	case user == "":
		return "", "", fmt.Errorf("no user: the URL should look like postgres://USER:PASSWORD@HOST/DATABASE")
	case query.Has("password-file") && (file == "" || len(query["password-file"]) > 1):
		return "", "", fmt.Errorf("parameter \"password-file\" is empty, or given more than once")
	case file != "" && given:
		return "", "", fmt.Errorf("there is a password both in the URL and in password-file: give one")
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			return "", "", fmt.Errorf("password-file: %w", err)
		}
		if password = strings.TrimRight(string(b), "\r\n"); password == "" {
			return "", "", fmt.Errorf("password-file: %s is empty", file)
		}
	}
	if strings.ContainsRune(user, 0) || strings.ContainsRune(password, 0) {
		return "", "", errors.New("the user or the password holds a NUL byte")
	}
	return user, password, nil
}

// readDatabase reads the path; as with psql, the database is named like the user
// unless given.
func readDatabase(path, user string) (string, error) {
	name := strings.TrimPrefix(path, "/")
	switch {
	case name == "":
		return user, nil
	case strings.ContainsAny(name, "/\x00"):
		return "", fmt.Errorf("the path %q is not the name of one database", path)
	}
	return name, nil
}

var plainIdentifier = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// checkNamespace tells what is wrong with the name of a schema.
func checkNamespace(name string) error {
	switch {
	case len(name) > 63:
		return fmt.Errorf("the namespace has %d bytes, at most 63 are allowed", len(name))
	case !plainIdentifier.MatchString(name):
		return fmt.Errorf("the namespace %q has to be of a to z, 0 to 9 and _, and not to begin with a digit", name)
	case strings.HasPrefix(name, "pg_") || name == "information_schema" || name == "public":
		return fmt.Errorf("the namespace %q is PostgreSQL's own: choose one that nothing else is in", name)
	}
	return nil
}

// secrets are what the files hold that the URL names: they may be replaced.
func (t target) secrets() string {
	secrets := t.Password
	for _, p := range []string{"cacert", "cert", "key"} {
		b, _ := os.ReadFile(t.Query.Get(p)) // where it cannot be read, parseTarget has failed
		secrets += "\x00" + string(b)
	}
	return secrets
}

// where names the hosts.
func (t target) where() string { return strings.Join(t.Hosts, ", ") }

// poolConfig returns the configuration of a pool for the target. pgx has it begin
// with a string, and would fill in what that does not say from the environment and
// from files in the home directory; so the string says all there is, and what it
// cannot say is replaced afterwards.
func (t target) poolConfig(dial pgconn.DialFunc) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig("host=localhost port=5432 user=nobody password=none dbname=none " +
		"sslmode=disable sslcert='' sslkey='' sslrootcert='' sslpassword='' sslcertmode=allow sslnegotiation='' sslsni=1 " +
		"passfile='' connect_timeout=0 target_session_attrs=any application_name='' options='' timezone='' " +
		"min_protocol_version='' max_protocol_version='' channel_binding=prefer require_auth=''")
	if err != nil { // of $PGSERVICE, which nothing overrides
		return nil, driver.Permanent(errors.New("the PostgreSQL client cannot be configured: is $PGSERVICE set to something that is not there?"))
	}
	cc := &cfg.ConnConfig.Config
	cc.User, cc.Password, cc.Database = t.User, t.Password, t.database
	// Whatever the role has by default, a name has to mean the same to all.
	cc.RuntimeParams = map[string]string{"application_name": "fairlead", "client_encoding": "UTF8"}
	cc.ConnectTimeout = connectTimeout
	cc.ValidateConnect = takesWrites
	if dial != nil {
		cc.DialFunc = dial
	}
	cc.Fallbacks = nil
	for i, h := range t.Hosts {
		host, port, err := net.SplitHostPort(h)
		if err != nil {
			return nil, driver.Permanent(err)
		}
		n, _ := strconv.ParseUint(port, 10, 16) // checked by the form
		for j, secure := range t.tlsConfigs(host) {
			if i == 0 && j == 0 {
				cc.Host, cc.Port, cc.TLSConfig = host, uint16(n), secure
				continue
			}
			cc.Fallbacks = append(cc.Fallbacks, &pgconn.FallbackConfig{Host: host, Port: uint16(n), TLSConfig: secure})
		}
	}
	cfg.MaxConns = maxConns
	cfg.MinConns, cfg.MinIdleConns = 0, 0
	// A ping would cost a renewal a round trip, just where those take long. See store.query.
	cfg.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	return cfg, nil
}

var errReadOnly = errors.New("the server is read only: a standby, or a primary that was demoted")

// isStandby reports whether the server has said that it is one, as it does since version 14.
func isStandby(c *pgconn.PgConn) bool { return c.ParameterStatus("in_hot_standby") == "on" }

// takesWrites turns a server down that is read only, so that the next host is tried.
// Since version 14 the server says so by itself.
func takesWrites(ctx context.Context, c *pgconn.PgConn) error {
	standby, readOnly := c.ParameterStatus("in_hot_standby"), c.ParameterStatus("default_transaction_read_only")
	switch {
	case standby == "on" || readOnly == "on":
		return errReadOnly
	case standby == "off" && readOnly == "off":
		return nil
	}
	return pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, c)
}

// tlsConfigs returns what is to be tried with a host, in order; nil is plain text.
func (t target) tlsConfigs(host string) []*tls.Config {
	if t.sslmode == "disable" {
		return []*tls.Config{nil}
	}
	cfg := t.TLS.Clone()
	cfg.ServerName = cmp.Or(t.ServerName, host)
	switch t.sslmode {
	case "prefer":
		cfg.InsecureSkipVerify = true
		return []*tls.Config{cfg, nil}
	case "require":
		cfg.InsecureSkipVerify = true
	case "verify-ca":
		cfg.InsecureSkipVerify = true // but for the name, which is what is skipped
		cfg.VerifyConnection = verifyChain(cfg.RootCAs)
	}
	return []*tls.Config{cfg}
}

// verifyChain verifies a server's certificate without looking at its name.
func verifyChain(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("tls: the server has no certificate")
		}
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, c := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		if _, err := state.PeerCertificates[0].Verify(opts); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
}

// A dialer opens the connections of a store, and can close all of them at once:
// what waits for a peer that does not answer any more ends only so.
type dialer struct {
	dial   pgconn.DialFunc
	ctx    context.Context // ends when the store is closed
	cancel context.CancelFunc
	conns  tracked
}

func newDialer(dial pgconn.DialFunc) *dialer {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	d := &dialer{dial: dial}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// DialContext is the pgconn.DialFunc.
func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	c, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	tc := &trackedConn{Conn: c, set: &d.conns}
	if !d.conns.add(tc) {
		return nil, errors.Join(errClosed, c.Close())
	}
	return tc, nil
}

// sever closes all connections, and refuses new ones.
func (d *dialer) sever() {
	d.cancel()
	d.conns.closeAll()
}
