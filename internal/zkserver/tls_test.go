package zkserver

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/cert"
)

// dialTLS connects as who trusts the authority and has the certificates.
func dialTLS(ca *cert.Kit, addr string, certs ...cert.Pair) (*tls.Conn, error) {
	config, err := ca.ClientConfig(certs...)
	if err != nil {
		return nil, err
	}
	return tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, config)
}

func TestSecurePortDemandsACertificate(t *testing.T) {
	t.Parallel()
	ca := cert.NewKit(t)
	c := quick()
	c.TLS = &TLS{Cert: ca.Server.Cert, Key: ca.Server.Key, Authority: ca.File, ClientAuth: true}
	s := start(t, c)

	conn, err := dialTLS(ca, s.SecureAddr(), ca.Client)
	if err != nil {
		t.Fatal(err)
	}
	connectOver(t, conn).create(t, "/secure", ephemeral)
	if !connect(t, s.Addr()).exists(t, "/secure") {
		t.Error("what was written to the secure port is not there on the other")
	}

	// The client's part of the handshake is done before the server has refused.
	bare, err := dialTLS(ca, s.SecureAddr())
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
	ca := cert.NewKit(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.IssueFor("rsa", key)
	if err != nil {
		t.Fatal(err)
	}
	c := quick()
	c.TLS = &TLS{Cert: pair.Cert, Key: pair.Key, Authority: ca.File}
	s := start(t, c)
	conn, err := dialTLS(ca, s.SecureAddr())
	if err != nil {
		t.Fatal(err)
	}
	connectOver(t, conn).create(t, "/secure", ephemeral)
}
