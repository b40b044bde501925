//go:build unix

package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
)

func TestDevServesAndCleansUp(t *testing.T) {
	tmp := t.TempDir()
	p := start(t, "TMPDIR="+tmp, "dev", "--listen", "127.0.0.1:0")
	url := p.line()
	start(t, "lock", "a", "--store", url, "--", "true").end(0)

	listen := strings.TrimPrefix(url, "etcd://")
	contains(t, complains(t, statusFailure, "TMPDIR="+tmp, "dev", "--listen", listen), listen+" is in use", "--listen")

	p.signal(syscall.SIGTERM)
	contains(t, p.end(0), "export FAIRLEAD_STORE="+url)
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestDevKeepsItsData(t *testing.T) {
	dir := t.TempDir()
	var tokens []string
	for range 2 {
		p := start(t, "dev", "--listen", "127.0.0.1:0", "--data-dir", dir)
		lock := start(t, "lock", "a", "--store", p.line(), "--", "sh", "-c", "echo $FAIRLEAD_TOKEN")
		tokens = append(tokens, lock.line())
		lock.end(0)
		p.signal(syscall.SIGINT)
		p.end(0)
	}
	if tokens[0] == tokens[1] {
		t.Errorf("tokens %q began anew", tokens)
	}
}

func TestVersionTellsWhatTheBuildIsMadeOf(t *testing.T) {
	contains(t, start(t, "version").end(0), "fairlead ", runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH, "etcd client v3.")
	got := describe(&debug.BuildInfo{
		Main:     debug.Module{Version: "v1.2.3"},
		Deps:     []*debug.Module{{Path: etcdClient, Version: "v3.9.9"}},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}},
	})
	contains(t, got, "fairlead v1.2.3, commit abc with changes\n", "etcd client v3.9.9\n")
}
