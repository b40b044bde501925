package redisserver

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/fairlead-go/fairlead/internal/process"
)

// A Server is a Redis server or a sentinel, which may at times be dead. Its
// methods may be called concurrently.
type Server struct {
	config   *Config
	role     role
	place    *place
	password string // of the package's own user
	child    *process.Child
}

// Start starts a standalone server and waits until it answers.
func Start(c Config) (*Server, error) {
	servers, err := launch(&c, []role{{}}, process.Reserve)
	if err != nil {
		return nil, err
	}
	return servers[0], nil
}

// Addr is where clients connect, host:port.
func (s *Server) Addr() string { return s.place.client.Addr() }

// TLSAddr is where clients connect with TLS, host:port. It is empty when the
// Config has no TLS.
func (s *Server) TLSAddr() string { return s.place.secure.Addr() }

// Dir is where the server has its configuration, data and log.
func (s *Server) Dir() string { return s.place.dir }

// Pid is the id of the server's process, and 0 while it is dead.
func (s *Server) Pid() int { return s.child.Pid() }

// Log returns what the server wrote last, in all its lives: some kilobytes. Once
// a temporary directory is gone there is nothing.
func (s *Server) Log() string { return s.child.Log() }

// Restart starts the server again, on the same ports, and waits until it answers
// or ctx is done. It has the data that its Settings made it keep, by default
// none. What sentinels last told it to be, a primary or a replica, and what a
// server knows of its cluster is on disk and lasts. When Restart fails, the
// process is left as it is.
func (s *Server) Restart(ctx context.Context) error {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return fmt.Errorf("find redis (Debian's redis-server has it): %w", err)
	}
	args := []string{s.place.config()}
	if s.role.sentinel {
		args = append(args, "--sentinel")
	}
	cmd := s.place.host.Command(program, args...)
	cmd.Dir = s.place.dir
	return s.child.Start(ctx, cmd, s.answers)
}

// answers reports whether the server serves. It listens on all its ports before
// it answers on any.
func (s *Server) answers(ctx context.Context) bool {
	if _, err := ask[string](ctx, s, "PING"); err != nil {
		return false
	}
	if s.role.waken == nil {
		return true
	}
	_, err := ask[string](ctx, s, s.role.waken...)
	return err == nil
}

// Kill ends the server as a crash would, with SIGKILL, and waits until it is
// gone. Kill and what follows fail when the server does not run.
func (s *Server) Kill() error { return s.child.Kill() }

// Stop freezes the server with SIGSTOP, and returns when none of its threads
// runs any more. Its connections stay, and the system goes on to accept new
// ones in its name. Systems other than Linux cannot Stop.
func (s *Server) Stop() error { return s.child.Stop() }

// Cont lets a stopped server run on.
func (s *Server) Cont() error { return s.child.Cont() }

// Close ends the server, with SIGTERM and if that is not enough with SIGKILL,
// waits until it is gone, gives its ports back, and removes a temporary
// directory. No other method may be called at the same time or later; a second
// Close does nothing.
func (s *Server) Close() {
	s.child.End()
	s.place.leave()
}
