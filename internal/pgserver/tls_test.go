package pgserver

import (
	"net/url"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/internal/cert"
)

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
	ca := cert.NewKit(t)
	c := quick()
	c.TLS = &TLS{Cert: ca.Server.Cert, Key: ca.Server.Key}
	s := begin(t, c)
	addUser(t, s, "alice") // by the superuser, who need not
	url := s.URL("alice", "alice", "postgres")
	for _, u := range []string{url, with(t, url, "sslmode", "verify-full", "sslrootcert", ca.File)} {
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
	ca, stranger := cert.NewKit(t), cert.NewKit(t)
	c := quick()
	c.TLS = &TLS{Cert: ca.Server.Cert, Key: ca.Server.Key, CA: ca.File}
	s := begin(t, c)
	addUser(t, s, "alice")
	url := s.URL("alice", "alice", "postgres")
	_, err := dial(t, url)
	refused(t, "a user without a certificate", err, "28000")
	connect(t, with(t, url, "sslcert", ca.Client.Cert, "sslkey", ca.Client.Key))

	if _, err := dial(t, with(t, url, "sslcert", stranger.Client.Cert, "sslkey", stranger.Client.Key)); err == nil {
		t.Error("a certificate of somebody else's will do")
	}
	// The client may learn of the server's end of the connection before its reason.
	until(t, "the server has refused a certificate", func() bool {
		return strings.Contains(s.Log(), "could not accept SSL connection")
	})
}
