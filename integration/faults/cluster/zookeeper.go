package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/internal/process"
	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/watch"
)

const (
	zookeeperServers = 3
	zookeeperDisk    = 256 << 20 // a busy half hour writes 80 MB of log, which the servers keep
	zookeeperRoot    = "/faults"

	// strayTime is how long a server may stay out of the ensemble when nothing is in its way any
	// more, until it is restarted, as an operator would do.
	strayTime = 45 * time.Second
)

// A zookeeper is an ensemble of three.
type zookeeper struct {
	*zkserver.Ensemble
	*network
	timeless
	open
	unlimited
	disks []*disk
	admin *gozk.Conn
	calls sync.WaitGroup // of the admin's, which know no context

	stray time.Duration

	mu     sync.Mutex
	since  []time.Time // since when a server has been seen to stay out, if it has
	filled []bool      // its disk was full, and it has what it wrote then
	notes  []string
}

func startZooKeeper(ctx context.Context, dir string, _ time.Duration) (_ Cluster, err error) {
	c := &zookeeper{stray: strayTime, since: make([]time.Time, zookeeperServers), filled: make([]bool, zookeeperServers)}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	for i := range zookeeperServers {
		d, err := newDisk(filepath.Join(dir, fmt.Sprint("server", i+1)), zookeeperDisk)
		if err != nil {
			return nil, err
		}
		c.disks = append(c.disks, d)
	}
	if c.network, err = newNetwork(ctx, zookeeperServers); err != nil {
		return nil, err
	}
	c.Ensemble, err = zkserver.StartEnsemble(zookeeperServers, zkserver.Config{
		Dir: dir, Hosts: c.network.all(zookeeperServers), NoSync: true, Commands: []string{"wchs"},
		JVM: []string{
			// It removes empty folders soon, so that one need not wait to see that nothing stays;
			// also those that never had an entry, as where a client was killed in between.
			"-Dznode.container.checkIntervalMs=500", "-Dznode.container.maxNeverUsedIntervalMs=5000",
			// Who looks for a leader asks the others again within this, and not within a
			// minute: by default a member may stay away so long after a partition.
			"-Dzookeeper.fastleader.maxNotificationInterval=2000",
			"-Dzookeeper.preAllocSize=256",
		},
	})
	if err != nil {
		return nil, err
	}
	c.admin, _, err = gozk.Connect(c.Addrs(), 30*time.Second, gozk.WithLogger(silent{}), gozk.WithLogInfo(false))
	return c, err
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func (c *zookeeper) URL() string { return "zk://" + c.ConnectString() + zookeeperRoot }

func (c *zookeeper) AdminURL() string { return c.URL() }

func (c *zookeeper) Addrs() (addrs []string) {
	for _, s := range c.Servers() {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

func (c *zookeeper) Members() (names []string) {
	for i := range c.Servers() {
		names = append(names, fmt.Sprint("zk", i+1))
	}
	return names
}

func (c *zookeeper) Leader(ctx context.Context) (int, error) {
	leader, err := c.Ensemble.Leader(ctx)
	for i, s := range c.Servers() {
		if s == leader {
			return i, nil
		}
	}
	return -1, err
}

func (c *zookeeper) Kill(i int) error               { return c.Servers()[i].Kill() }
func (c *zookeeper) Freeze(i int) error             { return c.Servers()[i].Stop() }
func (c *zookeeper) Thaw(i int) error               { return c.Servers()[i].Cont() }
func (c *zookeeper) Log(i int) string               { return c.Servers()[i].Log() }
func (c *zookeeper) Transfer(context.Context) error { return ErrNone }
func (c *zookeeper) Maintain(context.Context) error { return ErrNone }

func (c *zookeeper) Restart(ctx context.Context, i int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restart(ctx, i)
}

// restart starts a server. One whose disk was full may have torn its log, or left a gap in
// it, and end when it reads that; or the leader has a gap in its own, and sends it what does not
// follow on what it has. It is then started as an operator would: without its data,
// while the others lead and follow, from whom it takes everything. When they do not, it
// stays dead until Recovered comes back to it. c.mu is held.
func (c *zookeeper) restart(ctx context.Context, i int) error {
	s := c.Servers()[i]
	err := s.Restart(ctx)
	stuck := s.Pid() != 0 && strings.Contains(s.Log(), gapInLog)
	if err == nil || !stuck && (s.Pid() != 0 || !c.filled[i]) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), strayTime) // which may be over
	defer cancel()
	if stuck {
		if err := s.Kill(); err != nil {
			return err
		}
	}
	if followers, err := c.Followers(ctx); err != nil || len(followers) != zookeeperServers-2 {
		return nil
	}
	c.notes = append(c.notes, c.Members()[i]+" could not go on with its log, and was started again without")
	if err := s.Wipe(); err != nil {
		return err
	}
	c.filled[i] = false
	return s.Restart(ctx)
}

// gapInLog is what a server says, again and again, to which the leader sends less than it
// misses.
const gapInLog = "DIFF sync got proposal"

func (c *zookeeper) FillDisk(ctx context.Context, i int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.disks[i].fill(ctx)
	c.filled[i] = c.filled[i] || !errors.Is(err, ErrNone)
	return err
}

func (c *zookeeper) FreeDisk(ctx context.Context, i int) (died bool, err error) {
	return c.disks[i].free(ctx, c, i, c.Servers()[i].Pid)
}

// EndSession closes the session that has the record of that identity.
func (c *zookeeper) EndSession(ctx context.Context, identity string) error {
	dir := zookeeperRoot + "/.fairlead/v1/session"
	ids, err := c.children(ctx, dir)
	if err != nil {
		return err
	}
	for _, id := range ids {
		var data []byte
		err := c.ask(ctx, func() (err error) {
			data, _, err = c.admin.Get(path.Join(dir, id))
			return err
		})
		if errors.Is(err, gozk.ErrNoNode) {
			continue
		}
		if err != nil {
			return err
		}
		var record struct{ Identity string }
		if err := json.Unmarshal(data, &record); err != nil {
			return err
		}
		if record.Identity != identity {
			continue
		}
		number, err := strconv.ParseUint(id, 16, 64)
		if err != nil {
			return err
		}
		return zkserver.Expire(ctx, c.live(ctx), int64(number), passwordOf(int64(number)))
	}
	return fmt.Errorf("%s has no session", identity)
}

// live is the address of a server that serves.
func (c *zookeeper) live(ctx context.Context) string {
	i, err := c.Leader(ctx)
	if err != nil {
		i = 0
	}
	return c.Addrs()[i]
}

// passwordOf returns what proves to the servers that a session is one's own. They
// keep no passwords but make each of the session's number and a constant, with
// java.util.Random, so that all of them know those of all sessions.
func passwordOf(id int64) []byte {
	const (
		secret     = 0xB3415C00
		multiplier = 0x5DEECE66D
		mask       = 1<<48 - 1
	)
	seed := (uint64(id) ^ secret ^ multiplier) & mask
	password := make([]byte, 0, 16)
	for len(password) < cap(password) {
		seed = (seed*multiplier + 0xB) & mask
		n := uint32(seed >> 16)
		password = append(password, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	return password
}

func (c *zookeeper) DeleteEntry(ctx context.Context, _ string, e watch.Entry) error {
	return c.ask(ctx, func() error { return c.admin.Delete(e.Key, -1) })
}

// ask makes a call of the admin's, and returns when it does or when ctx ends. The call
// then goes on, until Close at the longest, and what it answers must not be looked at.
func (c *zookeeper) ask(ctx context.Context, call func() error) error {
	done := make(chan error, 1)
	c.calls.Go(func() { done <- call() })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Deposed returns when the server serves nobody.
func (c *zookeeper) Deposed(ctx context.Context, i int) error {
	return until(ctx, "the leader to serve nobody", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		answer, err := c.Servers()[i].Command(ctx, "srvr")
		if err == nil && !strings.Contains(answer, "not currently serving requests") {
			err = fmt.Errorf("it says %q", answer)
		}
		return err
	})
}

// Recovered returns when one leads and all others follow. It restarts those that do
// not come back.
func (c *zookeeper) Recovered(ctx context.Context) error {
	return until(ctx, "all servers", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*askTimeout)
		defer cancel()
		leader, err := c.Ensemble.Leader(ctx)
		if err != nil {
			return err
		}
		followers, err := c.Followers(ctx)
		if err == nil && len(followers) != zookeeperServers-1 {
			err = fmt.Errorf("%d servers follow", len(followers))
		}
		return errors.Join(err, c.fetch(ctx, append(followers, leader)))
	})
}

// fetch restarts the servers that have died by themselves, as one does a while after its
// disk was full, and those that have run for long and are not among those that take part.
func (c *zookeeper) fetch(ctx context.Context, part []*zkserver.Server) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.Servers() {
		dead, why := s.Pid() == 0, fmt.Sprintf("stayed out of the ensemble for %v", c.stray)
		switch {
		case dead:
			why = "had died"
		case slices.Contains(part, s):
			c.since[i] = time.Time{}
			continue
		case c.since[i].IsZero():
			c.since[i] = time.Now()
			continue
		case time.Since(c.since[i]) < c.stray:
			continue
		}
		lines := strings.Split(strings.TrimSpace(s.Log()), "\n")
		c.notes = append(c.notes, fmt.Sprintf("%s %s, and was started again; it said last: %s", c.Members()[i], why, lines[len(lines)-1]))
		c.since[i] = time.Time{}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), strayTime)
		defer cancel()
		if !dead {
			if err := s.Kill(); err != nil {
				return err
			}
		}
		return c.restart(ctx, i)
	}
	return nil
}

