package pgserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/internal/process"
)

// certify makes a certificate that signs itself, so that it is its own
// authority, and writes it and its key to files.
func certify(t *testing.T, name string) (cert, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
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
		file := filepath.Join(dir, name+"."+strings.ReplaceAll(kind, " ", "-")) // pgx does not read + as space
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("CERTIFICATE", der), write("PRIVATE KEY", private)
}

// with sets parameters of a URL.
func with(t *testing.T, rawURL string, pairs ...string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func TestUsersMustUseTLS(t *testing.T) {
	t.Parallel()
	cert, key := certify(t, "server")
	c := quick()
	c.TLS = &TLS{Cert: cert, Key: key}
	s := begin(t, c)
	addUser(t, s, "alice") // by the superuser, who need not
	url := s.URL("alice", "alice", "postgres")
	for _, u := range []string{url, with(t, url, "sslmode", "verify-full", "sslrootcert", cert)} {
		if !ask[bool](t, connect(t, u), "select ssl from pg_stat_ssl where pid = pg_backend_pid()") {
			t.Errorf("a connection to %s is without TLS", u)
		}
	}
	_, err := dial(t, with(t, url, "sslmode", "disable"))
	refused(t, "a user without TLS", err, "28000")

	replica := replicate(t, s)
	connect(t, replica.URL("alice", "alice", "postgres"))
	_, err = dial(t, with(t, replica.URL("alice", "alice", "postgres"), "sslmode", "disable"))
	refused(t, "a user of the replica without TLS", err, "28000")
}

func TestUsersMustShowACertificateOfTheCA(t *testing.T) {
	t.Parallel()
	cert, key := certify(t, "server")
	clientCert, clientKey := certify(t, "client")
	otherCert, otherKey := certify(t, "other")
	c := quick()
	c.TLS = &TLS{Cert: cert, Key: key, CA: clientCert}
	s := begin(t, c)
	addUser(t, s, "alice")
	url := s.URL("alice", "alice", "postgres")
	_, err := dial(t, url)
	refused(t, "a user without a certificate", err, "28000")
	connect(t, with(t, url, "sslcert", clientCert, "sslkey", clientKey))

	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	// Left to itself, it would not show one that the server has not asked for.
	config.TLSConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(otherCert, otherKey)
		return &pair, err
	}
	conn, err := pgx.ConnectConfig(bounded(t), config)
	if err == nil {
		conn.Close(bounded(t))
	}
	if err == nil {
		t.Error("a certificate of somebody else's will do")
	}
	// The client may learn of the server's end of the connection before its reason.
	until(t, "the server has refused a certificate", func() bool {
		return strings.Contains(s.Log(), "could not accept SSL connection")
	})
}
