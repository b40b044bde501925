// Package server runs a real etcd server of one member in this process, on
// free ports of the loopback interface.
package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"golang.org/x/crypto/bcrypt"

	"github.com/fairlead-go/fairlead/internal/cert"
)

const startTimeout = 30 * time.Second

// Options of a server.
type Options struct {
	Dir string // where its data go; required

	// NoSync leaves out fsync: for tests, which do not survive a power cut
	// anyway, and never for measurements.
	NoSync bool

	// Authority and Pair, when set, make the server show Pair and accept no
	// client without a certificate from Authority.
	Authority *cert.Authority
	Pair      cert.Pair
}

// A Server is a running etcd server.
type Server struct {
	etcd *embed.Etcd
	tls  bool
}

// Start starts a server and waits until it is ready.
func Start(o Options) (*Server, error) {
	cfg := embed.NewConfig()
	cfg.Dir = o.Dir
	cfg.UnsafeNoFsync = o.NoSync
	cfg.BcryptCost = uint(bcrypt.MinCost)
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())

	scheme := "http"
	if o.Authority != nil {
		scheme = "https"
		cfg.ClientTLSInfo.CertFile = o.Pair.Cert
		cfg.ClientTLSInfo.KeyFile = o.Pair.Key
		cfg.ClientTLSInfo.TrustedCAFile = o.Authority.File
		cfg.ClientTLSInfo.ClientCertAuth = true
	}
	clients := []url.URL{{Scheme: scheme, Host: "127.0.0.1:0"}}
	peers := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = clients, clients
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = peers, peers
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)

	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", o.Dir, err)
	}
	select {
	case <-e.Server.ReadyNotify():
		return &Server{etcd: e, tls: o.Authority != nil}, nil
	case <-time.After(startTimeout):
		e.Close()
		return nil, fmt.Errorf("etcd in %s is not ready after %v", o.Dir, startTimeout)
	}
}

// Addr is where clients connect, host:port.
func (s *Server) Addr() string { return s.etcd.Clients[0].Addr().String() }

// URL is where clients of etcd's own kind connect, http or https.
func (s *Server) URL() string {
	if s.tls {
		return "https://" + s.Addr()
	}
	return "http://" + s.Addr()
}

// Close stops the server. Its data stay.
func (s *Server) Close() { s.etcd.Close() }

// Dial returns a client of the server, or of whatever is at addr. conf is nil
// for a server without TLS. The client logs nothing.
func Dial(ctx context.Context, addr string, conf *tls.Config, more ...func(*clientv3.Config)) (*clientv3.Client, error) {
	c := clientv3.Config{
		Endpoints:   []string{addr},
		DialTimeout: 5 * time.Second,
		TLS:         conf,
		Logger:      zap.NewNop(),
		Context:     ctx,
	}
	for _, f := range more {
		f(&c)
	}
	client, err := clientv3.New(c)
	if err != nil {
		return nil, fmt.Errorf("make a client of %s: %w", addr, err)
	}
	return client, nil
}
