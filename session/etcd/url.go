package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-go/fairlead/session/driver"
)

// defaultPort is etcd's for clients.
const defaultPort = "2379"

// A target is what a URL says.
type target struct {
	endpoints      []string // each with http:// or https://
	prefix         string
	user, password string
	tls            *tls.Config // nil for plain text
	serverName     string      // to expect instead of each endpoint's host
}

// parameters of a URL; true for those that need TLS.
var parameters = map[string]bool{
	"ttl":           false, // session.Open's
	"password-file": false,
	"cacert":        true,
	"cert":          true,
	"key":           true,
	"server-name":   true,
}

// parseTarget reads a URL and the files that it names. Its errors name the part
// at fault, are permanent, and never hold a password.
func parseTarget(u *url.URL) (target, error) {
	t := target{prefix: u.Path}
	secure := false
	switch u.Scheme {
	case "etcd":
	case "etcds":
		secure = true
	default:
		return t, driver.Permanent(fmt.Errorf("the scheme %q is neither etcd nor etcds", u.Scheme))
	}
	query, err := readQuery(u, secure)
	if err != nil {
		return t, driver.Permanent(err)
	}
	if t.endpoints, err = readHosts(u.Host, secure); err != nil {
		return t, driver.Permanent(err)
	}
	if t.user, t.password, err = readUser(u.User, query.Get("password-file")); err != nil {
		return t, driver.Permanent(err)
	}
	if secure {
		if t.tls, err = readTLS(query); err != nil {
			return t, driver.Permanent(err)
		}
		t.serverName = query.Get("server-name")
	}
	return t, nil
}

func readQuery(u *url.URL, secure bool) (url.Values, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("the part after the ? is malformed: %w", err)
	}
	for name, values := range query {
		needsTLS, known := parameters[name]
		switch {
		case !known:
			return nil, fmt.Errorf("unknown parameter %q (known: cacert, cert, key, password-file, server-name, ttl)", name)
		case needsTLS && !secure:
			return nil, fmt.Errorf("parameter %q is for TLS: use etcds:// instead of etcd://", name)
		case len(values) > 1:
			return nil, fmt.Errorf("parameter %q is given %d times", name, len(values))
		case values[0] == "":
			return nil, fmt.Errorf("parameter %q is empty", name)
		}
	}
	if u.Fragment != "" {
		return nil, fmt.Errorf("the part after the # has no meaning: a # in a path must be written %%23")
	}
	return query, nil
}

// readHosts makes endpoints of "h1:2379,h2".
func readHosts(hosts string, secure bool) ([]string, error) {
	if hosts == "" {
		return nil, fmt.Errorf("no host: the URL should look like etcd://127.0.0.1:2379/prefix")
	}
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	var endpoints []string
	for _, h := range strings.Split(hosts, ",") {
		host, port, err := splitHost(h)
		if err != nil {
			return nil, err
		}
		endpoint := scheme + net.JoinHostPort(host, port)
		if slices.Contains(endpoints, endpoint) {
			return nil, fmt.Errorf("host %q is given twice", h)
		}
		endpoints = append(endpoints, endpoint)
	}
	return endpoints, nil
}

func splitHost(h string) (host, port string, err error) {
	bracketed := strings.HasPrefix(h, "[") && strings.HasSuffix(h, "]")
	if bracketed || !strings.Contains(h, ":") {
		h += ":" + defaultPort
	}
	host, port, err = net.SplitHostPort(h)
	if err != nil {
		return "", "", fmt.Errorf("host %q: %w", h, err)
	}
	if host == "" {
		return "", "", fmt.Errorf("host %q has no name or address before the port", h)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", fmt.Errorf("host %q: the port %q is not a number from 1 to 65535", host, port)
	}
	return host, port, nil
}

func readUser(info *url.Userinfo, passwordFile string) (user, password string, err error) {
	user = info.Username()
	password, given := info.Password()
	switch {
	case passwordFile != "" && given:
		return "", "", fmt.Errorf("there is a password both in the URL and in password-file: give one")
	case passwordFile != "":
		b, err := os.ReadFile(passwordFile)
		if err != nil {
			return "", "", fmt.Errorf("password-file: %w", err)
		}
		password = strings.TrimRight(string(b), "\r\n")
	}
	switch {
	case user == "" && password == "":
		return "", "", nil
	case user == "":
		return "", "", fmt.Errorf("there is a password but no user: the URL should look like etcd://USER@HOST:PORT")
	case password == "":
		return "", "", fmt.Errorf("user %q has no password: give it in the URL or in a file named by ?password-file=", user)
	}
	return user, password, nil
}

func readTLS(query url.Values) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := query.Get("cacert"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("cacert: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cacert: %s holds no certificate in PEM form", file)
		}
	}
	cert, key := query.Get("cert"), query.Get("key")
	switch {
	case cert == "" && key == "":
		return cfg, nil
	case key == "":
		return nil, fmt.Errorf("cert is given without key")
	case cert == "":
		return nil, fmt.Errorf("key is given without cert")
	}
	load := func() (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(cert, key)
		return &c, err
	}
	if _, err := load(); err != nil {
		return nil, fmt.Errorf("cert %s and key %s: %w", cert, key, err)
	}
	// Read again for each connection, so that a renewed certificate is taken up
	// without a restart.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return cfg, nil
}
