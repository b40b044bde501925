//go:build unix

package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/election"
)

func TestElectRunsTheCommandWhileLeading(t *testing.T) {
	s := open(t, store)
	first := start(t, "elect", "leader", "--value", "a:1", "--", "sh", "-c", "echo up; read x; exit 9")
	first.expect("up")
	if l, err := election.New(s, "leader").Leader(t.Context()); err != nil || l.Value != "a:1" {
		t.Errorf("leader %+v, %v", l, err)
	}
	second := start(t, "elect", "leader", "--", "echo", "up")
	awaitQueue(t, s, "leader", 1, 1)
	_ = first.stdin.Close()
	first.end(9) // it ended by itself: fairlead resigns
	second.expect("up")
	second.end(0)
	awaitQueue(t, s, "leader", 0, 0)
}

func TestElectRunsTheCommandAgain(t *testing.T) {
	p := start(t, "elect", "again", "--ttl", "2s", "--", "sh", "-c",
		`trap 'echo asked; exit 0' TERM; echo "$FAIRLEAD_TOKEN $FAIRLEAD_KEY"; while :; do sleep 0.05; done`)
	token, key := termIn(t, p.line())
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{strings.Replace(store, "etcd", "http", 1)}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	if _, err := etcd.Delete(t.Context(), key); err != nil { // somebody breaks it
		t.Fatal(err)
	}
	p.expect("asked")
	if next, _ := termIn(t, p.line()); next <= token {
		t.Errorf("the second term has token %d, after %d", next, token)
	}
	p.signal(syscall.SIGTERM)
	p.expect("asked")
	p.end(0)
}

func termIn(t *testing.T, line string) (token uint64, key string) {
	t.Helper()
	number, key, _ := strings.Cut(line, " ")
	token, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return token, key
}

func TestElectEndsAfterASignal(t *testing.T) {
	s := open(t, store)
	leader := start(t, "elect", "ends", "--", "sh", "-c", `trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done`)
	leader.expect("up")
	candidate := start(t, "elect", "ends", "--", "true")
	awaitQueue(t, s, "ends", 1, 1)
	candidate.signal(syscall.SIGINT)
	candidate.end(128 + 2)
	leader.signal(syscall.SIGTERM)
	leader.end(3)
	awaitQueue(t, s, "ends", 0, 0)
}

// SIGHUP had the command read its files again, and was not to end anything.
func TestElectStandsAgainAfterASignalThatItsCommandWentOnAfter(t *testing.T) {
	t.Parallel()
	s := open(t, store)
	p := start(t, "elect", "reload", "--", "sh", "-c",
		`trap 'echo reloaded' HUP; trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done`)
	p.expect("up")
	p.signal(syscall.SIGHUP)
	p.expect("reloaded")
	term := awaitQueue(t, s, "reload", 1, 0).Holders[0].Token
	start(t, "release", "reload", "--token", fmt.Sprint(term), "--yes").end(0)
	p.expect("asked")
	p.expect("up") // in another term
	p.signal(syscall.SIGTERM)
	p.expect("asked")
	p.end(0)
}

// A command that SIGHUP ends was ended by it for good.
func TestElectEndsWhereItsCommandWasHungUp(t *testing.T) {
	t.Parallel()
	p := start(t, "elect", "hung-up", "--", "sh", "-c", `echo up; while :; do sleep 0.05; done`)
	p.expect("up")
	p.signal(syscall.SIGHUP)
	p.end(128 + int(syscall.SIGHUP))
}
