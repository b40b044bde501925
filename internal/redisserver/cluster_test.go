package redisserver

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

func startCluster(t *testing.T, n int, c Config) *Cluster {
	t.Helper()
	began := time.Now()
	cluster, err := StartCluster(n, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v", time.Since(began))
	t.Cleanup(func() { finish(t, cluster.Servers()...) })
	return cluster
}

func owner(t *testing.T, c *Cluster, key string) *Server {
	t.Helper()
	s, err := c.Owner(bounded(t), key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// moved is how a server answers that does not have the slot.
func moved(slot int, to string) Error { return Error(fmt.Sprintf("MOVED %d %s", slot, to)) }

func TestClusterSendsClientsToTheOwner(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, Config{})
	owners := make(map[*Server]bool)
	for i := range 30 {
		key := "key" + strconv.Itoa(i)
		slot, err := c.Slot(bounded(t), key)
		if err != nil {
			t.Fatal(err)
		}
		o := owner(t, c, key)
		owners[o] = true
		connect(t, o.Addr()).want(t, "OK", "SET", key, "1")
		for _, s := range c.Servers() {
			if s != o {
				connect(t, s.Addr()).want(t, moved(slot, o.Addr()), "GET", key)
			}
		}
	}
	if len(owners) != 3 {
		t.Errorf("%d of three servers have keys", len(owners))
	}
	if got := c.Addrs(); len(got) != 3 || !slices.Contains(got, owner(t, c, "key0").Addr()) {
		t.Errorf("Addrs() = %v", got)
	}
}

func TestAMovedSlotHasAnotherOwnerAndItsKeys(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 2, Config{Users: []string{"fairlead on >secret ~* &* +@all"}})
	from := owner(t, c, "{kept}")
	for i := range 250 { // more than go at a time
		do(t, from, "SET", "{kept}"+strconv.Itoa(i), strconv.Itoa(i))
	}
	to := c.Servers()[0]
	if to == from {
		to = c.Servers()[1]
	}
	slot, err := c.Slot(bounded(t), "{kept}")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if err := c.Move(bounded(t), slot, to); err != nil {
			t.Fatal(err)
		}
	}
	if o := owner(t, c, "{kept}"); o != to {
		t.Errorf("the owner is %s, want %s", o.Addr(), to.Addr())
	}
	for i := range 250 {
		if got := do(t, to, "GET", "{kept}"+strconv.Itoa(i)); got != strconv.Itoa(i) {
			t.Errorf("the new owner has %v for key %d", got, i)
		}
	}
	client := connect(t, from.Addr())
	client.want(t, "OK", "AUTH", "fairlead", "secret")
	client.want(t, moved(slot, to.Addr()), "GET", "{kept}1")
}

func TestARestartedServerIsInItsClusterAgain(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, Config{})
	o := owner(t, c, "key")
	if err := o.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := owner(t, c, "key"); got != o {
		t.Errorf("the owner is %s, and the dead one was %s", got.Addr(), o.Addr())
	}
	if err := o.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(bounded(t)); err != nil {
		t.Fatal(err)
	}
	do(t, o, "SET", "key", "1")
}

func TestAClusterOfOneServesWhateverWasInItsDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := &place{name: "server1"}
	if err := p.make(&Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.nodes(), []byte("of another cluster"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startCluster(t, 1, Config{Dir: dir})
	connect(t, c.Addrs()[0]).want(t, "OK", "SET", "key", "1")
	if o := owner(t, c, "key"); o != c.Servers()[0] {
		t.Error("another server has the key")
	}
	if _, err := StartCluster(0, Config{}); err == nil {
		t.Error("a cluster of none is no error")
	}
}
