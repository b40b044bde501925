package main

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/integration/faults/cluster"
	"github.com/fairlead-go/fairlead/integration/faults/plant"
)

var length = flag.Duration("length", 30*time.Second, "how long faults happen to each store")

func TestMain(m *testing.M) {
	play() // members and clients are this program, too
	goleak.VerifyTestMain(m)
}

// TestPromisesAreKeptUnderFaults has the stores take turns: each needs the machine for
// itself.
func TestPromisesAreKeptUnderFaults(t *testing.T) {
	for _, backend := range cluster.Backends() {
		t.Run(backend, func(t *testing.T) {
			if _, err := torture(t.Context(), short(t, backend), lines{t}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// short is a short run.
func short(t *testing.T, backend string) options {
	traits, err := cluster.TraitsOf(backend)
	if err != nil {
		t.Fatal(err)
	}
	o := options{backend: backend, length: *length, seed: 1, clients: 5, ttl: traits.TTL}
	if dir := os.Getenv("FAIRLEAD_FAULTS_DIR"); dir != "" { // else what fails says where its files are
		o.dir = filepath.Join(dir, strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()))
	}
	return o
}

// lines is a writer to a test's log.
type lines struct{ testing.TB }

func (l lines) Write(p []byte) (int, error) {
	l.Helper()
	l.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-backend", "paper"}, {"-minutes", "0"}, {"-clients", "2"}, {"-ttl", "-1s"}, {"-plant", "a tree"}, {"-only", "rain"}, {"more"}, {"-table"},
	} {
		if o, err := parse(args); err == nil {
			t.Errorf("%q was taken for %+v", args, o)
		}
	}
}

func TestReplayHasEverythingThatDecidesWhichFaultsHappen(t *testing.T) {
	t.Parallel()
	for _, bug := range []string{"", plant.Receipt} {
		want := options{backend: "etcd", length: 90 * time.Second, seed: 7, clients: 4, ttl: 5 * time.Second}
		want.show(bug)
		got, err := parse(strings.Fields(strings.TrimPrefix(want.replay(), "go run ./faults ")))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v, %v; want %+v", want.replay(), got, err, want)
		}
	}
	want := options{backend: "etcd", only: "exhaust the quota"}
	if line := want.replay(); !strings.HasSuffix(line, ` -only "exhaust the quota"`) {
		t.Errorf("%q leaves out the only kind of fault", line)
	}
}
