package zk_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/zk"
)

// A logbook collects what is logged.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logbook) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), s)
}

const someGUID = "01234567-89ab-cdef-0123-456789abcdef"

func alone(v driver.View) bool { return len(v.Ahead) == 0 }

func TestJunkBarsNobodyAndIsNamedOnce(t *testing.T) {
	t.Parallel()
	var log logbook
	opts := &session.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	p := enterAt(t, "zk://"+server.Addr()+prefix(t), opts, nil)
	h := byHand(t, server.Addr(), "")
	dir := prefix(t) + "/q/"
	h.make(prefix(t) + "/q")
	var nodes []string
	junk := func(n int) {
		nodes = append(nodes,
			h.put(fmt.Sprintf("%sREADME-%d", dir, n), "text", gozk.FlagPersistent),
			h.put(fmt.Sprintf("%sdigits-%09d", dir, n), "", gozk.FlagEphemeral),
			h.put(dir+"_c_"+someGUID+"-lock-", "", gozk.FlagSequence), // whose owner would have to be gone for it to go
			h.put(dir+"lock-", "", gozk.FlagSequence),
		)
	}
	junk(1)
	c := claim("q")
	c.Admit = alone
	first, err := p.Join(bounded(t), c)
	if err != nil || len(first.Ahead) != 0 {
		t.Fatalf("with nothing but junk ahead, Join returned %+v, %v", first, err)
	}
	junk(2)
	second := p.join("q")
	if len(second.Ahead) != 1 || second.Ahead[0].Token != first.Me.Token {
		t.Errorf("%+v is ahead of the second, want the first", second.Ahead)
	}
	junk(3)
	both := []uint64{first.Me.Token, second.Me.Token}
	if q := p.queue("q"); !slices.Equal(q, both) {
		t.Errorf("the queue is %v, want %v", q, both)
	}
	for n := 1; n <= 3; n++ { // junk comes first, and does not eat up the number
		got, err := p.store.Read(bounded(t), "q", n)
		if err != nil || !slices.Equal(tokens(got.Entries), both[:min(n, 2)]) {
			t.Errorf("Read of the first %d returned %v, %v", n, tokens(got.Entries), err)
		}
	}
	c = claim("q")
	c.Admit = alone
	_, err = p.Join(bounded(t), c)
	if r, ok := errors.AsType[*driver.Refused](err); !ok || !slices.Equal(tokens(r.Ahead), both) {
		t.Errorf("a conditional Join behind two returned %v", err)
	}
	end := p.wait(second)
	junk(4)
	p.leave(first.Me)
	over(t, end)
	p.queue("q")
	for _, node := range nodes {
		if got := log.count("node=" + node + "\n"); got != 1 {
			t.Errorf("%s was logged %d times, want once", node, got)
		}
	}
}

// An entry of another library looks for no mark: it is removed by force or not at all.
func TestForeignEntryIsBrokenByForceAlone(t *testing.T) {
	t.Parallel()
	p, h := enter(t, nil), byHand(t, server.Addr(), "")
	h.make(prefix(t) + "/q")
	h.put(prefix(t)+"/q/_c_"+someGUID+"-lock-", "", gozk.FlagEphemeral|gozk.FlagSequence)
	q, err := p.store.Read(bounded(t), "q", 0)
	if err != nil || len(q.Entries) != 1 || q.Entries[0].ID != "" {
		t.Fatalf("the queue is %+v, %v, want a foreign entry", q.Entries, err)
	}
	e := q.Entries[0]
	if err := p.store.Break(bounded(t), e, driver.Mark{By: "ops"}, false); !driver.IsPermanent(err) {
		t.Errorf("Break without force returned %v, want a permanent error", err)
	}
	other := e
	other.Token++
	if err := p.store.Break(bounded(t), other, driver.Mark{By: "ops"}, true); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Break of another token returned %v, want ErrEntryGone", err)
	}
	if err := p.store.Break(bounded(t), e, driver.Mark{By: "ops"}, true); err != nil {
		t.Errorf("Break with force returned %v", err)
	}
	if q := p.queue("q"); len(q) != 0 {
		t.Errorf("the queue is %v after a break with force", q)
	}
}

