package redisserver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// Slot returns the slot that the key belongs to. It asks the first server that
// answers, and blocks no longer than until ctx is done.
func (c *Cluster) Slot(ctx context.Context, key string) (int, error) {
	var errs []error
	for _, s := range c.servers {
		slot, err := ask[int64](ctx, s, "CLUSTER", "KEYSLOT", key)
		if err == nil {
			return int(slot), nil
		}
		errs = append(errs, err)
	}
	return 0, errors.Join(errs...)
}

// Owner returns the server that has the key's slot, which may be dead. It blocks
// until all servers that answer agree who it is, or ctx is done.
func (c *Cluster) Owner(ctx context.Context, key string) (*Server, error) {
	slot, err := c.Slot(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("find the owner of key %q: %w", key, err)
	}
	return c.owner(ctx, slot)
}

func (c *Cluster) owner(ctx context.Context, slot int) (*Server, error) {
	var owner *Server
	err := until(ctx, func() error {
		owner = nil
		var errs []error
		for _, s := range c.servers {
			port, err := s.ownerOf(ctx, slot)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			for _, o := range c.servers {
				if o.place.client.Number != port {
					continue
				}
				if owner != nil && owner != o {
					return fmt.Errorf("%s and %s both have it", owner.Addr(), o.Addr())
				}
				owner = o
			}
		}
		if owner == nil {
			return errors.Join(errs...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the owner of slot %d: %w", slot, err)
	}
	return owner, nil
}

// ownerOf returns the port of the server that has the slot, in this server's
// opinion.
func (s *Server) ownerOf(ctx context.Context, slot int) (int, error) {
	reply, err := ask[[]any](ctx, s, "CLUSTER", "SLOTS")
	if err != nil {
		return 0, err
	}
	for _, r := range reply {
		// First and last slot, then the primary and replicas: each a host, a port
		// and more.
		entry, _ := r.([]any)
		if len(entry) < 3 {
			continue
		}
		first, _ := entry[0].(int64)
		last, _ := entry[1].(int64)
		primary, _ := entry[2].([]any)
		if int64(slot) < first || int64(slot) > last || len(primary) < 2 {
			continue
		}
		port, _ := primary[1].(int64)
		return int(port), nil
	}
	return 0, fmt.Errorf("%s knows of nobody who has slot %d", s.Addr(), slot)
}

// Move moves a slot and its keys to another server, as an operator would who
// gives servers other shares. All servers have to be there. It returns when all
// of them know; clients that do not are told where it has gone.
func (c *Cluster) Move(ctx context.Context, slot int, to *Server) error {
	if err := c.move(ctx, slot, to); err != nil {
		return fmt.Errorf("move slot %d to %s: %w", slot, to.Addr(), err)
	}
	return nil
}

func (c *Cluster) move(ctx context.Context, slot int, to *Server) error {
	from, err := c.owner(ctx, slot)
	if err != nil || from == to {
		return err
	}
	fromID, err := from.clusterID(ctx)
	if err != nil {
		return err
	}
	toID, err := to.clusterID(ctx)
	if err != nil {
		return err
	}
	number := strconv.Itoa(slot)
	if _, err := to.Do(ctx, "CLUSTER", "SETSLOT", number, "IMPORTING", fromID); err != nil {
		return err
	}
	if _, err := from.Do(ctx, "CLUSTER", "SETSLOT", number, "MIGRATING", toID); err != nil {
		return err
	}
	if err := from.sendKeys(ctx, number, to); err != nil {
		return err
	}
	// First the new owner, so that there is one at any time.
	for _, s := range append([]*Server{to, from}, c.servers...) {
		if _, err := s.Do(ctx, "CLUSTER", "SETSLOT", number, "NODE", toID); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) clusterID(ctx context.Context) (string, error) {
	answer, err := s.Do(ctx, "CLUSTER", "MYID")
	id, _ := answer.(string)
	return id, err
}

// sendKeys sends all keys of a slot to another server.
func (s *Server) sendKeys(ctx context.Context, slot string, to *Server) error {
	const batch, timeout = "100", "5000" // ms
	for {
		answer, err := s.Do(ctx, "CLUSTER", "GETKEYSINSLOT", slot, batch)
		if err != nil {
			return err
		}
		keys, _ := answer.([]any)
		if len(keys) == 0 {
			return nil
		}
		send := []string{"MIGRATE", to.place.host.Addr, strconv.Itoa(to.place.peer().Number), "", "0", timeout,
			"AUTH2", admin, to.password, "KEYS"}
		for _, k := range keys {
			key, _ := k.(string)
			send = append(send, key)
		}
		if _, err := s.Do(ctx, send...); err != nil {
			return err
		}
	}
}
