package etcd_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

func TestForeignEntriesTakeTheirTurn(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	s, err := concurrency.NewSession(admin)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := concurrency.NewMutex(s, prefix(t)+"/q")
	if err := m.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	v := p.join("q")
	if len(v.Ahead) != 1 || v.Ahead[0].Key != m.Key() || v.Ahead[0].ID != "" || v.Ahead[0].Kind != "" || v.Ahead[0].Mode != driver.Exclusive {
		t.Fatalf("%+v is ahead, want the foreign holder of %s", v.Ahead, m.Key())
	}
	end := p.wait(v)
	behind := make(chan error, 1)
	go func() { behind <- m.Unlock(t.Context()) }()
	if err := <-behind; err != nil {
		t.Fatal(err)
	}
	over(t, end)
	go func() { behind <- m.Lock(t.Context()) }()
	eventually(t, func() error {
		if q := p.queue("q"); len(q) != 2 {
			return fmt.Errorf("the queue is %v, want the foreign waiter in it", q)
		}
		return nil
	})
	select {
	case err := <-behind:
		t.Fatalf("the foreign waiter was let in beside our holder: %v", err)
	default:
	}
	p.leave(v.Me)
	if err := <-behind; err != nil {
		t.Fatal(err)
	}
}

// An entry of another library looks for no mark: it is removed by force or not at all,
// by its identity.
func TestForeignEntryIsBrokenByForceAlone(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	lease := leaseOf(t, admin)
	key := prefix(t) + "/q/foreign"
	put(t, admin, key, "", lease)
	read := func() driver.Entry {
		t.Helper()
		q, err := p.store.Read(t.Context(), "q", 0)
		if err != nil || len(q.Entries) != 1 || q.Entries[0].ID != "" {
			t.Fatalf("the queue is %+v, %v, want a foreign entry", q.Entries, err)
		}
		return q.Entries[0]
	}
	old := read()
	if err := p.store.Break(t.Context(), old, driver.Mark{By: "ops"}, false); !driver.IsPermanent(err) {
		t.Errorf("Break without force returned %v, want a permanent error", err)
	}
	if _, err := admin.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	put(t, admin, key, "", lease)
	if err := p.store.Break(t.Context(), old, driver.Mark{By: "ops"}, true); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Break of an entry whose key is another's now returned %v, want ErrEntryGone", err)
	}
	if err := p.store.Break(t.Context(), read(), driver.Mark{By: "ops"}, true); err != nil {
		t.Errorf("Break with force returned %v", err)
	}
	if q := p.queue("q"); len(q) != 0 {
		t.Errorf("the queue is %v after a break with force", q)
	}
}

// A mark goes with the lease of whom it is for.
func TestMarksDoNotOutliveTheirSession(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	e := p.join("q").Me
	if err := p.store.Break(t.Context(), e, driver.Mark{ID: e.ID, By: "ops"}, true); err != nil {
		t.Fatal(err)
	}
	if err := p.Revoke(t.Context()); err != nil {
		t.Fatal(err)
	}
	// One that comes too late is no mark, and ends no server.
	if err := p.store.Break(t.Context(), e, driver.Mark{ID: e.ID, By: "ops"}, false); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Break under a lease that is gone returned %v, want ErrEntryGone", err)
	}
	left, err := admin.Get(t.Context(), prefix(t)+"/", clientv3.WithPrefix())
	if err != nil || len(left.Kvs) != 0 {
		t.Errorf("left are %v, %v", left.Kvs, err)
	}
}

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

