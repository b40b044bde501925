package etcd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdembed "go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/embed"
	"github.com/fairlead-go/fairlead/session/etcd"
)

// An authority signs certificates, into files in dir.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issue makes name.pem and name-key.pem.
func (a *authority) issue(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+"-key.pem", "EC PRIVATE KEY", keyDER)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// guarded is a server that demands certificates of its clients.
func guarded(t *testing.T, a *authority, adjust func(*etcdembed.Config)) *embed.Server {
	t.Helper()
	a.issue("server", &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	a.issue("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return start(t, embed.Config{Adjust: func(c *etcdembed.Config) {
		c.ListenClientUrls = []url.URL{{Scheme: "https", Host: "127.0.0.1:0"}}
		c.AdvertiseClientUrls = c.ListenClientUrls
		c.ClientTLSInfo = transport.TLSInfo{
			CertFile: a.file("server.pem"), KeyFile: a.file("server-key.pem"),
			TrustedCAFile: a.file("ca.pem"), ClientCertAuth: true,
		}
		if adjust != nil {
			adjust(c)
		}
	}})
}

func (a *authority) query() string {
	return "cacert=" + a.file("ca.pem") + "&cert=" + a.file("client.pem") + "&key=" + a.file("client-key.pem")
}

func (a *authority) client(s *embed.Server, user, password string) *clientv3.Client {
	a.t.Helper()
	info := transport.TLSInfo{CertFile: a.file("client.pem"), KeyFile: a.file("client-key.pem"), TrustedCAFile: a.file("ca.pem")}
	cfg, err := info.ClientConfig()
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + s.Addr()}, TLS: cfg, Username: user, Password: password, Logger: zap.NewNop(),
	})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = c.Close() })
	return c
}

