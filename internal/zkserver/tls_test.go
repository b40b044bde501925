package zkserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
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

// certify makes a certificate that signs itself, so that it is its own
// authority, and writes it and its key to files.
func certify(t *testing.T, name string, key crypto.Signer) (cert, keyFile string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses:           []net.IP{net.ParseIP(process.Loopback)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(kind string, der []byte) string {
		file := filepath.Join(dir, name+"."+kind)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("CERTIFICATE", der), write("PRIVATE KEY", private)
}

func ecKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// clientConfig trusts the server's certificate, and shows the client's if there
// is one.
func clientConfig(t *testing.T, server string, client ...tls.Certificate) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(server)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("there is no certificate in %s", server)
	}
	return &tls.Config{RootCAs: pool, Certificates: client}
}

// dialTLS is tls.Dial with a bound.
func dialTLS(addr string, c *tls.Config) (*tls.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, c)
}

func TestSecurePortDemandsACertificate(t *testing.T) {
	t.Parallel()
	cert, key := certify(t, "server", ecKey(t))
	clientCert, clientKey := certify(t, "client", ecKey(t))
	pair, err := tls.LoadX509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	c := quick()
	c.TLS = &TLS{Cert: cert, Key: key, Authority: clientCert, ClientAuth: true}
	s := start(t, c)

	conn, err := dialTLS(s.SecureAddr(), clientConfig(t, cert, pair))
	if err != nil {
		t.Fatal(err)
	}
	connectOver(t, conn).create(t, "/secure", ephemeral)
	if !connect(t, s.Addr()).exists(t, "/secure") {
		t.Error("what was written to the secure port is not there on the other")
	}

	// The client's part of the handshake is done before the server has refused.
	bare, err := dialTLS(s.SecureAddr(), clientConfig(t, cert))
	if err == nil {
		defer bare.Close()
		_ = bare.SetDeadline(time.Now().Add(patience)) // without it, go test is the bound
		_, err = bare.Write(connectRequest(0, make([]byte, 16)))
	}
	if err == nil {
		_, err = readFrame(bare, 36)
	}
	if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "remote error" {
		t.Errorf("a client without a certificate ends with %v, want an alert", err)
	}
}

func TestSecurePortWithoutClientCertificates(t *testing.T) {
	t.Parallel()
	cert, key := certify(t, "server", rsaKey(t))
	c := quick()
	c.TLS = &TLS{Cert: cert, Key: key, Authority: cert}
	s := start(t, c)
	conn, err := dialTLS(s.SecureAddr(), clientConfig(t, cert))
	if err != nil {
		t.Fatal(err)
	}
	connectOver(t, conn).create(t, "/secure", ephemeral)
}
