//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// hold starts a program that holds something until leave is called.
func hold(t *testing.T, args ...string) *program {
	t.Helper()
	p := start(t, append(args, "--", "sh", "-c", stay)...)
	p.expect("in")
	return p
}

// wait starts programs that wait for a name, one after the other.
func wait(t *testing.T, s *session.Session, name string, holders int, args ...[]string) {
	t.Helper()
	for i, a := range args {
		start(t, append(a, "--", "true")...)
		awaitQueue(t, s, name, holders, i+1)
	}
}

// decoded returns what the program prints as JSON.
func decoded[T any](t *testing.T, args ...string) (v T) {
	t.Helper()
	out := start(t, append(args, "-o", "json")...).end(0)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("fairlead %v: %v in\n%s", args, err, out)
	}
	return v
}

func TestShowTellsWhoHoldsAndWhoWaitsForWhom(t *testing.T) {
	s := open(t, store)
	hold(t, "lock", "show/it", "--note", "rollout 7")
	wait(t, s, "show/it", 1, []string{"lock", "show/it"}, []string{"lock", "show/it"})
	q := awaitQueue(t, s, "show/it", 1, 2)
	holder := q.Holders[0]
	shown := start(t, "show", "show/it").end(0)
	contains(t, shown, "show/it: mutex, 1 holder, 2 waiters", "TTL LEFT", "rollout 7", holder.Identity, q.Waiters[0].Identity, q.Waiters[1].Identity,
		fmt.Sprintf("holder %d", holder.Token), "#1", "HELD AT MOST")
	if n := strings.Count(shown, "\n"); n > 24 {
		t.Errorf("it takes %d lines", n)
	}
	got := decoded[view.Queue](t, "show", "show/it")
	if got.Kind != "mutex" || len(got.Holders) != 1 || len(got.Waiters) != 2 || got.Holders[0].Token != holder.Token ||
		got.Holders[0].TTLLeft <= 0 || got.Holders[0].Age == nil || got.Waiters[1].WaitsFor[0] != got.Waiters[0].Token {
		t.Errorf("as JSON it is %+v", got)
	}
	contains(t, start(t, "show", "show/nobody").end(0), "show/nobody: free, nobody waits")
}