// protect turns authentication on: root may do all, and the user "team" has one
// role, with readwrite permission on the prefix.
func protect(t *testing.T, c *clientv3.Client, prefix string) {
	t.Helper()
	ctx := t.Context()
	key := prefix + "/"
	for _, step := range []func() error{
		func() error { return errOf(c.UserAdd(ctx, "root", "root-secret")) },
		func() error { return errOf(c.UserGrantRole(ctx, "root", "root")) },
		func() error { return errOf(c.RoleAdd(ctx, "team")) },
		func() error {
			return errOf(c.RoleGrantPermission(ctx, "team", key, clientv3.GetPrefixRangeEnd(key), clientv3.PermissionType(clientv3.PermReadWrite)))
		},
		func() error { return errOf(c.UserAdd(ctx, "team", "team-secret")) },
		func() error { return errOf(c.UserGrantRole(ctx, "team", "team")) },
		func() error { return errOf(c.AuthEnable(ctx)) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConformanceUnderMutualTLSAndRBAC also has tokens expire all the time.
func TestConformanceUnderMutualTLSAndRBAC(t *testing.T) {
	a := newAuthority(t)
	s := guarded(t, a, func(c *etcdembed.Config) {
		c.AuthTokenTTL = 1 // second
		c.BcryptCost = 4
	})
	protect(t, a.client(s, "", ""), "/team")
	admin := a.client(s, "root", "root-secret")
	drivertest.Run(t, drivertest.Backend{
		MinTTL:    2 * time.Second,
		Networked: true,
		Connect: func(tb drivertest.TB, link *drivertest.Link) driver.Store {
			return connect(tb, "etcds://team:team-secret@"+s.Addr()+"/team?"+a.query(), nil, link)
		},
		Expire: func(tb drivertest.TB, lease driver.Lease) { expire(tb, admin, lease.ID()) },
	})
}

func TestWaitsGoOnWhenTokensAreNoLongerValid(t *testing.T) {
	s := start(t, embed.Config{Adjust: func(c *etcdembed.Config) { c.BcryptCost = 4 }})
	protect(t, raw(t, s, "", ""), "/team")
	admin := raw(t, s, "root", "root-secret")
	var watches watchCounter
	p := enterAt(t, "etcd://team:team-secret@"+s.Addr()+"/team", nil, watches.option())
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() { end <- p.Watch(ctx) }()
	watches.begun(t, 1) // and keeps the stream open, with its token
	for range 3 {
		// The server forgets the tokens that it has given out to the user.
		if _, err := admin.UserChangePassword(t.Context(), "team", "team-secret"); err != nil {
			t.Fatal(err)
		}
		first := p.join("q").Me
		waiting := p.wait(p.join("q"))
		p.leave(first)
		p.leave(over(t, waiting).Me)
		if _, err := admin.UserChangePassword(t.Context(), "team", "team-secret"); err != nil {
			t.Fatal(err)
		}
		enough := errors.New("enough")
		shown := 0
		eventually(t, func() error { // what it returns on the way is temporary trouble
			err := p.store.Watch(t.Context(), "q", func(driver.Queue) error {
				if shown++; shown > 1 {
					return enough
				}
				first := p.join("q").Me
				p.leave(first)
				return nil
			})
			if !errors.Is(err, enough) {
				shown = 0
				return err
			}
			return nil
		})
	}
	cancel()
	<-end
}

func TestPermissionIsNeededForThePrefix(t *testing.T) {
	s := start(t, embed.Config{Adjust: func(c *etcdembed.Config) { c.BcryptCost = 4 }})
	protect(t, raw(t, s, "", ""), "/team")
	st := connect(t, "etcd://team:team-secret@"+s.Addr()+"/other", nil, nil)
	if _, _, err := st.Grant(t.Context(), driver.Spec{TTL: 30e9}); !driver.IsPermanent(err) {
		t.Errorf("Grant outside the role's prefix returned %v, want a permanent error", err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenTellsAtOnceWhatIsWrong(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	tls := guarded(t, a, nil)
	open := start(t, embed.Config{Adjust: func(c *etcdembed.Config) { c.BcryptCost = 4 }})
	protect(t, raw(t, open, "", ""), "/team")
	for what, c := range map[string]struct{ url, want string }{
		"wrong password":     {"etcd://team:wrong-secret@" + open.Addr() + "/team", "authentication failed"},
		"unknown user":       {"etcd://nobody:wrong-secret@" + open.Addr() + "/team", "authentication failed"},
		"no user":            {"etcd://" + open.Addr() + "/team", "user name is empty"},
		"unknown authority":  {"etcds://" + tls.Addr() + "?cacert=" + stranger.file("ca.pem"), "x509"},
		"no authority":       {"etcds://u:wrong-secret@" + tls.Addr(), "x509"},
		"no certificate":     {"etcds://" + tls.Addr() + "?cacert=" + a.file("ca.pem"), "tls"},
		"wrong server name":  {"etcds://" + tls.Addr() + "?server-name=elsewhere&" + a.query(), "elsewhere"},
		"TLS to a plain one": {"etcds://" + open.Addr(), "TLS"},
		"plain to one's TLS": {"etcd://" + tls.Addr(), "TLS"},
	} {
		begun := time.Now()
		s, err := session.Open(t.Context(), c.url, &session.Options{Logger: quiet})
		if err == nil {
			_ = s.Close(t.Context())
			t.Errorf("%s: a session was opened", what)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q in it", what, err, c.want)
		}
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("%s: it took %v to fail with %v", what, d, err)
		}
	}
}

func TestAbsentServerIsNamedWithinTheDeadline(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that nobody listens on, once it is closed
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"", "u:wrong-secret@"} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		begun := time.Now()
		_, err = session.Open(ctx, "etcd://"+who+addr, &session.Options{Logger: quiet})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "http://"+addr) || !strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open returned %v, want an error that names %s", err, addr)
		}
		if d := time.Since(begun); d > 3*time.Second {
			t.Errorf("Open with a deadline of 300 ms took %v", d)
		}
	}
}

func TestServerThatStartsLateIsFound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		s, err := session.Open(ctx, "etcd://"+addr, &session.Options{Logger: quiet})
		if err == nil {
			err = s.Close(ctx)
		}
		opened <- err
	}()
	start(t, embed.Config{ListenClient: addr})
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

func TestClientStaysItsOwners(t *testing.T) {
	c := raw(t, server, "", "")
	s, err := etcd.NewSession(t.Context(), c, prefix(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	resp, err := c.Get(t.Context(), prefix(t), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || resp.Count != 0 {
		t.Errorf("after the session was closed the client reads %v, %v, want no keys left", resp, err)
	}
}
