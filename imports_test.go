package fairlead_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fairlead-go/fairlead"

// A listed package, as `go list -json` has it.
type listed struct {
	ImportPath string
	Imports    []string
}

// list runs `go list` for the packages, and what they depend on if deps.
func list(t *testing.T, deps bool, packages ...string) []listed {
	t.Helper()
	args := []string{"list", "-json=ImportPath,Imports"}
	if deps {
		args = append(args, "-deps")
	}
	out, err := exec.Command("go", append(args, packages...)...).Output()
	if err != nil {
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list %v: %v\n%s", packages, err, e.Stderr)
		}
		t.Fatalf("go list %v: %v", packages, err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list %v: %v", packages, err)
		}
		all = append(all, p)
	}
}

// under reports whether the import path is one of the trees, or inside one.
func under(path string, trees ...string) bool {
	for _, tree := range trees {
		if path == tree || strings.HasPrefix(path, tree+"/") {
			return true
		}
	}
	return false
}

// without returns the list without one of its elements.
func without(list []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == one })
}

// What a program links is decided by what it imports: neither other stores'
// clients nor a server or a command line come with a lock.
func TestImportsStayLight(t *testing.T) {
	const zookeeper = "github.com/go-zookeeper/zk"
	etcd := []string{"go.etcd.io", "google.golang.org/grpc"}
	others := []string{
		"github.com/redis", "github.com/gomodule/redigo",
		"github.com/jackc", "github.com/lib/pq",
		"github.com/spf13",
		"go.etcd.io/bbolt", "go.etcd.io/raft", "go.etcd.io/etcd/server",
		"go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/exporters",
		"testing",
	}
	for _, program := range []struct {
		imports   []string
		forbidden []string
	}{
		{[]string{"/mutex", "/rwmutex", "/semaphore", "/election", "/session/etcd"}, append([]string{zookeeper}, others...)},
		{[]string{"/mutex", "/rwmutex", "/semaphore", "/election", "/session/zk"}, slices.Concat(etcd, others)},
		{[]string{"/mutex", "/rwmutex", "/semaphore", "/election", "/session/memory"}, slices.Concat([]string{zookeeper}, etcd, others)},
		{[]string{"/mutex", "/rwmutex", "/semaphore", "/election", "/session/redis"}, slices.Concat([]string{zookeeper}, etcd, without(others, "github.com/redis"))},
		{[]string{"/mutex", "/rwmutex", "/semaphore", "/election", "/session/postgres"}, slices.Concat([]string{zookeeper}, etcd, without(others, "github.com/jackc"))},
	} {
		var packages []string
		for _, p := range program.imports {
			packages = append(packages, module+p)
		}
		for _, dep := range list(t, true, packages...) {
			if under(dep.ImportPath, program.forbidden...) {
				t.Errorf("a program that imports %v links %s", program.imports, dep.ImportPath)
			}
		}
	}
}

// Whoever keeps a register of tokens need not know of locks: fence is for receivers,
// and needs the standard library alone.
func TestFenceImportsNothing(t *testing.T) {
	for _, dep := range list(t, true, module+"/fence") {
		first, _, _ := strings.Cut(dep.ImportPath, "/")
		if strings.Contains(first, ".") && dep.ImportPath != module+"/fence" {
			t.Errorf("fence links %s", dep.ImportPath)
		}
	}
}

// Dependencies point one way: primitives -> watch -> session -> driver. A
// backend imports session and driver, and only programs import a backend.
func TestImportsPointOneWay(t *testing.T) {
	const (
		driver  = module + "/session/driver"
		session = module + "/session"
		watch   = module + "/watch"
	)
	allowed := func(path string) (below []string, ruled bool) {
		switch tail := strings.TrimPrefix(path, module); {
		case path == driver:
			return nil, true
		case path == session:
			return []string{driver}, true
		case path == session+"/drivertest": // tests primitives, down to the driver
			return nil, false
		case path == session+"/embed": // a server, and the backend for it
			return []string{driver, session, session + "/etcd"}, true
		case under(path, session): // a backend
			return []string{driver, session}, true
		case path == watch:
			return []string{driver, session}, true
		case path == module+"/fence": // see TestFenceImportsNothing
			return nil, true
		case under(tail, "/mutex", "/rwmutex", "/semaphore", "/election"):
			return []string{driver, session, watch}, true
		default:
			return nil, false // programs, examples, the root
		}
	}
	ruledOnes := 0
	for _, p := range list(t, false, module+"/...") {
		below, ruled := allowed(p.ImportPath)
		if !ruled {
			continue
		}
		ruledOnes++
		for _, dep := range p.Imports {
			own := p.ImportPath != session && under(dep, p.ImportPath)
			shared := under(dep, module+"/internal")
			if under(dep, module) && !own && !shared && !slices.Contains(below, dep) {
				t.Errorf("%s imports %s", p.ImportPath, dep)
			}
		}
	}
	if ruledOnes < 5 {
		t.Errorf("only %d packages were looked at: has the layout changed?", ruledOnes)
	}
}
