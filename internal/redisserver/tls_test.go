package redisserver

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"github.com/fairlead-go/fairlead/internal/cert"
)

// demanding is what a server is to have that demands a certificate.
func demanding(ca *cert.Kit) *TLS {
	return &TLS{CA: ca.File, Cert: ca.Server.Cert, Key: ca.Server.Key, RequireClient: true}
}

// dialTLS connects as who trusts the authority and has the certificates.
func dialTLS(ca *cert.Kit, addr string, certs ...cert.Pair) (*tls.Conn, error) {
	config, err := ca.ClientConfig(certs...)
	if err != nil {
		return nil, err
	}
	return tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, config)
}

func connectTLS(t *testing.T, ca *cert.Kit, addr string, certs ...cert.Pair) *client {
	t.Helper()
	conn, err := dialTLS(ca, addr, certs...)
	if err != nil {
		t.Fatal(err)
	}
	return connectOver(t, conn)
}

func TestSecurePortDemandsACertificateOfTheCA(t *testing.T) {
	t.Parallel()
	ca, stranger := cert.NewKit(t), cert.NewKit(t)
	s := start(t, Config{TLS: demanding(ca)})
	connectTLS(t, ca, s.TLSAddr(), ca.Client).want(t, "OK", "SET", "secure", "1")
	connect(t, s.Addr()).want(t, "1", "GET", "secure") // the other port is as before

	for name, certs := range map[string][]cert.Pair{
		"no certificate":           nil,
		"a stranger's certificate": {stranger.Client},
	} {
		// The client's part of the handshake is done before the server has refused.
		// A client that writes may learn no more than that nobody reads.
		conn, err := dialTLS(ca, s.TLSAddr(), certs...)
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
	ca := cert.NewKit(t)
	s := start(t, Config{TLS: &TLS{CA: ca.File, Cert: ca.Server.Cert, Key: ca.Server.Key}})
	connectTLS(t, ca, s.TLSAddr()).want(t, "PONG", "PING")
}

func TestSentinelsTellTheSecureAddressOfThePrimary(t *testing.T) {
	t.Parallel()
	ca := cert.NewKit(t)
	r := startReplicated(t, Config{TLS: demanding(ca)}, 3)
	first := primary(t, r)
	sentinelsSay(t, r, first.TLSAddr())
	connectTLS(t, ca, r.Sentinels()[0].TLSAddr(), ca.Client).want(t, "PONG", "PING")
	connectTLS(t, ca, first.TLSAddr(), ca.Client).want(t, "OK", "SET", "key", "1")
	if err := r.WaitReplicated(bounded(t)); err != nil {
		t.Fatal(err)
	}
	connectTLS(t, ca, replica(t, r).TLSAddr(), ca.Client).want(t, "1", "GET", "key")
}

func TestClusterSendsSecureClientsToSecurePorts(t *testing.T) {
	t.Parallel()
	ca := cert.NewKit(t)
	c := startCluster(t, 2, Config{TLS: demanding(ca)})
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
		connectTLS(t, ca, s.TLSAddr(), ca.Client).want(t, moved(slot, o.TLSAddr()), "GET", "key")
		do(t, o, "SET", "key", "1")
		if err := c.Move(bounded(t), slot, s); err != nil {
			t.Fatal(err)
		}
		connectTLS(t, ca, s.TLSAddr(), ca.Client).want(t, "1", "GET", "key")
	}
}