// Marks are in the session's node. What resolves a claim sets that, too, and keeps them.
func TestResolveKeepsMarks(t *testing.T) {
	t.Parallel()
	p := enter(t, nil)
	e := p.join("q").Me
	mark := driver.Mark{ID: e.ID, By: "ops", Reason: "why"}
	if err := p.store.Break(bounded(t), e, mark, false); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Resolve(bounded(t), claim("q")); !errors.Is(err, driver.ErrEntryGone) {
		t.Fatalf("Resolve of a claim that was never made returned %v", err)
	}
	if marks, err := p.Marks(bounded(t)); err != nil || !slices.Equal(marks, []driver.Mark{mark}) {
		t.Errorf("the marks are %v, %v, want %v", marks, err, mark)
	}
	p.join("q") // at the epoch that both have moved
	if who, err := p.store.Identify(bounded(t), e); err != nil || who == "" {
		t.Errorf("the session's identity is %q, %v", who, err)
	}
}

func TestJunkKeepsNoLimitInForce(t *testing.T) {
	t.Parallel()
	p, h := enter(t, nil), byHand(t, server.Addr(), "")
	h.make(prefix(t) + "/s")
	h.put(prefix(t)+"/s/README", "text", gozk.FlagPersistent)
	h.put(prefix(t)+"/s/lock-", "", gozk.FlagSequence)
	for _, limit := range []int64{3, 1, 2} {
		c := claim("s")
		c.Kind, c.Mode, c.Limit = "semaphore", driver.Permit, limit
		v, err := p.Join(bounded(t), c)
		if err != nil || v.Limit.N != limit || len(v.Ahead) != 0 {
			t.Fatalf("Join with the limit %d of an empty queue returned %+v, %v", limit, v, err)
		}
		p.leave(v.Me)
	}
}

func TestForeignEntriesTakeTheirTurn(t *testing.T) {
	t.Parallel()
	p, h := enter(t, nil), byHand(t, server.Addr(), "")
	lock := gozk.NewLock(h.Conn, prefix(t)+"/q", world)
	if err := lock.Lock(); err != nil {
		t.Fatal(err)
	}
	v := p.join("q")
	if len(v.Ahead) != 1 || v.Ahead[0].ID != "" || v.Ahead[0].Kind != "" || v.Ahead[0].Mode != driver.Exclusive {
		t.Fatalf("%+v is ahead, want the foreign holder", v.Ahead)
	}
	end := p.wait(v)
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	over(t, end)
	locked := make(chan error, 1)
	go func() { locked <- lock.Lock() }()
	eventually(t, func() error {
		if q := p.queue("q"); len(q) != 2 {
			return fmt.Errorf("the queue is %v, want the foreign waiter in it", q)
		}
		return nil
	})
	select {
	case err := <-locked:
		t.Fatalf("the foreign waiter was let in beside our holder: %v", err)
	default:
	}
	p.leave(v.Me)
	if err := <-locked; err != nil {
		t.Fatal(err)
	}
	try := claim("q")
	try.Admit = alone
	if _, err := p.Join(bounded(t), try); !errors.Is(err, driver.ErrRefused) {
		t.Errorf("a conditional Join behind the foreign holder returned %v", err)
	}
}

