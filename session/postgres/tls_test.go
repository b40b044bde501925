package postgres_test

import (
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

	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/postgres"
)

// certify makes a certificate that signs itself, so that it is its own authority.
func certify(t *testing.T, name string, ip net.IP) (cert, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip != nil {
		template.IPAddresses = []net.IP{ip}
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
	write := func(file, kind string, der []byte) string {
		file = filepath.Join(dir, file)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write(name+".pem", "CERTIFICATE", der), write(name+"-key.pem", "PRIVATE KEY", private)
}

func TestTLSIsAsStrictAsTheURLSays(t *testing.T) {
	t.Parallel()
	cert, key := certify(t, "server", net.IPv4(127, 0, 0, 1))
	clientCert, clientKey := certify(t, "client", nil)
	otherCert, otherKey := certify(t, "other", nil)
	s := ownServer(t, pgserver.Config{NoSync: true, TLS: &pgserver.TLS{Cert: cert, Key: key, CA: clientCert}})
	if err := postgres.Migrate(bounded(t), s.AdminURL("postgres")); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateRole(bounded(t), "app", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := s.Exec(bounded(t), "postgres", "GRANT USAGE ON SCHEMA fairlead TO app; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA fairlead TO app"); err != nil {
		t.Fatal(err)
	}
	base, _, _ := strings.Cut(s.URL("app", "secret", "postgres"), "?")
	own := with(t, base, "cert", clientCert, "key", clientKey)
	for what, url := range map[string]string{
		"verify-full is meant":       with(t, own, "cacert", cert),
		"verify-full":                with(t, own, "cacert", cert, "sslmode", "verify-full"),
		"another name":               with(t, own, "cacert", cert, "server-name", "server.example"),
		"verify-ca and another name": with(t, own, "cacert", cert, "sslmode", "verify-ca", "server-name", "elsewhere.example"),
		"require":                    with(t, own, "sslmode", "require"),
		"prefer":                     with(t, own, "sslmode", "prefer"),
	} {
		p := enter(t, url, patience, nil)
		p.leave(p.join("q").Me)
		if n := again(t, s, "SELECT count(*) FROM pg_stat_ssl l JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'app' AND NOT l.ssl"); n > 0 {
			t.Errorf("%s: %d connections are without TLS", what, n)
		}
	}
	for url, says := range map[string]string{
		own:                                "certificate signed by unknown authority", // it is not one of the system's
		with(t, own, "cacert", clientCert): "no agreement on TLS",
		with(t, own, "cacert", clientCert, "sslmode", "verify-ca"):                       "no agreement on TLS",
		with(t, own, "cacert", clientCert, "sslmode", "require"):                         "no agreement on TLS",
		with(t, own, "cacert", cert, "server-name", "elsewhere.example"):                 "elsewhere.example",
		with(t, base, "cacert", cert):                                                    "does not let the user in",
		with(t, base, "sslmode", "disable"):                                              "does not let the user in",
		with(t, strings.Replace(own, "secret", "secret-wrong", 1), "cacert", cert):       "password",
		with(t, strings.Replace(own, "/postgres?", "/missing?", 1), "cacert", cert):      "no such database",
		with(t, strings.Replace(base, s.Addr(), server.Addr(), 1), "sslmode", "require"): "refused TLS",
	} {
		refusedAtOnce(t, url, says)
	}
	// A server that does not speak it is good enough for prefer, which is the default.
	enter(t, with(t, namespace(t, "prefer"), "sslmode", "prefer"), patience, nil).join("q")
	// With TLS 1.3 a server refuses a client's certificate when the client believes to be
	// in, and may just hang up.
	if st, err := dial(with(t, base, "cacert", cert, "cert", otherCert, "key", otherKey), nil, nil); err == nil {
		_ = st.Close()
		t.Error("a stranger's certificate was let in")
	}
	handOff(t, []*session.Session{open(t, with(t, own, "cacert", cert)), open(t, with(t, own, "cacert", cert))}, "q", 2, 20)
}
