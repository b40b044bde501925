package zkserver

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

const loopback = "127.0.0.1"

// inUse is what the server's log has when a port is taken: Java's words.
const inUse = "Address already in use"

var errInUse = errors.New("a port that was chosen for it is in use")

// A place is what a server shares with no other.
type place struct {
	id     int // from 1; 0 for a standalone server
	dir    string
	temp   bool // dir is to be removed
	client port
	secure port // only with TLS
	quorum port // these two only in an ensemble
	elect  port
}

// A port of the loopback interface is ours until free is called.
type port struct {
	number int
	free   func()
}

func (p port) addr() string { return net.JoinHostPort(loopback, strconv.Itoa(p.number)) }

// A reserver chooses a port that nobody has. It is reserve, but in tests of what
// happens when somebody has it nevertheless.
type reserver func() (port, error)

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
func (p *place) reserve(c *Config, reserve reserver) error {
	wanted := []*port{&p.client}
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
	}
	return nil
}

// leave gives back what make and reserve got, which may be only a part. Once: what was
// given back belongs to others.
func (p *place) leave() {
	for _, q := range []*port{&p.client, &p.secure, &p.quorum, &p.elect} {
		if q.free != nil {
			q.free()
			q.free = nil
		}
	}
	if p.temp {
		_ = os.RemoveAll(p.dir) // nothing depends on it any more
	}
}

func (p *place) config() string { return filepath.Join(p.dir, "zoo.cfg") }
func (p *place) log() string    { return filepath.Join(p.dir, "log") }
