package zkserver

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
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
	conn, err := process.Dial(ctx, s.Addr())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, word); err != nil {
		return "", conn.Explain(err)
	}
	answer, err := io.ReadAll(conn)
	return string(answer), conn.Explain(err)
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