func TestGarbledEntryCountsAsForeign(t *testing.T) {
	t.Parallel()
	p, h := enter(t, nil), byHand(t, server.Addr(), "")
	h.make(prefix(t) + "/q")
	for _, data := range []string{"", "\xff\x00", "fairlead ", "fairlead {\n", "fairlead {\"layout\":\"one\"}\n"} {
		key := h.put(prefix(t)+"/q/_c_"+someGUID+"-lock-", data, gozk.FlagSequence|gozk.FlagEphemeral)
		v := p.join("q")
		if len(v.Ahead) != 1 || v.Ahead[0].Key != key || v.Ahead[0].ID != "" || v.Ahead[0].Value != data {
			t.Errorf("%+v is ahead, want %s as somebody else's", v.Ahead, key)
		}
		if who, err := p.store.Identify(bounded(t), v.Ahead[0]); who != "" || err != nil {
			t.Errorf("its owner is %q, %v", who, err)
		}
		p.leave(v.Me)
		if err := h.Delete(key, -1); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewerLayoutIsRefusedByName(t *testing.T) {
	t.Parallel()
	p, h := enter(t, nil), byHand(t, server.Addr(), "")
	h.make(prefix(t) + "/q")
	key := h.put(prefix(t)+"/q/_c_"+someGUID+"-lock-", "fairlead {\"layout\":2}\n", gozk.FlagSequence|gozk.FlagEphemeral)
	c, try := claim("q"), claim("q")
	try.Admit = alone
	for what, err := range map[string]error{
		"Join":             errOf(p.Join(bounded(t), c)),
		"conditional Join": errOf(p.Join(bounded(t), try)),
		"Read":             errOf(p.store.Read(bounded(t), "q", 0)),
		"List":             errOf(p.store.List(bounded(t), "")),
		"Watch":            p.store.Watch(bounded(t), "q", func(driver.Queue) error { return nil }),
	} {
		if !driver.IsPermanent(err) || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "layout 2") {
			t.Errorf("%s returned %v, want a permanent error that names node and layout", what, err)
		}
	}
	if _, err := p.Resolve(bounded(t), c); !driver.IsPermanent(err) {
		t.Errorf("Resolve returned %v", err)
	}
	entries, err := p.Entries(bounded(t))
	if err != nil || len(entries) != 1 || entries[0].ID != c.ID {
		t.Fatalf("Entries returned %v, %v, want the one that was made", entries, err)
	}
	p.leave(entries[0])
}

func TestGarbledLimitIsNamed(t *testing.T) {
	t.Parallel()
	p, h := enter(t, nil), byHand(t, server.Addr(), "")
	dir := prefix(t) + "/.fairlead/v1/limit"
	h.make(dir)
	node := h.put(dir+"/s", "many", gozk.FlagPersistent)
	c := claim("s")
	c.Kind, c.Mode, c.Limit = "semaphore", driver.Permit, 1
	if _, err := p.Join(bounded(t), c); !driver.IsPermanent(err) || !strings.Contains(err.Error(), node) {
		t.Errorf("Join returned %v, want a permanent error that names %s", err, node)
	}
	if q := p.queue("s"); len(q) != 0 {
		t.Errorf("an entry is left in the queue: %v", q)
	}
	if err := h.Delete(node, -1); err != nil {
		t.Fatal(err)
	}
	v, err := p.Join(bounded(t), c)
	if err != nil {
		t.Fatalf("after the node was deleted: %v", err)
	}
	p.leave(v.Me)
}

func TestEveryNameIsAQueue(t *testing.T) {
	t.Parallel()
	p := enter(t, nil)
	for _, name := range zk.Hostile {
		p.join(name)
	}
	all, err := p.store.List(bounded(t), "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, q := range all {
		if names = append(names, q.Name); len(q.Entries) != 1 {
			t.Errorf("the queue %q has %d entries", q.Name, len(q.Entries))
		}
	}
	want := slices.Clone(zk.Hostile)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("the queues are %q, want %q", names, want)
	}
	root := enterAt(t, "zk://"+server.Addr(), nil, nil) // where ZooKeeper has a node of its own
	v := root.join("zookeeper")
	if q := root.queue("zookeeper"); !slices.Equal(q, []uint64{v.Me.Token}) {
		t.Errorf("the queue zookeeper is %v", q)
	}
}
