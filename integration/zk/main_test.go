package zk_test

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	gozk "github.com/go-zookeeper/zk"
	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/internal/zkserver"
)

// A place is an ensemble and somebody who looks at it from outside.
type place struct {
	*zkserver.Ensemble
	admin *gozk.Conn
}

var (
	// calm is for tests that leave the servers alone. They run in parallel.
	calm *place

	// rough is for those that do not, one after the other.
	rough *place
)

func TestMain(m *testing.M) {
	if url, ok := os.LookupEnv(holderURL); ok {
		if err := hold(url); err != nil {
			fmt.Fprintln(os.Stderr, "holder:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i, p := range []**place{&calm, &rough} {
		wg.Go(func() { *p, errs[i] = settle() })
	}
	wg.Wait()
	code := 1
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	for _, p := range []*place{calm, rough} {
		if p != nil {
			p.leave()
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// settle starts an ensemble. It removes empty folders soon, so that tests need not
// wait long to see that nothing stays, and so that folders vanish under whoever is
// about to use them.
func settle() (*place, error) {
	e, err := zkserver.StartEnsemble(3, zkserver.Config{
		NoSync:   true,
		Commands: []string{"cons"},
		JVM:      []string{"-Dznode.container.checkIntervalMs=200"},
	})
	if err != nil {
		return nil, err
	}
	var addrs []string
	for _, s := range e.Servers() {
		addrs = append(addrs, s.Addr())
	}
	admin, _, err := gozk.Connect(addrs, 30*time.Second, gozk.WithLogger(silent{}), gozk.WithLogInfo(false))
	if err != nil {
		e.Close()
		return nil, err
	}
	return &place{e, admin}, nil
}

func (p *place) leave() {
	p.admin.Close()
	p.Close()
}

type silent struct{}

func (silent) Printf(string, ...any) {}
