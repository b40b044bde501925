package redisserver

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
)

const (
	// slots is how many parts the keys of a cluster are divided into.
	slots = 16384

	// meetTimeout is how long servers get to meet before they are introduced
	// again: an introduction is forgotten when the other does not answer soon.
	meetTimeout = 5 * time.Second
)

// A Cluster is a Redis Cluster: several primaries, each of which has a part of
// the keys. There are no replicas, so nobody takes over what a dead one has.
type Cluster struct {
	servers []*Server
}

// StartCluster starts a cluster of n primaries, which have parts of equal size,
// and waits until all of them serve. With Config.Dir each has a directory of its
// own inside it. It takes more than two seconds, which a server waits before it
// serves.
func StartCluster(n int, c Config) (*Cluster, error) {
	if n < 1 {
		return nil, fmt.Errorf("start a cluster: %d servers are none", n)
	}
	var roles []role
	for i := range n {
		roles = append(roles, role{name: "server" + strconv.Itoa(i+1), bus: true, lines: inCluster})
	}
	servers, err := launch(&c, roles, process.Reserve)
	if err != nil {
		return nil, err
	}
	cluster := &Cluster{servers: servers}
	ctx, cancel := startContext()
	defer cancel()
	if err := cluster.form(ctx); err != nil {
		for _, s := range servers {
			err = fmt.Errorf("%w\nlog of %s:\n%s", err, s.Addr(), s.Log())
		}
		cluster.Close()
		return nil, fmt.Errorf("form a cluster: %w", err)
	}
	return cluster, nil
}

func inCluster(self *Server, _ []*Server) map[string]string {
	lines := map[string]string{
		"cluster-enabled":      "yes",
		"cluster-config-file":  nodesFile,
		"cluster-port":         strconv.Itoa(self.place.bus.Number),
		"cluster-announce-ip":  self.place.host.Addr, // otherwise one alone does not know it
		"cluster-node-timeout": "1000",
	}
	if self.config.TLS != nil {
		lines["tls-cluster"] = "yes"
	}
	return lines
}

// form divides the slots and has the servers meet.
func (c *Cluster) form(ctx context.Context) error {
	n := len(c.servers)
	for i, s := range c.servers {
		// Different ones from the start: otherwise they are made different later,
		// and who owns what is in doubt until then.
		if _, err := s.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)); err != nil {
			return err
		}
		first, last := strconv.Itoa(i*slots/n), strconv.Itoa((i+1)*slots/n-1)
		if _, err := s.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", first, last); err != nil {
			return err
		}
	}
	for {
		if err := c.introduce(ctx); err != nil {
			return err
		}
		if err := c.met(ctx); err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// introduce tells the first server where the others are.
func (c *Cluster) introduce(ctx context.Context) error {
	for _, s := range c.servers[1:] {
		port, bus := s.place.peer().Number, s.place.bus.Number
		if _, err := c.servers[0].Do(ctx, "CLUSTER", "MEET", s.place.host.Addr, strconv.Itoa(port), strconv.Itoa(bus)); err != nil {
			return err
		}
	}
	return nil
}

// met returns when all servers know all and serve.
func (c *Cluster) met(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	return c.Wait(ctx)
}

// serves returns nil when the server serves in a cluster of n.
func (s *Server) serves(ctx context.Context, n int) error {
	reply, err := ask[string](ctx, s, "CLUSTER", "INFO")
	if err != nil {
		return err
	}
	info := fields(reply)
	if info["cluster_state"] != "ok" || info["cluster_size"] != strconv.Itoa(n) || info["cluster_known_nodes"] != strconv.Itoa(n) {
		return fmt.Errorf("the cluster is %s for %s, with %s servers that have slots and %s in all, of %d",
			info["cluster_state"], s.Addr(), info["cluster_size"], info["cluster_known_nodes"], n)
	}
	return nil
}

// Servers returns all servers, dead ones too, in the order of the slots that they
// began with.
func (c *Cluster) Servers() []*Server { return slices.Clone(c.servers) }

// Addrs returns where clients connect, host:port; one of them is enough.
func (c *Cluster) Addrs() []string { return addrs(c.servers) }

// Wait returns when all servers serve again, after one was killed and restarted
// or frozen. It blocks until then or until ctx is done.
func (c *Cluster) Wait(ctx context.Context) error {
	err := until(ctx, func() error {
		return each(c.servers, func(s *Server) error { return s.serves(ctx, len(c.servers)) })
	})
	if err != nil {
		return fmt.Errorf("wait for the cluster of %v: %w", c.Addrs(), err)
	}
	return nil
}

// Close closes all servers.
func (c *Cluster) Close() { closeAll(c.servers) }
