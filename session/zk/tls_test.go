package zk_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
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
	a.issue("server", &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	a.issue("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
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
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+"-key.pem", "PRIVATE KEY", keyDER)
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

// query is the part of a URL that trusts the authority, and shows a client's
// certificate of the issuer.
func (a *authority) query(issuer *authority) string {
	return "cacert=" + a.file("ca.pem") + "&cert=" + issuer.file("client.pem") + "&key=" + issuer.file("client-key.pem")
}

// secured is a server with a secure port that demands certificates of its clients.
func secured(t *testing.T, a *authority, jvm ...string) *zkserver.Server {
	t.Helper()
	return start(t, zkserver.Config{JVM: jvm, TLS: &zkserver.TLS{
		Cert: a.file("server.pem"), Key: a.file("server-key.pem"), Authority: a.file("ca.pem"), ClientAuth: true,
	}})
}

// A link is below TLS: what is cut there is met again above.
func TestQueueWorksOverTLSWithClientCertificates(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := secured(t, a)
	var link drivertest.Link
	p := enterAt(t, "zks://"+s.SecureAddr()+"/team?"+a.query(a), nil, &link)
	q := enterAt(t, "zk://"+s.Addr()+"/team", nil, nil) // the same server, in the open
	first := p.join("q")
	second := q.join("q")
	if len(second.Ahead) != 1 || second.Ahead[0].Token != first.Me.Token {
		t.Fatalf("%+v is ahead of the second, want %+v", second.Ahead, first.Me)
	}
	end := q.wait(second)
	link.Cut()
	eventually(t, func() error { return p.Leave(bounded(t), first.Me) })
	if v := over(t, end); len(v.Ahead) != 0 {
		t.Errorf("after the first has left %+v is ahead", v.Ahead)
	}
	if err := p.Renew(bounded(t)); err != nil {
		t.Error(err)
	}
	link.Cut()
	if err := p.Revoke(bounded(t)); err != nil {
		t.Errorf("end the session after its connection was cut: %v", err)
	}
	if err := p.Check(bounded(t)); err == nil {
		t.Error("a session that has ended is alive")
	}
}

func TestOpenTellsAtOnceWhatIsWrongWithTLS(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t), newAuthority(t)
	s := secured(t, a)
	secure := "zks://u:wrong-secret@" + s.SecureAddr()
	for what, c := range map[string]struct{ query, want string }{
		"unknown authority":     {stranger.query(a), "unknown authority"},
		"no authority":          {"ttl=4s", "x509"},
		"wrong server name":     {"server-name=elsewhere&" + a.query(a), "elsewhere"},
		"no certificate":        {"cacert=" + a.file("ca.pem"), "tls: "},
		"another's certificate": {a.query(stranger), "tls: "},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			refusedAtOnce(t, secure+"?"+c.query, c.want)
		})
	}
}

// With TLS 1.3 the client is done with the handshake before the server has looked
// at its certificate.
func TestOpenTellsAtOnceThatACertificateIsRefusedLate(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t), newAuthority(t)
	s := secured(t, a, "-Dzookeeper.ssl.protocol=TLSv1.3", "-Dzookeeper.ssl.enabledProtocols=TLSv1.3", "-Dzookeeper.ssl.ciphersuites=TLS_AES_128_GCM_SHA256")
	p := enterAt(t, "zks://"+s.SecureAddr()+"?"+a.query(a), nil, nil)
	p.leave(p.join("q").Me)
	refusedAtOnce(t, "zks://u:wrong-secret@"+s.SecureAddr()+"?"+a.query(stranger), "tls: ")
}

// refusedAtOnce opens a URL, which has to fail for good.
func refusedAtOnce(t *testing.T, rawURL, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience/2)
	defer cancel()
	s, err := session.Open(ctx, rawURL, &session.Options{Logger: quiet})
	if err == nil {
		_ = s.Close(ctx)
		t.Fatal("a session was opened")
	}
	if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v, want %q in it", err, want)
	}
	if !driver.IsPermanent(err) || ctx.Err() != nil {
		t.Errorf("%v is not permanent, or came as late as %v", err, patience/2)
	}
}

// Neither server says what is wrong: both hang up, or say nothing.
func TestTrafficOfTheWrongKindEndsWithTheContext(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := secured(t, a)
	for what, raw := range map[string]string{
		"TLS to a plain port":   "zks://" + s.Addr() + "?" + a.query(a),
		"plain to a secure one": "zk://" + s.SecureAddr(),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			s, err := session.Open(ctx, raw, &session.Options{Logger: quiet, TTL: 4 * time.Second})
			if err == nil {
				_ = s.Close(t.Context())
				t.Fatal("a session was opened")
			}
			if !strings.Contains(err.Error(), "ZooKeeper at 127.0.0.1:") {
				t.Errorf("%v, want the server in it", err)
			}
		})
	}
}
