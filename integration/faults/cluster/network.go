package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
)

// A network joins the members of a store, each on a host of its own: a network
// namespace with an address. A bridge between them, which this program has an address
// at as well, drops what is to be cut off. There is none, and it is nil, where Enter
// was not possible; then all members are on the loopback interface.
//
// The clients are this program's, and reach all members through cuts.
type network struct {
	hosts []namespace
	gone  sync.Once
}

// A namespace lives as long as this program has it open, or a process is in it.
type namespace struct {
	file *os.File
	addr string
}

// rules drop what goes from one address of the set to the other. Nothing is refused:
// to the members it looks as if a switch had failed.
const rules = `table bridge faults {
	set cut { type ipv4_addr . ipv4_addr; }
	counter dropped { }
	chain forward {
		type filter hook forward priority 0;
		ip saddr . ip daddr @cut counter name dropped drop
	}
}`

const (
	bridge     = "faults"
	bridgeAddr = "10.7.0.254"

	linkTimeout = 10 * time.Second
)

// port is what the bridge has for a host.
func port(i int) string { return fmt.Sprint("host", i+1) }

func hostAddr(i int) string { return fmt.Sprint("10.7.0.", i+1) }

// made is full while there is a network: all of this program's would have the same
// bridge and addresses.
var made = make(chan struct{}, 1)

// newNetwork makes a network of n hosts, when the one before has been closed. It waits
// for that until ctx ends.
func newNetwork(ctx context.Context, n int) (*network, error) {
	if !Entered() {
		return nil, nil
	}
	select {
	case made <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the network before to be closed: %w", context.Cause(ctx))
	}
	w, err := joinHosts(n)
	if err != nil {
		<-made
		return nil, err
	}
	return w, nil
}

func joinHosts(n int) (_ *network, err error) {
	w := &network{}
	defer func() {
		if err != nil {
			w.remove()
		}
	}()
	for _, line := range []string{
		"ip link add " + bridge + " type bridge",
		"ip addr add " + bridgeAddr + "/24 dev " + bridge,
		"ip link set " + bridge + " up",
	} {
		if err := command(strings.Fields(line)...); err != nil {
			return nil, err
		}
	}
	if err := nft(rules); err != nil {
		return nil, err
	}
	for i := range n {
		if err := w.addHost(i); err != nil {
			return nil, err
		}
	}
	return w, w.whole()
}

// whole returns when the bridge forwards at all its ports.
func (w *network) whole() error {
	ctx, cancel := context.WithTimeout(context.Background(), linkTimeout)
	defer cancel()
	return until(ctx, "the links to be up", func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, "ip", "-details", "link", "show", "master", bridge).CombinedOutput()
		if n := strings.Count(string(out), "state forwarding"); n != len(w.hosts) {
			err = errors.Join(err, fmt.Errorf("%d of %d forward:\n%s", n, len(w.hosts), out))
		}
		return err
	})
}

func (w *network) addHost(i int) error {
	file, err := newNamespace()
	if err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	h := namespace{file, hostAddr(i)}
	w.hosts = append(w.hosts, h)
	inside := strings.Join(h.enter(), " ")
	for _, line := range []string{
		"ip link add " + port(i) + " type veth peer name eth0 netns " + h.path(),
		"ip link set " + port(i) + " master " + bridge + " up",
		inside + " ip link set lo up",
		inside + " ip addr add " + h.addr + "/24 dev eth0",
		inside + " ip link set eth0 up",
	} {
		if err := command(strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

func (h namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), h.file.Fd()) }

// enter is a command line that runs the one that follows it there.
func (h namespace) enter() []string { return []string{"nsenter", "--net=" + h.path(), "--"} }

// host is where a member runs.
func (w *network) host(i int) process.Host {
	if w == nil {
		return process.Host{Addr: process.Loopback}
	}
	return process.Host{Addr: w.hosts[i].addr, Through: w.hosts[i].enter()}
}

// all are the hosts of n members.
func (w *network) all(n int) (all []process.Host) {
	for i := range n {
		all = append(all, w.host(i))
	}
	return all
}

// Cut drops what a member sends to another, in addition to what is dropped already.
func (w *network) Cut(from, to int) error {
	if w == nil {
		return ErrNone
	}
	return nft(fmt.Sprintf("add element bridge faults cut { %s . %s }", w.hosts[from].addr, w.hosts[to].addr))
}

var packets = regexp.MustCompile(`packets (\d+)`)

// Heal ends all cuts. It returns how many packets they have dropped.
func (w *network) Heal(ctx context.Context) (dropped int, err error) {
	if w == nil {
		return 0, ErrNone
	}
	if err := nft("flush set bridge faults cut"); err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, "nft", "reset", "counter", "bridge", "faults", "dropped").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("nft: %w\n%s", err, out)
	}
	found := packets.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("nft tells no packets: %s", out)
	}
	return strconv.Atoi(string(found[1]))
}

// close takes the network down, so that another can be made.
func (w *network) close() {
	if w == nil {
		return
	}
	w.gone.Do(func() {
		w.remove()
		<-made
	})
}

// remove is close for one that is not whole. The hosts go with their last process.
func (w *network) remove() {
	for i, h := range w.hosts {
		_ = command("ip", "link", "del", port(i)) // who needs the name next will be told
		_ = h.file.Close()                        // nothing was written
	}
	_ = nft("delete table bridge faults")
	_ = command("ip", "link", "del", bridge)
}

func nft(text string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft (Debian's nftables has it): %w\n%s", err, out)
	}
	return nil
}

func command(line ...string) error {
	if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(line, " "), err, out)
	}
	return nil
}
