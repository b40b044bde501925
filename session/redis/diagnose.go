package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// Where the one side speaks TLS and the other does not, both may wait for more, or hang up
// without a word; and a server that does not like a certificate may hang up before it is
// heard to say so. So who has met that finds out on a connection of its own, on which no
// secret is sent.

// hush is how long a server says nothing before that is suspicious.
const hush = time.Second

var (
	errPlain  = errors.New("the server does not speak TLS on this port: use redis:// instead of rediss://")
	errSecure = errors.New("the server speaks TLS on this port: use rediss:// instead of redis://")
)

// handshake begins to speak TLS, with a server of which nothing is known yet.
func (cs *connections) handshake(ctx context.Context, addr string, secure *tls.Conn) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	suspicion := time.AfterFunc(hush, func() {
		if cs.isPlain(ctx, addr) {
			cancel(errPlain)
		}
	})
	defer suspicion.Stop()
	err := secure.HandshakeContext(ctx)
	if err != nil && context.Cause(ctx) == errPlain {
		return errPlain
	}
	return err
}

// isPlain tells whether the server answers in the open.
func (cs *connections) isPlain(ctx context.Context, addr string) bool {
	c, err := cs.try(ctx, addr)
	if err != nil {
		return false
	}
	defer c.Close()
	if _, err := io.WriteString(c, "PING\r\n"); err != nil {
		return false
	}
	var first [1]byte
	_, err = io.ReadFull(c, first[:])
	return err == nil && (first[0] == '+' || first[0] == '-')
}

// diagnose tells what keeps us from connecting for good, or nil. cfg is nil where we do not
// speak TLS.
func (cs *connections) diagnose(ctx context.Context, addr string, cfg *tls.Config) error {
	c, err := cs.try(ctx, addr)
	if err != nil {
		return nil
	}
	defer c.Close()
	if cfg == nil {
		// That it speaks TLS is all that matters.
		err := tls.Client(c, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
		if op, ok := errors.AsType[*net.OpError](err); err == nil || ok && op.Op == "remote error" {
			return errSecure
		}
		return nil
	}
	secure := tls.Client(c, cs.forHost(cfg, addr))
	if err = secure.HandshakeContext(ctx); err == nil {
		_, err = secure.Read(make([]byte, 1))
	}
	if isMismatch(err) {
		return err
	}
	return nil
}

// try makes a connection that will not last long.
func (cs *connections) try(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, hush)
	defer cancel()
	c, err := cs.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(hush)); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}
