package etcd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/integration/faults/cluster"
	"github.com/fairlead-go/fairlead/integration/internal/server"
)

// A site is a server of one member without TLS or users.
type site struct {
	*server.Server
	admin *clientv3.Client // an operator, and everybody who is not ours
}

// shared is for all tests that need no other. Each uses names of its own, and
// none does what would reach the others: etcd's own locks fail when somebody
// compacts.
var shared *site

// packageDir is where this package is: tests of clusters change the directory.
var packageDir string

func TestMain(m *testing.M) {
	cluster.ServeMember()
	if role, ok := os.LookupEnv(roleVariable); ok {
		os.Exit(playRole(role))
	}
	if url, ok := os.LookupEnv(holderURL); ok {
		if err := hold(url); err != nil {
			fmt.Fprintln(os.Stderr, "holder:", err)
			os.Exit(1)
		}
		return
	}
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	var err error
	if packageDir, err = os.Getwd(); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "fairlead-integration-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	etcdctl.binary = filepath.Join(dir, "etcdctl")
	if shared, err = newSite(filepath.Join(dir, "data")); err != nil {
		return 0, err
	}
	defer shared.stop()

	code := m.Run()
	if code == 0 {
		err = nothingRuns()
	}
	return code, err
}

func newSite(dir string) (*site, error) {
	srv, err := server.Start(server.Options{Dir: dir, NoSync: true})
	if err != nil {
		return nil, err
	}
	admin, err := server.Dial(context.Background(), srv.Addr(), nil)
	if err != nil {
		srv.Close()
		return nil, err
	}
	return &site{Server: srv, admin: admin}, nil
}

func (s *site) stop() {
	_ = s.admin.Close() // its requests are over
	s.Close()
}

// nothingRuns checks that every goroutine that Fairlead started has ended: all
// sessions are closed. The servers and clients of others are in this process
// too, and no concern of ours.
func nothingRuns() error {
	var ours []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		stacks := make([]byte, 16<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		ours = ours[:0]
		for _, g := range strings.Split(string(stacks), "\n\n")[1:] { // the first is this goroutine
			if strings.Contains(g, "github.com/fairlead-go/fairlead/") && !strings.Contains(g, "testing.(*M).Run") {
				ours = append(ours, g)
			}
		}
		if len(ours) == 0 {
			return nil
		}
	}
	return fmt.Errorf("goroutines are left:\n\n%s", strings.Join(ours, "\n\n"))
}