func TestJunkBarsNobodyAndIsNamedOnce(t *testing.T) {
	admin := raw(t, server, "", "")
	var log logbook
	st := connect(t, server.Endpoint()+prefix(t), &session.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, nil)
	l, _, err := st.Grant(t.Context(), driver.Spec{TTL: 30e9})
	if err != nil {
		t.Fatal(err)
	}
	p := &party{l, t, st}
	lease := leaseOf(t, admin)
	dir := prefix(t) + "/q/"
	junk := func(n int) {
		put(t, admin, fmt.Sprintf("%sunleased-%d", dir, n), "", 0)
		put(t, admin, fmt.Sprintf("%snested/%d", dir, n), "", lease)
	}
	junk(1)
	c := claim("q")
	c.Admit = func(v driver.View) bool { return len(v.Ahead) == 0 }
	first, err := p.Join(t.Context(), c)
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
	for limit := 1; limit <= 3; limit++ { // junk comes first, and does not eat up the limit
		got, err := st.Read(t.Context(), "q", limit)
		if err != nil || !slices.Equal(tokens(got.Entries), both[:min(limit, 2)]) {
			t.Errorf("Read with limit %d returned %v, %v", limit, tokens(got.Entries), err)
		}
	}
	c = claim("q")
	c.Admit = func(v driver.View) bool { return len(v.Ahead) == 0 }
	_, err = p.Join(t.Context(), c)
	if r, ok := errors.AsType[*driver.Refused](err); !ok || !slices.Equal(tokens(r.Ahead), both) {
		t.Errorf("a conditional Join behind two returned %v", err)
	}
	end := p.wait(second)
	junk(4)
	p.leave(first.Me)
	over(t, end)
	p.queue("q")
	for n := 1; n <= 4; n++ {
		if got := log.count(fmt.Sprintf("/q/unleased-%d", n)); got != 1 {
			t.Errorf("unleased-%d was logged %d times, want once", n, got)
		}
	}
	if got := log.count("nested"); got != 0 {
		t.Errorf("a key of a nested queue was logged %d times", got)
	}
	if err := errors.Join(l.Revoke(t.Context()), st.Close()); err != nil {
		t.Error(err)
	}
}

func TestGarbledEntryCountsAsForeign(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	lease := leaseOf(t, admin)
	key := fmt.Sprintf("%s/q/%x-f1xm-no-id", prefix(t), lease)
	put(t, admin, key, "\xff\x00", lease)
	v := p.join("q")
	if len(v.Ahead) != 1 || v.Ahead[0].Key != key || v.Ahead[0].ID != "" {
		t.Errorf("%+v is ahead, want the garbled key as somebody else's", v.Ahead)
	}
	put(t, admin, fmt.Sprintf("%s/.fairlead/v1/session/%x", prefix(t), lease), "no JSON", 0)
	if who, err := p.store.Identify(t.Context(), v.Ahead[0]); who != "" || err != nil {
		t.Errorf("the owner by a garbled session key: %q, %v", who, err)
	}
}

func TestNewerLayoutIsRefusedByName(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	lease := leaseOf(t, admin)
	put(t, admin, fmt.Sprintf("%s/q/%x-f2-whatever", prefix(t), lease), "", lease)
	c := claim("q")
	_, joinErr := p.Join(t.Context(), c)
	tryClaim := claim("q")
	tryClaim.Admit = func(v driver.View) bool { return len(v.Ahead) == 0 }
	for what, err := range map[string]error{
		"Join":             joinErr,
		"conditional Join": errOf(p.Join(t.Context(), tryClaim)),
		"Read":             errOf(p.store.Read(t.Context(), "q", 0)),
		"List":             errOf(p.store.List(t.Context(), "")),
		"Watch":            p.store.Watch(t.Context(), "q", func(driver.Queue) error { return nil }),
	} {
		if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "-f2-whatever") || !strings.Contains(err.Error(), "layout 2") {
			t.Errorf("%s returned %v, want a permanent error that names key and layout", what, err)
		}
	}
	if _, err := p.Resolve(t.Context(), c); !driver.IsPermanent(err) {
		t.Errorf("Resolve returned %v", err)
	}
	entries, err := p.Entries(t.Context())
	if err != nil || len(entries) != 1 {
		t.Fatalf("Entries returned %v, %v, want the one that was made", entries, err)
	}
	p.leave(entries[0])
}

func TestListReadsPages(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	const queues, each = 260, 2 // more keys than a page has
	for range each {
		for i := range queues {
			p.join(fmt.Sprintf("a/%03d", i))
		}
	}
	put(t, admin, prefix(t)+"/a/by hand/x", "", 0)
	got, err := p.store.List(t.Context(), "a/")
	if err != nil || len(got) != queues {
		t.Fatalf("List returned %d queues, %v, want %d", len(got), err, queues)
	}
	for i, q := range got {
		if q.Name != fmt.Sprintf("a/%03d", i) || len(q.Entries) != each || q.Entries[0].Token >= q.Entries[1].Token {
			t.Fatalf("queue %d is %+v", i, q)
		}
		if q.Entries[0].TTLLeft <= 0 || q.Entries[0].TTLLeft > p.TTL() {
			t.Fatalf("the first entry of queue %d has %v left of %v", i, q.Entries[0].TTLLeft, p.TTL())
		}
	}
}
