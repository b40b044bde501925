// Package storeurl reads the URLs of stores on a network, which differ only in
// their schemes, ports and parameters.
package storeurl

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A Form is what the URLs of one kind of store look like.
type Form struct {
	Scheme     string   // without TLS; with TLS it has an s behind it
	Port       string   // where a host has none
	Parameters []string // beside those that all have

	// BarePassword allows a password without a user.
	BarePassword bool
}

// A Target is what a URL says.
type Target struct {
	Hosts          []string // each with its port
	Path           string
	User, Password string
	TLS            *tls.Config // nil for plain text
	ServerName     string      // to expect instead of each host's name
	Query          url.Values
}

// common are the parameters that every URL may have; true for those that need TLS.
var common = map[string]bool{
	"ttl":           false, // session.Open's
	"password-file": false,
	"cacert":        true,
	"cert":          true,
	"key":           true,
	"server-name":   true,
}

// Parse reads a URL and the files that it names. Its errors name the part at fault,
// are permanent, and never hold a password.
func (f Form) Parse(u *url.URL) (Target, error) {
	t, err := f.parse(u)
	return t, driver.Permanent(err)
}

func (f Form) parse(u *url.URL) (t Target, err error) {
	t.Path = u.Path
	secure := u.Scheme == f.Scheme+"s"
	if !secure && u.Scheme != f.Scheme {
		return t, fmt.Errorf("the scheme %q is neither %s nor %ss", u.Scheme, f.Scheme, f.Scheme)
	}
	if t.Query, err = f.readQuery(u, secure); err != nil {
		return t, err
	}
	if t.Hosts, err = f.readHosts(u.Host); err != nil {
		return t, err
	}
	if t.User, t.Password, err = f.readUser(u.User, t.Query.Get("password-file")); err != nil {
		return t, err
	}
	if secure {
		t.ServerName = t.Query.Get("server-name")
		t.TLS, err = readTLS(t.Query)
	}
	return t, err
}

// needsTLS tells whether a parameter is for TLS, and whether it is known.
func (f Form) needsTLS(name string) (yes, known bool) {
	yes, known = common[name]
	return yes, known || slices.Contains(f.Parameters, name)
}

func (f Form) known() string {
	return strings.Join(slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(common)), f.Parameters...))), ", ")
}

func (f Form) readQuery(u *url.URL, secure bool) (url.Values, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("the part after the ? is malformed: %w", err)
	}
	for name, values := range query {
		needsTLS, known := f.needsTLS(name)
		switch {
		case !known:
			return nil, fmt.Errorf("unknown parameter %q (known: %s)", name, f.known())
		case needsTLS && !secure:
			return nil, fmt.Errorf("parameter %q is for TLS: use %ss:// instead of %s://", name, f.Scheme, f.Scheme)
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

// readHosts reads "h1:2379,h2".
func (f Form) readHosts(list string) ([]string, error) {
	if list == "" {
		return nil, fmt.Errorf("no host: the URL should look like %s://127.0.0.1:%s", f.Scheme, f.Port)
	}
	var hosts []string
	for _, h := range strings.Split(list, ",") {
		host, port, err := f.splitHost(h)
		if err != nil {
			return nil, err
		}
		full := net.JoinHostPort(host, port)
		if slices.Contains(hosts, full) {
			return nil, fmt.Errorf("host %q is given twice", h)
		}
		hosts = append(hosts, full)
	}
	return hosts, nil
}

func (f Form) splitHost(h string) (host, port string, err error) {
	bracketed := strings.HasPrefix(h, "[") && strings.HasSuffix(h, "]")
	if bracketed || !strings.Contains(h, ":") {
		h += ":" + f.Port
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

func (f Form) readUser(info *url.Userinfo, passwordFile string) (user, password string, err error) {
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
	case user == "" && f.BarePassword:
		return "", password, nil
	case user == "":
		return "", "", fmt.Errorf("there is a password but no user: the URL should look like %s://USER@HOST:PORT", f.Scheme)
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
