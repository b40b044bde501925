package redisserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
)

const (
	startTimeout = 30 * time.Second

	// startAttempts bounds how often other ports are tried.
	startAttempts = 5
)

// A role is what a server is among others. The zero role is to be alone.
type role struct {
	name     string   // of its directory, if not a temporary one
	bus      bool     // it has a port for the other servers of its cluster
	sentinel bool     // it holds no data, and watches those that do
	waken    []string // a command that each life begins with, nil for none

	// lines are for redis.conf, and may depend on where the others are; the first
	// is first. Nil means that there are none.
	lines func(self *Server, all []*Server) map[string]string
}

// launch starts servers of these roles, the first before the others because they
// may need it, and waits until all answer.
func launch(c *Config, roles []role, reserve process.Reserver) ([]*Server, error) {
	ctx, cancel := startContext()
	defer cancel()
	var err error
	for range startAttempts {
		var servers []*Server
		if servers, err = prepare(c, roles, reserve); err == nil {
			err = servers[0].Restart(ctx)
		}
		if err == nil {
			err = each(servers[1:], func(s *Server) error { return s.Restart(ctx) })
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

func startContext() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), startTimeout,
		fmt.Errorf("not ready after %v", startTimeout))
}

// prepare makes servers that only have to be started. What it returns beside
// an error is to be closed all the same.
func prepare(c *Config, roles []role, reserve process.Reserver) ([]*Server, error) {
	var servers []*Server
	password := rand.Text()
	for i, r := range roles {
		p := &place{name: r.name, host: process.Of(c.Hosts, i)}
		if err := p.make(c); err != nil {
			return servers, fmt.Errorf("make a directory for redis: %w", err)
		}
		servers = append(servers, &Server{
			config: c, role: r, place: p, password: password,
			child: process.New("redis", p.dir, p.log()),
		})
		if err := p.reserve(c, r.bus, reserve); err != nil {
			return servers, err
		}
	}
	for _, s := range servers {
		if err := s.configure(servers); err != nil {
			return servers, fmt.Errorf("configure redis in %s: %w", s.place.dir, err)
		}
	}
	return servers, nil
}

func (s *Server) configure(all []*Server) error {
	var own map[string]string
	if s.role.lines != nil {
		own = s.role.lines(s, all)
	}
	if s.role.bus {
		// What a cluster that was here before, or a try with other ports, knew.
		if err := os.RemoveAll(s.place.nodes()); err != nil {
			return err
		}
	}
	lines, err := s.config.lines(s, own)
	if err != nil {
		return err
	}
	return s.place.write(lines)
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
