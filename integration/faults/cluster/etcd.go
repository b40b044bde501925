package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/integration/internal/server"
	"github.com/fairlead-go/fairlead/watch"
)

const (
	etcdMembers = 3
	etcdPrefix  = "/faults/"

	// askTimeout bounds a question to one member, which may be frozen.
	askTimeout = time.Second
)

// An etcd is a cluster of three members.
type etcd struct {
	*network
	timeless
	open
	selfreliant
	members []*member
	admin   *clientv3.Client // at all of them
	single  []*clientv3.Client
}

func startEtcd(ctx context.Context, dir string, _ time.Duration) (_ Cluster, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := &etcd{}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.network, err = newNetwork(ctx, etcdMembers); err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for i := range etcdMembers {
		m, err := newMember(dir, i+1, c.host(i))
		if err != nil {
			return nil, err
		}
		c.members = append(c.members, m)
	}
	errs := make([]error, len(c.members))
	var all sync.WaitGroup
	for i, m := range c.members {
		m.config.Cluster = initialCluster(c.members)
		all.Go(func() { errs[i] = m.start(starting) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, m := range c.members {
		// Not ctx, whose end does not end the store.
		one, err := server.Dial(context.WithoutCancel(ctx), m.config.Client, nil)
		if err != nil {
			return nil, err
		}
		c.single = append(c.single, one)
	}
	c.admin, err = server.Dial(context.WithoutCancel(ctx), "", nil, func(cfg *clientv3.Config) { cfg.Endpoints = c.Addrs() })
	return c, err
}

func (c *etcd) URL() string { return "etcd://" + strings.Join(c.Addrs(), ",") + etcdPrefix }

func (c *etcd) AdminURL() string { return c.URL() }

func (c *etcd) Addrs() []string {
	var addrs []string
	for _, m := range c.members {
		addrs = append(addrs, m.config.Client)
	}
	return addrs
}

func (c *etcd) Members() []string {
	var names []string
	for _, m := range c.members {
		names = append(names, m.config.Name)
	}
	return names
}

// Leader returns the member that says that it leads, the latest if several do.
func (c *etcd) Leader(ctx context.Context) (leader int, err error) {
	err = until(ctx, "a leader", func(ctx context.Context) error {
		leader = -1
		var term uint64
		for i, status := range c.statuses(ctx) {
			if status != nil && status.Leader == status.Header.MemberId && status.RaftTerm >= term {
				leader, term = i, status.RaftTerm
			}
		}
		if leader < 0 {
			return errors.New("no member leads")
		}
		return nil
	})
	return leader, err
}

// statuses asks all members; of those that do not answer it is nil.
func (c *etcd) statuses(ctx context.Context) []*clientv3.StatusResponse {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	all := make([]*clientv3.StatusResponse, len(c.members))
	var wg sync.WaitGroup
	for i, one := range c.single {
		wg.Go(func() {
			if r, err := one.Status(ctx, c.members[i].config.Client); err == nil {
				all[i] = r
			}
		})
	}
	wg.Wait()
	return all
}

func (c *etcd) Kill(i int) error                         { return c.members[i].Kill() }
func (c *etcd) Restart(ctx context.Context, i int) error { return c.members[i].start(ctx) }
func (c *etcd) Freeze(i int) error                       { return c.members[i].Stop() }
func (c *etcd) Thaw(i int) error                         { return c.members[i].Cont() }
func (c *etcd) Log(i int) string                         { return c.members[i].Log() }
func (c *etcd) DeleteEntry(ctx context.Context, _ string, e watch.Entry) error {
	_, err := c.admin.Delete(ctx, e.Key)
	return err
}

func (c *etcd) Transfer(ctx context.Context) error {
	from, err := c.Leader(ctx)
	if err != nil {
		return err
	}
	to := c.statuses(ctx)[(from+1)%len(c.members)]
	if to == nil {
		return errors.New("the member that is to lead does not answer")
	}
	_, err = c.single[from].MoveLeader(ctx, to.Header.MemberId)
	return err
}

// Maintain compacts everything up to now, so that watches that lag behind break, and
// defragments.
func (c *etcd) Maintain(ctx context.Context) error {
	r, err := c.admin.Get(ctx, etcdPrefix)
	if err != nil {
		return err
	}
	return c.defragment(ctx, r.Header.Revision)
}

// EndSession revokes the lease that the session hangs on.
func (c *etcd) EndSession(ctx context.Context, identity string) error {
	r, err := c.admin.Get(ctx, etcdPrefix+".fairlead/v1/session/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	for _, kv := range r.Kvs {
		var record struct{ Identity string }
		if err := json.Unmarshal(kv.Value, &record); err != nil {
			return err
		}
		if record.Identity != identity {
			continue
		}
		id, err := strconv.ParseInt(path.Base(string(kv.Key)), 16, 64)
		if err != nil {
			return err
		}
		_, err = c.admin.Revoke(ctx, clientv3.LeaseID(id))
		return err
	}
	return fmt.Errorf("%s has no session", identity)
}

// Deposed returns when the member has no leader, not even itself.
func (c *etcd) Deposed(ctx context.Context, i int) error {
	return until(ctx, c.members[i].config.Name+" to have no leader", func(ctx context.Context) error {
		switch status := c.statuses(ctx)[i]; {
		case status == nil:
			return errors.New("it does not answer")
		case status.Leader != 0:
			return fmt.Errorf("it follows %x in term %d", status.Leader, status.RaftTerm)
		}
		return nil
	})
}

func (c *etcd) Recovered(ctx context.Context) error {
	return until(ctx, "all members", func(ctx context.Context) error {
		for _, m := range c.members {
			if !m.healthy(ctx) {
				return fmt.Errorf("%s is not healthy", m.config.Name)
			}
		}
		return nil
	})
}

// Watchers adds up what the members say of themselves.
func (c *etcd) Watchers(ctx context.Context) (int, error) {
	total := 0
	for _, m := range c.members {
		n, err := m.metric(ctx, "etcd_debugging_mvcc_watcher_total")
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func (m *member) metric(ctx context.Context, name string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.config.Client+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			return int(n), err
		}
	}
	return 0, fmt.Errorf("%s does not tell %s", m.config.Name, name)
}

func (c *etcd) Leftovers(ctx context.Context) ([]string, error) {
	r, err := c.admin.Get(ctx, etcdPrefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, kv := range r.Kvs {
		keys = append(keys, string(kv.Key))
	}
	return keys, nil
}

func (c *etcd) Close() {
	for _, one := range append(c.single, c.admin) {
		if one != nil {
			_ = one.Close() // its requests are over
		}
	}
	var all sync.WaitGroup
	for _, m := range c.members {
		all.Go(m.close)
	}
	all.Wait()
	c.network.close()
}
