package redisserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
)

// An authority certifies, and has the files that a TLS wants.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, "ca", &x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// sign writes a certificate and its key to name.crt and name.key.
func (a *authority) sign(t *testing.T, name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		a.file(name + ".crt"): {Type: "CERTIFICATE", Bytes: der},
		a.file(name + ".key"): {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// server returns what a server is to have that demands a certificate or not.
func (a *authority) server(t *testing.T, require bool) *TLS {
	t.Helper()
	a.sign(t, "server", &x509.Certificate{
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.ParseIP(process.Loopback)},
	})
	return &TLS{CA: a.file("ca.crt"), Cert: a.file("server.crt"), Key: a.file("server.key"), RequireClient: require}
}

// client returns a client's certificate.
func (a *authority) client(t *testing.T) tls.Certificate {
	t.Helper()
	cert, key := a.sign(t, "client", &x509.Certificate{
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// dial connects as who trusts the authority and shows the certificates.
func (a *authority) dial(addr string, certs ...tls.Certificate) (*tls.Conn, error) {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr,
		&tls.Config{RootCAs: pool, Certificates: certs})
}

func (a *authority) connect(t *testing.T, addr string, certs ...tls.Certificate) *client {
	t.Helper()
	conn, err := a.dial(addr, certs...)
	if err != nil {
		t.Fatal(err)
	}
	return connectOver(t, conn)
}

func TestSecurePortDemandsACertificateOfTheCA(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	s := start(t, Config{TLS: ca.server(t, true)})
	ca.connect(t, s.TLSAddr(), ca.client(t)).want(t, "OK", "SET", "secure", "1")
	connect(t, s.Addr()).want(t, "1", "GET", "secure") // the other port is as before

	for name, certs := range map[string][]tls.Certificate{
		"no certificate":           nil,
		"a stranger's certificate": {stranger.client(t)},
	} {
		// The client's part of the handshake is done before the server has refused.
		// A client that writes may learn no more than that nobody reads.
		conn, err := ca.dial(s.TLSAddr(), certs...)
		if err == nil {
			_, err = decode(connectOver(t, conn).r)
		}
		if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "remote error" {
			t.Errorf("a client with %s ends with %v, want an alert", name, err)
		}
	}
}

func TestSecurePortWithoutClientCertificates(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s := start(t, Config{TLS: ca.server(t, false)})
	ca.connect(t, s.TLSAddr()).want(t, "PONG", "PING")
}

func TestSentinelsTellTheSecureAddressOfThePrimary(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	r := startReplicated(t, Config{TLS: ca.server(t, true)}, 3)
	first := primary(t, r)
	sentinelsSay(t, r, first.TLSAddr())
	ca.connect(t, r.Sentinels()[0].TLSAddr(), ca.client(t)).want(t, "PONG", "PING")
	ca.connect(t, first.TLSAddr(), ca.client(t)).want(t, "OK", "SET", "key", "1")
	if err := r.WaitReplicated(bounded(t)); err != nil {
		t.Fatal(err)
	}
	ca.connect(t, replica(t, r).TLSAddr(), ca.client(t)).want(t, "1", "GET", "key")
}

func TestClusterSendsSecureClientsToSecurePorts(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	c := startCluster(t, 2, Config{TLS: ca.server(t, true)})
	o := owner(t, c, "key")
	slot, err := c.Slot(bounded(t), "key")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Servers() {
		if s == o {
			continue
		}
		connect(t, s.Addr()).want(t, moved(slot, o.Addr()), "GET", "key")
		ca.connect(t, s.TLSAddr(), ca.client(t)).want(t, moved(slot, o.TLSAddr()), "GET", "key")
		do(t, o, "SET", "key", "1")
		if err := c.Move(bounded(t), slot, s); err != nil {
			t.Fatal(err)
		}
		ca.connect(t, s.TLSAddr(), ca.client(t)).want(t, "1", "GET", "key")
	}
}
