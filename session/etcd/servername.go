package etcd

import (
	"context"
	"crypto/tls"
	"net"

	"google.golang.org/grpc/credentials"
)

// expecting credentials expect one name in the certificates of all servers. The
// name in a tls.Config would not do: etcd's client overrides it with the host
// of each endpoint.
type expecting struct {
	credentials.TransportCredentials
	name string
}

func newExpecting(cfg *tls.Config, name string) expecting {
	return expecting{credentials.NewTLS(cfg), name}
}

// ClientHandshake implements credentials.TransportCredentials.
func (n expecting) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return n.TransportCredentials.ClientHandshake(ctx, n.name, conn)
}

// Clone implements credentials.TransportCredentials.
func (n expecting) Clone() credentials.TransportCredentials {
	return expecting{n.TransportCredentials.Clone(), n.name}
}
