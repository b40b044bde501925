package process

import (
	"cmp"
	"errors"
	"net"
	"strconv"
)

// Loopback is the address that ports are reserved on.
const Loopback = "127.0.0.1"

// inUse is what a server's log has when a port is taken: the C library's words,
// which Java repeats.
const inUse = "Address already in use"

// ErrInUse is why a start failed that other ports may help.
var ErrInUse = errors.New("a port that was chosen for it is in use")

// A Port of the loopback interface is ours until Free is called. The zero Port
// is none.
type Port struct {
	Number int
	Host   string // where it is used, if that is another address
	free   func()
}

// A Reserver chooses a port that nobody has. It is Reserve, but in tests of what
// happens when somebody has it nevertheless.
type Reserver func() (Port, error)

// Addr returns the port's address, host:port, or nothing for the zero Port.
func (p Port) Addr() string {
	if p.Number == 0 {
		return ""
	}
	return net.JoinHostPort(cmp.Or(p.Host, Loopback), strconv.Itoa(p.Number))
}

// Free gives the port back. A second call does nothing: what was given back
// belongs to others.
func (p *Port) Free() {
	if p.free != nil {
		p.free()
		p.free = nil
	}
}
