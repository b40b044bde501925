package redisserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
)

// askTimeout bounds a question that may go to a frozen server while others are
// asked as well.
const askTimeout = 500 * time.Millisecond

// Do sends the server a command, as a user who may do everything and on a
// connection of its own, and returns the answer: a string, an int64, nil, or a
// []any of these and of Errors. That the server refuses is an error, too, and an
// Error. Do blocks until the server has answered or ctx is done, and with a
// frozen server that means the latter; whether the command was carried out is
// unknown then.
func (s *Server) Do(ctx context.Context, args ...string) (any, error) {
	if len(args) == 0 {
		panic("redisserver: Do without a command")
	}
	answer, err := s.do(ctx, args)
	if err != nil {
		// What follows the command's name may be a password.
		return nil, fmt.Errorf("ask redis at %s: %s: %w", s.Addr(), args[0], err)
	}
	return answer, nil
}

func (s *Server) do(ctx context.Context, args []string) (any, error) {
	conn, err := process.Dial(ctx, s.Addr())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	commands := [][]string{args}
	if !s.role.sentinel {
		commands = [][]string{{"AUTH", admin, s.password}, args}
	}
	var text strings.Builder
	for _, c := range commands {
		text.WriteString(encode(c))
	}
	if _, err := io.WriteString(conn, text.String()); err != nil {
		return nil, conn.Explain(err)
	}
	var answer any
	for r := bufio.NewReader(conn); len(commands) > 0; commands = commands[1:] {
		if answer, err = decode(r); err != nil {
			return nil, conn.Explain(err)
		}
		if refusal, ok := answer.(Error); ok {
			return nil, refusal
		}
	}
	return answer, nil
}

// ask is Do with a bound of its own, for an answer that is to be a T.
func ask[T any](ctx context.Context, s *Server, args ...string) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer, err := s.Do(ctx, args...)
	t, ok := answer.(T)
	if err == nil && !ok {
		err = fmt.Errorf("ask redis at %s: %s: it says %v", s.Addr(), args[0], answer)
	}
	return t, err
}

// Info returns a section of what INFO tells, such as server or replication, by
// the names that it uses. It blocks as Do does.
func (s *Server) Info(ctx context.Context, section string) (map[string]string, error) {
	answer, err := s.Do(ctx, "INFO", section)
	if err != nil {
		return nil, err
	}
	text, _ := answer.(string)
	return fields(text), nil
}

// RunID returns the id of the server's present life. It blocks as Do does.
func (s *Server) RunID(ctx context.Context) (string, error) {
	info, err := s.Info(ctx, "server")
	if err == nil && info["run_id"] == "" {
		err = errors.New("it does not tell")
	}
	if err != nil {
		return "", fmt.Errorf("ask redis at %s for its run id: %w", s.Addr(), err)
	}
	return info["run_id"], nil
}

// fields reads lines of name:value.
func fields(text string) map[string]string {
	all := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			all[name] = value
		}
	}
	return all
}

// until calls check until it returns nil or ctx is done, and then returns what
// check said last.
func until(ctx context.Context, check func() error) error {
	tick := time.NewTicker(process.Poll)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; at last: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