// Notes tells of the servers that were started again.
func (c *zookeeper) Notes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.notes)
}

var totalWatches = regexp.MustCompile(`Total watches:(\d+)`)

// Watchers adds up what the servers say of themselves.
func (c *zookeeper) Watchers(ctx context.Context) (total int, err error) {
	for _, addr := range c.Addrs() {
		n, err := watchesAt(ctx, addr)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func watchesAt(ctx context.Context, addr string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := process.Dial(ctx, addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "wchs"); err != nil {
		return 0, conn.Explain(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		return 0, conn.Explain(err)
	}
	found := totalWatches.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("the server at %s says %q", addr, text)
	}
	return strconv.Atoi(string(found[1]))
}

func (c *zookeeper) Leftovers(ctx context.Context) ([]string, error) {
	err := c.ask(ctx, func() error {
		_, err := c.admin.Sync("/")
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.tree(ctx, zookeeperRoot)
}

// tree returns the paths of a node and of all below it, none if it is not there.
func (c *zookeeper) tree(ctx context.Context, node string) ([]string, error) {
	names, err := c.children(ctx, node)
	if err != nil || names == nil {
		return nil, err
	}
	all := []string{node}
	for _, name := range names {
		below, err := c.tree(ctx, path.Join(node, name))
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

// children is nil where there is no node.
func (c *zookeeper) children(ctx context.Context, node string) ([]string, error) {
	var names []string
	err := c.ask(ctx, func() (err error) {
		names, _, err = c.admin.Children(node)
		return err
	})
	if errors.Is(err, gozk.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return append([]string{}, names...), nil
}

func (c *zookeeper) Close() {
	if c.admin != nil {
		c.admin.Close() // ends its calls
	}
	c.calls.Wait()
	if c.Ensemble != nil {
		c.Ensemble.Close()
	}
	c.network.close()
	for _, d := range c.disks {
		d.close()
	}
}
