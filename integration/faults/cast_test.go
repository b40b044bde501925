package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// oneClient is a cast of one, who finds no register and ends with an error.
func oneClient(t *testing.T, dir string) *cast {
	t.Helper()
	w, err := journal.Create(filepath.Join(dir, keeperName+".journal"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	c := &cast{dir: dir, url: func() string { return "" }}
	t.Cleanup(c.close)
	return c
}

func TestJournalOfAnEarlierRunIsNotRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := oneClient(t, dir)
	for _, name := range []string{"c1.1.journal", "c1.1.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"kind":"of an earlier run"}`+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.recruit(nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(0); err != nil { // most often before it has begun its journal
		t.Fatal(err)
	}
	lives, err := c.lives()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lives {
		if len(l.Events) > 0 {
			t.Errorf("%s has noted %+v", l.Name, l.Events)
		}
	}
	if said := c.actors[0].child.Log(); strings.Contains(said, "earlier") {
		t.Errorf("the log says %q", said)
	}
}

func TestClientThatEndsWithAnErrorIsTrouble(t *testing.T) {
	t.Parallel()
	c := oneClient(t, t.TempDir())
	if err := c.recruit(nil); err != nil {
		t.Fatal(err)
	}
	if trouble := c.dismiss(10 * time.Second); len(trouble) != 1 || !strings.Contains(trouble[0], "exit status 1") {
		t.Errorf("the trouble is %q, want one that ended with 1", trouble)
	}
	if err := c.Revive(0); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(0); err != nil {
		t.Fatal(err)
	}
	if trouble := c.dismiss(10 * time.Second); len(trouble) > 0 {
		t.Errorf("it was killed, and the trouble is %q", trouble)
	}
}
