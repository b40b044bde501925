package storeurl

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Split takes a URL apart. Unlike package url it knows lists of hosts, each of which may
// have a port, and repeats nothing in an error that may be part of a password.
//
// The first of / ? # ends user, password and hosts, wherever it stands. So a password in
// which it is not encoded goes on behind it, where it would be shown as a path or a
// parameter. The @ after such a password tells: behind the hosts none is taken.
func Split(raw string) (*url.URL, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || scheme == "" || strings.ContainsAny(scheme, ":@/?#") {
		return nil, errors.New("the store URL has no scheme: it should look like etcd://127.0.0.1:2379")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if strings.Contains(rest[end:], "@") {
		return nil, errors.New("the store URL is malformed: an @ in the path or behind it must be written %40; " +
			"if it is the one that ends the password, / ? # and % in the password must be percent-encoded")
	}
	begin := strings.LastIndex(rest[:end], "@") + 1
	list := strings.Split(rest[begin:end], ",")
	var hosts []string
	for _, host := range list[1:] {
		one, err := url.Parse("host://" + host)
		if err != nil {
			return nil, fmt.Errorf("the store URL is malformed: %w", cause(err))
		}
		hosts = append(hosts, one.Host)
	}
	u, err := url.Parse(scheme + "://" + rest[:begin] + list[0] + rest[end:])
	if err != nil {
		if begin > 0 {
			return nil, errors.New("the store URL is malformed: " +
				"check the part before the @: characters such as / and % must be percent-encoded there")
		}
		return nil, fmt.Errorf("the store URL is malformed: %w", cause(err))
	}
	u.Host = strings.Join(append([]string{u.Host}, hosts...), ",")
	return u, nil
}

// cause is the error without the URL, which it repeats.
func cause(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// Place is what may be said of a URL to whoever reads an error: which store it is. Its
// parameters are left out, as other programs take passwords there.
func Place(u *url.URL) string {
	place := url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return place.Redacted()
}

// Loopback reports whether all of the hosts, each with its port, are this machine, as seen
// by nobody else.
func Loopback(hosts []string) bool {
	for _, h := range hosts {
		host, _, err := net.SplitHostPort(h)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// Hosts returns the hosts of a URL, each with its port: this one where it has none.
func Hosts(u *url.URL, port string) ([]string, error) {
	return Form{Scheme: u.Scheme, Port: port}.readHosts(u.Host)
}
