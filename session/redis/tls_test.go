package redis_test

import (
	"net/url"
	"testing"

	"github.com/fairlead-go/fairlead/internal/cert"
	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// query is the part of a URL that trusts the authority, and shows a client's
// certificate of the issuer.
func query(ca, issuer *cert.Kit) string {
	return "cacert=" + ca.File + "&cert=" + issuer.Client.Cert + "&key=" + issuer.Client.Key
}

// secured starts a server with a port that demands certificates of its clients.
func secured(t *testing.T, ca *cert.Kit, settings map[string]string) *redisserver.Server {
	t.Helper()
	return start(t, redisserver.Config{Settings: settings, TLS: &redisserver.TLS{
		CA: ca.File, Cert: ca.Server.Cert, Key: ca.Server.Key, RequireClient: true,
	}})
}

func secureURL(s *redisserver.Server, query string) string {
	return "rediss://" + url.UserPassword(user, password).String() + "@" + s.TLSAddr() + "?" + query
}

// A link is below TLS: what is cut there is met again above.
func TestQueueWorksOverTLSWithClientCertificates(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"TLSv1.2", "TLSv1.3"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			ca := cert.NewKit(t)
			s := secured(t, ca, map[string]string{"tls-protocols": protocol})
			var link drivertest.Link
			p := enterAt(t, secureURL(s, query(ca, ca)), longTTL, &link)
			q := enterAt(t, serverURL(s, ""), longTTL, nil) // the same server, in the open
			first, second := q.join("q"), p.join("q")
			if len(second.Ahead) != 1 || second.Ahead[0].Token != first.Me.Token {
				t.Fatalf("%+v is ahead of the second, want %+v", second.Ahead, first.Me)
			}
			end := p.wait(second)
			link.Cut()
			q.leave(first.Me)
			if v := over(t, end); len(v.Ahead) != 0 {
				t.Errorf("after the first has left %+v is ahead", v.Ahead)
			}
			link.Cut()
			eventually(t, func() error { return p.Renew(bounded(t)) })
			p.leave(second.Me)
		})
	}
}

func TestOpenTellsAtOnceWhatIsWrongWithTLS(t *testing.T) {
	t.Parallel()
	ca, stranger := cert.NewKit(t), cert.NewKit(t)
	for _, protocol := range []string{"TLSv1.2", "TLSv1.3"} { // with the latter the client is done first
		s := secured(t, ca, map[string]string{"tls-protocols": protocol})
		secure := "rediss://u:wrong-secret@" + s.TLSAddr()
		for what, c := range map[string]struct{ query, want string }{
			"unknown authority":     {query(stranger, ca), "unknown authority"},
			"no authority":          {"ttl=4s", "x509"},
			"wrong server name":     {"server-name=elsewhere&" + query(ca, ca), "elsewhere"},
			"no certificate":        {"cacert=" + ca.File, "tls: "},
			"another's certificate": {query(ca, stranger), "tls: "},
		} {
			t.Run(protocol+" "+what, func(t *testing.T) {
				t.Parallel()
				refusedAtOnce(t, secure+"?"+c.query, c.want)
			})
		}
	}
}

func TestTrafficOfTheWrongKindIsToldAtOnce(t *testing.T) {
	t.Parallel()
	ca := cert.NewKit(t)
	s := secured(t, ca, nil)
	for what, c := range map[string]struct{ url, want string }{
		"TLS to a plain port":   {"rediss://u:secret@" + s.Addr() + "?" + query(ca, ca), "redis://"},
		"plain to a secure one": {"redis://u:secret@" + s.TLSAddr(), "rediss://"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			refusedAtOnce(t, c.url, c.want)
		})
	}
}
