package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/check"
	"github.com/fairlead-go/fairlead/integration/faults/cluster"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// A forgetful cluster tells what is left only when it has been asked so often.
type forgetful struct {
	cluster.Cluster
	silent int
}

func (f *forgetful) Leftovers(context.Context) ([]string, error) {
	if f.silent--; f.silent >= 0 {
		return nil, errors.New("no leader")
	}
	return nil, nil
}

func (f *forgetful) Watchers(context.Context) (int, error) {
	if f.silent--; f.silent >= 0 {
		return 0, errors.New("no leader")
	}
	return f.silent + 10, nil
}

func TestWatchersThatAreBeingStoppedDoNotCount(t *testing.T) {
	t.Parallel()
	s := &stage{cluster: &forgetful{silent: 2}}
	if n, err := s.fewestWatchers(t.Context()); n != 7 || err != nil {
		t.Errorf("of three answers, 9, 8 and 7, the least is %d, %v", n, err)
	}
	s.cluster = &forgetful{silent: 1000}
	if _, err := s.fewestWatchers(t.Context()); err == nil {
		t.Error("there was no answer, and no error")
	}
}

func TestWhatIsLeftIsAskedForAgain(t *testing.T) {
	t.Parallel()
	s := &stage{cluster: &forgetful{silent: 2}, run: check.Run{Watchers: check.Watchers{Before: 10}}}
	if err := s.settle(t.Context(), 10*time.Second); err != nil {
		t.Errorf("after two errors it tells, and we stop with %v", err)
	}
	s.cluster = &forgetful{silent: 1000}
	if err := s.settle(t.Context(), 300*time.Millisecond); err == nil {
		t.Error("it has told nothing, and we take that for an answer")
	}
}

func TestKeeperTellsHowLongItSawNothing(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	now := journal.Now()
	ago := func(d time.Duration) int64 { return now - int64(d) }
	k.looks = []int64{ago(20 * time.Second), ago(9 * time.Second), ago(time.Second)}
	if blind, note := k.sight(ago(10 * time.Second)); blind != 8*time.Second || note != "" {
		t.Errorf("the longest since 10 s ago is %v, and what kept it is %q; want 8s, and nothing", blind, note)
	}
	k.fail(errors.New("no leader"))
	if blind, note := k.sight(ago(500 * time.Millisecond)); blind < 500*time.Millisecond || !strings.Contains(note, "no leader") {
		t.Errorf("it has seen nothing for %v, and what kept it is %q", blind, note)
	}
}

// A run that does not come to its end has a verdict all the same.
func TestRunThatIsBrokenOffIsChecked(t *testing.T) {
	o := short(t, "redis")
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	o.json = filepath.Join(t.TempDir(), "report.json")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &until{lines: lines{t}, says: "kill", then: cancel}
	results, err := torture(ctx, o, out)
	if !errors.Is(err, context.Canceled) || errors.Is(err, errViolated) {
		t.Errorf("got %v, want that the context was canceled, and nothing else", err)
	}
	looked := map[string]int{}
	for _, r := range results {
		looked[r.Check] = r.Looked
	}
	if looked["history"] == 0 || looked["exclusion"] == 0 {
		t.Errorf("looked at %v", looked)
	}
	if _, ok := looked["clean"]; ok {
		t.Error("looked for what is left, though nobody had the time to clean up")
	}
	if _, err := os.Stat(o.json); err != nil {
		t.Error(err)
	}
}

// until does something when it is told of something.
type until struct {
	lines
	says string
	then func()
}

func (u *until) Write(p []byte) (int, error) {
	if strings.Contains(string(p), u.says) {
		u.then()
	}
	return u.lines.Write(p)
}
