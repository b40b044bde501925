package process

import (
	"context"
	"net"
	"time"
)

// A Conn is a connection to a server for as long as its context is not done.
type Conn struct {
	net.Conn
	ctx  context.Context
	stop func() bool
}

// Dial connects to addr, host:port. When ctx is done, what the connection does
// at the time or later fails, and Explain says why.
func Dial(ctx context.Context, addr string) (*Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return &Conn{Conn: c, ctx: ctx, stop: stop}, nil
}

// Explain says that the context is the reason, where it is.
func (c *Conn) Explain(err error) error {
	if err != nil && c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return err
}

// Close closes the connection and lets go of the context.
func (c *Conn) Close() error {
	c.stop()
	return c.Conn.Close()
}
