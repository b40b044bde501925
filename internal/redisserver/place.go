package redisserver

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead-go/fairlead/internal/process"
)

// nodesFile is where a server has what it knows of its cluster.
const nodesFile = "nodes.conf"

// A place is what a server shares with no other.
type place struct {
	name   string // among several servers; empty for a standalone one
	host   process.Host
	dir    string
	temp   bool // dir is to be removed
	client process.Port
	secure process.Port // only with TLS
	bus    process.Port // only in a cluster, whose servers speak to one another there
}

// make makes the directory.
func (p *place) make(c *Config) (err error) {
	if c.Dir == "" {
		p.dir, err = os.MkdirTemp("", "redis-")
		p.temp = err == nil
		return err
	}
	// The server runs in this directory, where a relative name means another.
	if p.dir, err = filepath.Abs(filepath.Join(c.Dir, p.name)); err != nil {
		return err
	}
	return os.MkdirAll(p.dir, 0o700)
}

// reserve gets the ports that a server of the configuration needs here.
func (p *place) reserve(c *Config, bus bool, reserve process.Reserver) error {
	wanted := []*process.Port{&p.client}
	if c.TLS != nil {
		wanted = append(wanted, &p.secure)
	}
	if bus {
		wanted = append(wanted, &p.bus)
	}
	for _, w := range wanted {
		var err error
		if *w, err = reserve(); err != nil {
			return err
		}
		w.Host = p.host.Addr
	}
	return nil
}

// leave gives back what make and reserve got, which may be only a part.
func (p *place) leave() {
	for _, q := range []*process.Port{&p.client, &p.secure, &p.bus} {
		q.Free()
	}
	if p.temp {
		_ = os.RemoveAll(p.dir) // nothing depends on it any more
	}
}

// peer is where other servers connect.
func (p *place) peer() process.Port {
	if p.secure.Number != 0 {
		return p.secure
	}
	return p.client
}

// write puts redis.conf, which is to have these lines, into the directory.
// Sentinels, and the servers that they command, write it anew.
func (p *place) write(lines map[string]string) error {
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&text, "%s %s\n", key, lines[key])
	}
	return os.WriteFile(p.config(), []byte(text.String()), 0o600)
}

func (p *place) config() string { return filepath.Join(p.dir, "redis.conf") }
func (p *place) log() string    { return filepath.Join(p.dir, "log") }
func (p *place) nodes() string  { return filepath.Join(p.dir, nodesFile) }
