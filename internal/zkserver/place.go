package zkserver

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/fairlead-go/fairlead/internal/process"
)

// A place is what a server shares with no other.
type place struct {
	id     int // from 1; 0 for a standalone server
	host   process.Host
	dir    string
	temp   bool // dir is to be removed
	client process.Port
	secure process.Port // only with TLS
	quorum process.Port // these two only in an ensemble
	elect  process.Port
}

// make makes the directory.
func (p *place) make(c *Config) (err error) {
	if c.Dir == "" {
		p.dir, err = os.MkdirTemp("", "zookeeper-")
		p.temp = err == nil
		return err
	}
	// Names in zoo.cfg are relative to where java runs, which is this directory.
	if p.dir, err = filepath.Abs(c.Dir); err != nil {
		return err
	}
	if p.id != 0 {
		p.dir = filepath.Join(p.dir, "server"+strconv.Itoa(p.id))
	}
	return os.MkdirAll(p.dir, 0o700)
}

// reserve gets the ports that a server of the configuration needs here.
func (p *place) reserve(c *Config, reserve process.Reserver) error {
	wanted := []*process.Port{&p.client}
	if c.TLS != nil {
		wanted = append(wanted, &p.secure)
	}
	if p.id != 0 {
		wanted = append(wanted, &p.quorum, &p.elect)
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
	for _, q := range []*process.Port{&p.client, &p.secure, &p.quorum, &p.elect} {
		q.Free()
	}
	if p.temp {
		_ = os.RemoveAll(p.dir) // nothing depends on it any more
	}
}

func (p *place) config() string { return filepath.Join(p.dir, "zoo.cfg") }
func (p *place) log() string    { return filepath.Join(p.dir, "log") }
