// Package cert makes certificates that live for one test run.
package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const lifetime = 24 * time.Hour

// An Authority signs certificates. Its files lie in one directory, next to
// those of the certificates it signs.
type Authority struct {
	File string // its own certificate, PEM
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
}

// A Pair names the PEM files of a certificate and its key.
type Pair struct{ Cert, Key string }

// A Kit is an authority, and a certificate that it has issued to each side.
type Kit struct {
	*Authority
	Server, Client Pair
}

// TB is the part of *testing.T that a kit needs. Programs that want no kit do not
// link package testing for it.
type TB interface {
	Helper()
	TempDir() string
	Fatal(args ...any)
}

// NewKit makes a kit for one test. The authorities of all kits have the same
// name, as clients do not even show a certificate when the server asks for those
// of authorities with other names.
func NewKit(tb TB) *Kit {
	tb.Helper()
	a, err := New(tb.TempDir(), "ca")
	if err != nil {
		tb.Fatal(err)
	}
	k := &Kit{Authority: a}
	if k.Server, err = a.Issue("server"); err != nil {
		tb.Fatal(err)
	}
	if k.Client, err = a.Issue("client"); err != nil {
		tb.Fatal(err)
	}
	return k
}

// New makes an authority called name, with its files in dir.
func New(dir, name string) (*Authority, error) {
	key, err := newKey(name)
	if err != nil {
		return nil, err
	}
	tmpl, err := template(name)
	if err != nil {
		return nil, err
	}
	tmpl.IsCA = true
	tmpl.BasicConstraintsValid = true
	tmpl.KeyUsage = x509.KeyUsageCertSign
	a := &Authority{dir: dir, cert: tmpl, key: key} // it signs itself
	pair, err := a.sign(name, tmpl, key)
	if err != nil {
		return nil, err
	}
	a.File = pair.Cert
	return a, nil
}

// Issue signs a certificate for name, which its files are called after. It
// serves as a server's on 127.0.0.1 and localhost, and as a client's.
func (a *Authority) Issue(name string) (Pair, error) {
	key, err := newKey(name)
	if err != nil {
		return Pair{}, err
	}
	return a.IssueFor(name, key)
}

// IssueFor is Issue with a key of the caller's, of any kind.
func (a *Authority) IssueFor(name string, key crypto.Signer) (Pair, error) {
	tmpl, err := template(name)
	if err != nil {
		return Pair{}, err
	}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	tmpl.DNSNames = []string{"localhost"}
	tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	return a.sign(name, tmpl, key)
}

// ClientConfig is for a client that trusts the authority alone and has the pairs
// to show, which may be none.
func (a *Authority) ClientConfig(pairs ...Pair) (*tls.Config, error) {
	conf := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	conf.RootCAs.AddCert(a.cert)
	for _, p := range pairs {
		c, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return nil, fmt.Errorf("load certificate %s: %w", p.Cert, err)
		}
		conf.Certificates = append(conf.Certificates, c)
	}
	return conf, nil
}

func newKey(name string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for %s: %w", name, err)
	}
	return key, nil
}

func template(name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number for %s: %w", name, err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.Add(lifetime),
	}, nil
}

// sign signs tmpl for key, and writes both files.
func (a *Authority) sign(name string, tmpl *x509.Certificate, key crypto.Signer) (Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("sign the certificate of %s: %w", name, err)
	}
	if tmpl.IsCA {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			return Pair{}, fmt.Errorf("parse the certificate of %s: %w", name, err)
		}
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encode the key of %s: %w", name, err)
	}
	p := Pair{Cert: filepath.Join(a.dir, name+".crt"), Key: filepath.Join(a.dir, name+".key")}
	if err := writePEM(p.Cert, "CERTIFICATE", der); err != nil {
		return Pair{}, err
	}
	return p, writePEM(p.Key, "PRIVATE KEY", keyDER)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