func TestShowCutsALongQueue(t *testing.T) {
	s := open(t, store)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m := semaphore.New(s, "show/long", 30)
	for range 30 {
		if _, err := m.Acquire(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	contains(t, start(t, "show", "show/long").end(0), "30 of 30 permits in use, 30 holders, nobody waits", "… and 22 more")
	if n := strings.Count(start(t, "show", "show/long", "--all").end(0), "the test"); n != 30 {
		t.Errorf("--all shows %d holders of 30", n)
	}
	if q := decoded[view.Queue](t, "show", "show/long"); len(q.Holders) != 30 {
		t.Errorf("JSON has %d holders of 30", len(q.Holders))
	}
}

func TestShowTellsWhatReadersAndPermitsWaitFor(t *testing.T) {
	s := open(t, store)
	hold(t, "lock", "--shared", "show/rw")
	hold(t, "lock", "--shared", "show/rw")
	shared, alone := []string{"lock", "--shared", "show/rw"}, []string{"lock", "show/rw"}
	wait(t, s, "show/rw", 2, alone, shared, shared)
	rw := decoded[view.Queue](t, "show", "show/rw")
	if rw.Waiters[0].WaitsFor[0] != rw.Holders[1].Token || rw.Waiters[1].WaitsFor[0] != rw.Waiters[0].Token ||
		rw.Waiters[2].WaitsFor[0] != rw.Waiters[0].Token {
		t.Errorf("readers and writers wait as in %+v", rw)
	}
	contains(t, start(t, "show", "show/rw").end(0), "shared", "exclusive", fmt.Sprintf("holder %d", rw.Holders[1].Token))

	sem := func(weight string) []string { return []string{"sem", "show/sem", "--limit", "4", "--weight", weight} }
	hold(t, sem("2")...)
	hold(t, sem("1")...)
	wait(t, s, "show/sem", 2, sem("3"), sem("1"))
	q := decoded[view.Queue](t, "show", "show/sem")
	if q.Limit != 4 || q.Holders[0].Permits != 2 || len(q.Waiters[0].WaitsFor) != 2 || q.Waiters[1].WaitsFor[0] != q.Waiters[0].Token {
		t.Errorf("permits are waited for as in %+v", q)
	}
	contains(t, start(t, "show", "show/sem").end(0), "3 of 4 permits in use", "any holder: 1 free")
}

func TestEntriesOfOtherLibrariesAreShown(t *testing.T) {
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{strings.Replace(store, "etcd", "http", 1)}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	s, err := concurrency.NewSession(etcd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	m := concurrency.NewMutex(s, "foreign/lock")
	if err := m.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	contains(t, start(t, "show", "foreign/lock").end(0), "made by another library, 1 holder", "key "+m.Key(), "TTL LEFT")
	q := decoded[view.Queue](t, "show", "foreign/lock")
	if q.Holders[0].Identity != "" || !q.Holders[0].Joined.IsZero() || q.Holders[0].Age != nil || q.Holders[0].Key != m.Key() {
		t.Errorf("as JSON it is %+v", q)
	}
	contains(t, start(t, "ls", "foreign/").end(0), "foreign/lock  -")
}

func TestListHasWhatStartsWithThePrefix(t *testing.T) {
	s := open(t, store)
	hold(t, "lock", "list/a")
	wait(t, s, "list/a", 1, []string{"lock", "list/a"})
	hold(t, "sem", "--limit", "3", "list/b")
	hold(t, "elect", "list2/c")
	lines := strings.Split(start(t, "ls", "list/").end(0), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "NAME") ||
		strings.Join(strings.Fields(lines[1])[:4], " ") != "list/a mutex 1 1" ||
		strings.Join(strings.Fields(lines[2])[:5], " ") != "list/b semaphore 3 1 0" {
		t.Errorf("the list is %q", lines)
	}
	all := decoded[[]view.Queue](t, "ls", "list")
	if len(all) != 3 || all[0].Name != "list/a" || len(all[0].Waiters) != 1 || all[2].Kind != "election" {
		t.Errorf("as JSON it is %+v", all)
	}
	if out := start(t, "ls", "list/none", "-o", "json").end(0); out != "[]\n" {
		t.Errorf("nothing is %q", out)
	}
	start(t, "ls").end(0)
}

func TestContentOfTheStoreDoesNotDriveTheTerminal(t *testing.T) {
	const hostile = "\x1b]0;owned\a\u009b2J\u202e"
	p := start(t, "elect", "hostile", "--note", hostile, "--value", hostile, "--", "sh", "-c", stay)
	p.expect("in")
	for _, args := range [][]string{
		{"show", "hostile"}, {"show", "hostile", "-o", "json"}, {"ls", "hostile"}, {"leader", "hostile"}, {"leader", "hostile", "-o", "json"},
	} {
		out := start(t, args...).end(0)
		if strings.ContainsAny(out, "\x1b\a\u009b\u202e") {
			t.Errorf("fairlead %v prints %q", args, out)
		}
	}
	contains(t, start(t, "leader", "hostile").end(0), `\x1b]0;owned\a\u009b2J\u202e`)
}

func TestWatchPrintsALineAChange(t *testing.T) {
	s := open(t, store)
	w := start(t, "watch", "watched")
	j := start(t, "watch", "watched", "-o", "json")
	next := func() (q view.Queue) {
		t.Helper()
		if err := json.Unmarshal([]byte(j.line()), &q); err != nil {
			t.Fatal(err)
		}
		return q
	}
	contains(t, w.line(), "free     watched")
	if q := next(); len(q.Holders)+len(q.Waiters) != 0 || q.Name != "watched" {
		t.Errorf("it begins as %+v", q)
	}
	first := hold(t, "lock", "watched", "--note", "first")
	contains(t, w.line(), "holds    ", "note first")
	wait(t, s, "watched", 1, []string{"lock", "watched", "--note", "second"})
	contains(t, w.line(), "waits    ", "note second")
	first.leave()
	contains(t, w.line(), "left     ", "note first", ", held")
	contains(t, w.line(), "holds    ", "note second")
	contains(t, w.line(), "left     ", "note second", ", held")
	contains(t, w.line(), "free     watched")
	for q := next(); len(q.Holders) == 0 || q.Holders[0].Note != "second"; q = next() {
	}
	if q := next(); len(q.Holders) != 0 {
		t.Errorf("it ends as %+v", q)
	}
	w.signal(syscall.SIGINT)
	w.end(128 + 2)
	j.signal(syscall.SIGTERM)
	j.end(128 + 15)
}

func TestWatchEndsWithItsReader(t *testing.T) {
	p := start(t, "lock", "reader", "--", "sh", "-c", "{ "+binary+" watch read/by; echo $? >&2; } | head -n 1; read x")
	contains(t, p.line(), "free     read/by")
	hold(t, "lock", "read/by") // the next line meets nobody
	s := open(t, store)
	awaitQueue(t, s, "reader", 1, 0)
	_ = p.stdin.Close()
	p.end(1)
	contains(t, p.stderr.String(), "141\n")
}

func TestLeaderTellsWhoLeadsOrThatNobodyDoes(t *testing.T) {
	contains(t, complains(t, statusNoLeader, "leader", "led"), `"led"`, "no leader")
	f := start(t, "leader", "led", "--follow")
	contains(t, f.line(), "nobody leads")
	j := start(t, "leader", "led", "--follow", "-o", "json")
	next := func() (l view.Leadership) {
		t.Helper()
		if err := json.Unmarshal([]byte(j.line()), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := next(); l.Leader != nil || l.Name != "led" {
		t.Errorf("nobody leads is %+v", l)
	}
	p := hold(t, "elect", "led", "--value", "10.0.0.7:80")
	contains(t, f.line(), "10.0.0.7:80, identity ", "token ")
	l := decoded[view.Leadership](t, "leader", "led")
	if l.Leader == nil || l.Leader.Value != "10.0.0.7:80" || l.Leader.Token == 0 || l.Leader.Identity == "" {
		t.Errorf("the leader is %+v", l)
	}
	if followed := next(); followed.Leader == nil || *followed.Leader != *l.Leader {
		t.Errorf("the leader is %+v, and followed it is %+v", l, followed)
	}
	lines := strings.Split(start(t, "leader", "led").end(0), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "VALUE") || !strings.HasPrefix(lines[1], "10.0.0.7:80  "+l.Leader.Identity) {
		t.Errorf("the leader is shown as %q", lines)
	}
	p.leave()
	contains(t, f.line(), "nobody leads")
	f.signal(syscall.SIGINT)
	f.end(128 + 2)
}

func TestLookingOnLeavesNothingBehind(t *testing.T) {
	s := open(t, store)
	for _, args := range [][]string{{"ls"}, {"show", "left/behind"}, {"leader", "left/behind"}} {
		p := start(t, args...)
		_, _ = io.Copy(io.Discard, p.stdout)
		_ = p.cmd.Wait()
	}
	if q, err := watch.Read(t.Context(), s, "left/behind"); err != nil || len(q.Holders)+len(q.Waiters) != 0 {
		t.Errorf("the queue is %+v, %v", q, err)
	}
}

func TestLookingOnExplainsWhatIsWrong(t *testing.T) {
	for args, want := range map[string]string{
		"show":                    "accepts 1 arg(s)",
		"show a b":                "accepts 1 arg(s)",
		"show a//b":               `part 2 of the name "a//b" is empty`,
		"watch a//b":              `part 2 of the name "a//b" is empty`,
		"leader a//b":             `part 2 of the name "a//b" is empty`,
		"ls a b":                  "accepts at most 1 arg(s)",
		"ls -o yaml":              "it is table or json",
		"leader a -o x":           "it is table or json",
		"top":                     "top needs a terminal",
		"show a --ttl -1s":        "--ttl -1s",
		"ls --store nowhere":      "no scheme",
		"watch a --output=":       "it is table or json",
		"leader --follow":         "accepts 1 arg(s)",
		"show a --all=x":          "invalid",
		"watch a --bogus":         "unknown flag: --bogus",
		"leader . -o json":        `part 1 of the name "." is "."`,
		"top a b":                 "accepts at most 1 arg(s)",
		"ls --connect-timeout 0s": "--connect-timeout 0s",
	} {
		contains(t, complains(t, statusFailure, strings.Fields(args)...), want)
	}
	contains(t, complains(t, statusFailure, "FAIRLEAD_STORE=etcd://u:secret@127.0.0.1:1", "ls", "--connect-timeout", "200ms"), "127.0.0.1:1", "200ms")
}
