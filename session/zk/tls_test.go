package zk_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/cert"
	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// query is the part of a URL that trusts the authority, and shows a client's
// certificate of the issuer.
func query(ca, issuer *cert.Kit) string {
	return "cacert=" + ca.File + "&cert=" + issuer.Client.Cert + "&key=" + issuer.Client.Key
}

// secured is a server with a secure port that demands certificates of its clients.
func secured(t *testing.T, ca *cert.Kit, jvm ...string) *zkserver.Server {
	t.Helper()
	return start(t, zkserver.Config{JVM: jvm, TLS: &zkserver.TLS{
		Cert: ca.Server.Cert, Key: ca.Server.Key, Authority: ca.File, ClientAuth: true,
	}})
}

// A link is below TLS: what is cut there is met again above.
func TestQueueWorksOverTLSWithClientCertificates(t *testing.T) {
	t.Parallel()
	ca := cert.NewKit(t)
	s := secured(t, ca)
	var link drivertest.Link
	p := enterAt(t, "zks://"+s.SecureAddr()+"/team?"+query(ca, ca), nil, &link)
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
	ca, stranger := cert.NewKit(t), cert.NewKit(t)
	s := secured(t, ca)
	secure := "zks://u:wrong-secret@" + s.SecureAddr()
	for what, c := range map[string]struct{ query, want string }{
		"unknown authority":     {query(stranger, ca), "unknown authority"},
		"no authority":          {"ttl=4s", "x509"},
		"wrong server name":     {"server-name=elsewhere&" + query(ca, ca), "elsewhere"},
		"no certificate":        {"cacert=" + ca.File, "tls: "},
		"another's certificate": {query(ca, stranger), "tls: "},
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
	ca, stranger := cert.NewKit(t), cert.NewKit(t)
	s := secured(t, ca, "-Dzookeeper.ssl.protocol=TLSv1.3", "-Dzookeeper.ssl.enabledProtocols=TLSv1.3", "-Dzookeeper.ssl.ciphersuites=TLS_AES_128_GCM_SHA256")
	p := enterAt(t, "zks://"+s.SecureAddr()+"?"+query(ca, ca), nil, nil)
	p.leave(p.join("q").Me)
	refusedAtOnce(t, "zks://u:wrong-secret@"+s.SecureAddr()+"?"+query(ca, stranger), "tls: ")
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
	ca := cert.NewKit(t)
	s := secured(t, ca)
	for what, raw := range map[string]string{
		"TLS to a plain port":   "zks://" + s.Addr() + "?" + query(ca, ca),
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
