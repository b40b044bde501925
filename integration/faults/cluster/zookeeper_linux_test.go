package cluster

import (
	"strings"
	"testing"
	"time"
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
