package etcd_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdembed "go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/fairlead-go/fairlead/internal/cert"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/embed"
	"github.com/fairlead-go/fairlead/session/etcd"
)

// guarded is a server that demands certificates of its clients.
func guarded(t *testing.T, ca *cert.Kit, adjust func(*etcdembed.Config)) *embed.Server {
	t.Helper()
	return start(t, embed.Config{Adjust: func(c *etcdembed.Config) {
		c.ListenClientUrls = []url.URL{{Scheme: "https", Host: "127.0.0.1:0"}}
		c.AdvertiseClientUrls = c.ListenClientUrls
		c.ClientTLSInfo = transport.TLSInfo{
			CertFile: ca.Server.Cert, KeyFile: ca.Server.Key,
			TrustedCAFile: ca.File, ClientCertAuth: true,
		}
		if adjust != nil {
			adjust(c)
		}
	}})
}

// query is the part of a URL that a guarded server wants.
func query(ca *cert.Kit) string {
	return "cacert=" + ca.File + "&cert=" + ca.Client.Cert + "&key=" + ca.Client.Key
}

// secure is raw for a guarded server.
func secure(t *testing.T, ca *cert.Kit, s *embed.Server, user, password string) *clientv3.Client {
	t.Helper()
	cfg, err := ca.ClientConfig(ca.Client)
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + s.Addr()}, TLS: cfg, Username: user, Password: password, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
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

// TestConformanceUnderMutualTLSAndRBAC also has tokens expire all the time, and takes each
// queue for a long one once it was read.
func TestConformanceUnderMutualTLSAndRBAC(t *testing.T) {
	ca := cert.NewKit(t)
	s := guarded(t, ca, func(c *etcdembed.Config) {
		c.AuthTokenTTL = 1 // second
		c.BcryptCost = 4
	})
	protect(t, secure(t, ca, s, "", ""), "/team")
	admin := secure(t, ca, s, "root", "root-secret")
	drivertest.Run(t, drivertest.Backend{
		MinTTL:    2 * time.Second,
		Networked: true,
		Connect: func(tb drivertest.TB, link *drivertest.Link) driver.Store {
			st := connect(tb, "etcds://team:team-secret@"+s.Addr()+"/team?"+query(ca), nil, link)
			etcd.SetLong(st, 0)
			return st
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
	go func() { end <- p.Watch(ctx, func() {}) }()
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
	ca, stranger := cert.NewKit(t), cert.NewKit(t)
	tls := guarded(t, ca, nil)
	open := start(t, embed.Config{Adjust: func(c *etcdembed.Config) { c.BcryptCost = 4 }})
	protect(t, raw(t, open, "", ""), "/team")
	for what, c := range map[string]struct{ url, want string }{
		"wrong password":     {"etcd://team:wrong-secret@" + open.Addr() + "/team", "authentication failed"},
		"unknown user":       {"etcd://nobody:wrong-secret@" + open.Addr() + "/team", "authentication failed"},
		"no user":            {"etcd://" + open.Addr() + "/team", "user name is empty"},
		"unknown authority":  {"etcds://" + tls.Addr() + "?cacert=" + stranger.File, "x509"},
		"no authority":       {"etcds://u:wrong-secret@" + tls.Addr(), "x509"},
		"no certificate":     {"etcds://" + tls.Addr() + "?cacert=" + ca.File, "tls"},
		"wrong server name":  {"etcds://" + tls.Addr() + "?server-name=elsewhere&" + query(ca), "elsewhere"},
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
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that nobody listens on, once it is closed
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"", "u:wrong-secret@"} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		begun := time.Now()
		_, err = session.Open(ctx, "etcd://"+who+addr, &session.Options{Logger: quiet})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "http://"+addr) || !strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open returned %v, want an error that names %s", err, addr)
		}
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("Open with a deadline of 2 s took %v", d)
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
