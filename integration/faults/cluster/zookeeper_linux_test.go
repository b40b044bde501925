package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gozk "github.com/go-zookeeper/zk"
)

// A server that stays out of the ensemble, here as it does nothing at all, or that has
// died, is started again, and that is told.
func TestServerThatStaysOutIsStartedAgain(t *testing.T) {
	apart(t)
	started, err := startZooKeeper(bounded(t), t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer started.Close()
	c := started.(*zookeeper)
	if err := c.Recovered(bounded(t)); err != nil || len(c.Notes()) > 0 {
		t.Fatalf("Recovered returned %v, and notes %q", err, c.Notes())
	}
	leader, err := c.Leader(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	frozen := (leader + 1) % zookeeperServers
	if err := c.Freeze(frozen); err != nil {
		t.Fatal(err)
	}
	c.stray = time.Second
	if err := c.Recovered(bounded(t)); err != nil {
		t.Error(err)
	}
	if notes := c.Notes(); len(notes) != 1 || !strings.Contains(notes[0], c.Members()[frozen]+" stayed out") {
		t.Errorf("the notes are %q", notes)
	}
	if err := c.Kill(frozen); err != nil { // as if it had died by itself
		t.Fatal(err)
	}
	if err := c.Recovered(bounded(t)); err != nil {
		t.Error(err)
	}
	if notes := c.Notes(); len(notes) != 2 || !strings.Contains(notes[1], c.Members()[frozen]+" had died") {
		t.Errorf("the notes are %q", notes)
	}
}

// A server whose log is torn does not start with it, and gets what the others have.
func TestServerThatCannotReadItsLogIsStartedWithout(t *testing.T) {
	apart(t)
	started, err := startZooKeeper(bounded(t), t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer started.Close()
	c := started.(*zookeeper)
	if _, err := c.admin.Create("/kept", []byte("x"), 0, gozk.WorldACL(gozk.PermAll)); err != nil {
		t.Fatal(err)
	}
	for i := range zookeeperServers { // so that one of them leads
		if err := c.Recovered(bounded(t)); err != nil {
			t.Fatal(err)
		}
		if err := c.Kill(i); err != nil {
			t.Fatal(err)
		}
		tear(t, c.Servers()[i].Dir())
		c.filled[i] = true
		if err := errors.Join(c.Restart(bounded(t), i), c.Recovered(bounded(t))); err != nil {
			t.Fatal(err)
		}
		if notes := c.Notes(); !slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, c.Members()[i]+" could not go on with its log") }) {
			t.Errorf("the notes are %q", notes)
		}
	}
	if _, _, err := c.admin.Get("/kept"); err != nil {
		t.Error(err)
	}
}

// tear makes a server's newest log one that it cannot read.
func tear(t *testing.T, dir string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "data", "version-2", "log.*"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("its logs are %q, %v", logs, err)
	}
	f, err := os.OpenFile(slices.Max(logs), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Behind the header of 16 bytes, each record is a checksum of 8 and a length of 4.
	if _, err := f.WriteAt([]byte{0xaa, 0x71, 0xf6, 0x75}, 16+8); err != nil {
		t.Fatal(err)
	}
}
