package zkserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// The roles that Mode tells.
const (
	Standalone = "standalone"
	Leader     = "leader"
	Follower   = "follower"
)

// askTimeout bounds a question that may go to a frozen server while others are
// asked as well.
const askTimeout = 500 * time.Millisecond

// Command sends the server a four-letter word, such as mntr, and returns its
// answer. It blocks until the server has answered or ctx is done, and with a
// frozen server that means the latter.
func (s *Server) Command(ctx context.Context, word string) (string, error) {
	answer, err := s.ask(ctx, word)
	if err != nil {
		return "", fmt.Errorf("ask zookeeper at %s: %s: %w", s.Addr(), word, err)
	}
	return answer, nil
}

func (s *Server) ask(ctx context.Context, word string) (string, error) {
	conn, err := dial(ctx, s.Addr())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, word); err != nil {
		return "", conn.explain(err)
	}
	answer, err := io.ReadAll(conn)
	return string(answer), conn.explain(err)
}

// Mode asks the server for its role: Standalone, Leader or Follower. It fails
// while the server does not serve. It blocks as Command does.
func (s *Server) Mode(ctx context.Context) (string, error) {
	answer, err := s.Command(ctx, "srvr")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(answer) {
		if mode, ok := strings.CutPrefix(line, "Mode: "); ok {
			return strings.TrimSpace(mode), nil
		}
	}
	return "", fmt.Errorf("ask zookeeper at %s for its mode: it says %q", s.Addr(), strings.TrimSpace(answer))
}

// askMode is Mode with a bound of its own.
func (s *Server) askMode(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return s.Mode(ctx)
}

// A conn is a connection for as long as its context is not done.
type conn struct {
	net.Conn
	ctx  context.Context
	stop func() bool
}

func dial(ctx context.Context, addr string) (*conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return &conn{Conn: c, ctx: ctx, stop: stop}, nil
}

// explain says that the context is the reason, where it is.
func (c *conn) explain(err error) error {
	if err != nil && c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return err
}

func (c *conn) Close() error {
	c.stop()
	return c.Conn.Close()
}
