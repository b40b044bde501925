package zkserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
)

const (
	startTimeout = 30 * time.Second

	// handshakeTimeout is long for a handshake, but the first has the server load
	// and compile much.
	handshakeTimeout = 5 * time.Second

	// startAttempts bounds how often other ports are tried.
	startAttempts = 5
)

// A Server is a ZooKeeper server, which may at times be dead. Its methods may
// be called concurrently.
type Server struct {
	config *Config
	place  *place
	child  *process.Child
}

// Start starts a standalone server and waits until it answers.
func Start(c Config) (*Server, error) {
	servers, err := launch(&c, 0, process.Reserve)
	if err != nil {
		return nil, err
	}
	return servers[0], nil
}

// launch starts an ensemble of n servers, or for 0 a standalone one, and waits
// until all answer.
func launch(c *Config, n int, reserve process.Reserver) ([]*Server, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), startTimeout,
		fmt.Errorf("not ready after %v", startTimeout))
	defer cancel()
	var err error
	for range startAttempts {
		var servers []*Server
		if servers, err = prepare(c, n, reserve); err == nil {
			err = each(servers, func(s *Server) error { return s.Restart(ctx) })
		}
		if err == nil {
			return servers, nil
		}
		closeAll(servers)
		if !errors.Is(err, process.ErrInUse) {
			break
		}
	}
	return nil, err
}

// prepare makes servers that only have to be started. What it returns beside
// an error is to be closed all the same.
func prepare(c *Config, n int, reserve process.Reserver) ([]*Server, error) {
	var servers []*Server
	var places []*place
	for i := range max(n, 1) {
		p := &place{host: process.Of(c.Hosts, i)}
		if n > 0 {
			p.id = i + 1
			places = append(places, p)
		}
		if err := p.make(c); err != nil {
			return servers, fmt.Errorf("make a directory for zookeeper: %w", err)
		}
		servers = append(servers, &Server{config: c, place: p, child: process.New("zookeeper", p.dir, p.log())})
		if err := p.reserve(c, reserve); err != nil {
			return servers, err
		}
	}
	for _, s := range servers {
		if err := c.write(s.place, places); err != nil {
			return servers, fmt.Errorf("configure zookeeper in %s: %w", s.place.dir, err)
		}
	}
	return servers, nil
}

// each calls f for all servers at the same time.
func each(servers []*Server, f func(*Server) error) error {
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() { errs[i] = f(s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func closeAll(servers []*Server) {
	_ = each(servers, func(s *Server) error { s.Close(); return nil })
}

// Addr is where clients connect, host:port.
func (s *Server) Addr() string { return s.place.client.Addr() }

// SecureAddr is where clients connect with TLS, host:port. It is empty when the
// Config has no TLS.
func (s *Server) SecureAddr() string {
	if s.config.TLS == nil {
		return ""
	}
	return s.place.secure.Addr()
}

// Dir is where the server has its configuration, data and log.
func (s *Server) Dir() string { return s.place.dir }

// Pid is the id of the server's process, and 0 while it is dead.
func (s *Server) Pid() int { return s.child.Pid() }

// Log returns what the server wrote last, in all its lives: some kilobytes. Once
// a temporary directory is gone there is nothing.
func (s *Server) Log() string { return s.child.Log() }

// Restart starts the server again, on the same ports and with the same data,
// and waits until it answers or ctx is done. In an ensemble a server answers
// only as part of a majority: restart as many as that takes at the same time.
// When Restart fails, the process is left as it is.
func (s *Server) Restart(ctx context.Context) error {
	cmd, err := command(s.config, s.place)
	if err != nil {
		return fmt.Errorf("start zookeeper in %s: %w", s.place.dir, err)
	}
	return s.child.Start(ctx, cmd, s.answers)
}

// Wipe removes all that a server has stored that does not run. In an ensemble it then takes
// everything from the others, which have to be a majority without it, and one of them the
// leader: otherwise what was acknowledged may be lost.
func (s *Server) Wipe() error { return os.RemoveAll(filepath.Join(s.place.dir, "data", "version-2")) }

// answers reports whether the server serves, on both ports if it has two: it
// opens the secure one last.
func (s *Server) answers(ctx context.Context) bool {
	if _, err := s.askMode(ctx); err != nil {
		return false
	}
	return s.config.TLS == nil || s.shakesHands(ctx)
}

// shakesHands reports whether the secure port speaks TLS, which to accept a
// connection does not prove: now and then a server just started does so and never
// says a word. To be turned away for want of a certificate is an answer.
func (s *Server) shakesHands(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := process.Dial(ctx, s.SecureAddr())
	if err != nil {
		return false
	}
	defer conn.Close()
	// Whose certificate it is will be for the client to check.
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake()
	op, ok := errors.AsType[*net.OpError](err)
	return err == nil || ok && op.Op == "remote error" // which is an alert
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
// directory. No other method may be called at the same time or later; a second Close
// does nothing.
func (s *Server) Close() {
	s.child.End()
	s.place.leave()
}
