package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// A journal is a log that a test reads.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

// mentions counts the lines with text in them.
func (j *journal) mentions(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for line := range strings.Lines(j.buf.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// put puts a key by hand, and removes it when the test ends.
func put(t *testing.T, key, value string) {
	t.Helper()
	if _, err := shared.admin.Put(bounded(t), key, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := shared.admin.Delete(context.Background(), key); err != nil {
			t.Error(err)
		}
	})
}

// A key that somebody put by hand has no lease, and so would be waited for until
// somebody removes it by hand.
func TestKeysWithoutLeaseAreIgnoredAndLoggedOnce(t *testing.T) {
	t.Parallel()
	const rounds = 5
	name, ctx := nameFor(t), bounded(t)
	garbage := []string{
		name + "/by-hand",
		name + "/694d9a3c1f2e4b07",        // a lease of nobody's
		name + "/694d9a3c1f2e4b07-f1xm-0", // as one of ours looks
		name + "/-",                       //
		name + "/ \u00e9\u2028",           // printable or not
	}
	for _, key := range garbage {
		put(t, key, "{\"v\": \xff\x00 no JSON")
	}
	var log journal
	s := open(t, shared.Addr(), &session.Options{Identity: "ours", Logger: slog.New(slog.NewTextHandler(&log, nil))})

	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range rounds {
				if err := mutex.New(s, name).Do(ctx, func(context.Context) error { return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	g, err := mutex.New(s, name).TryLock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	release(t, g)
	if l, err := election.New(s, name).Leader(ctx); !errors.Is(err, session.ErrNoLeader) {
		t.Errorf("Leader() = %+v, %v; want ErrNoLeader", l, err)
	}
	for snapshot, err := range watch.Queue(ctx, s, name) {
		if err != nil || len(snapshot.Holders)+len(snapshot.Waiters) != 0 {
			t.Errorf("Queue shows %+v, %v; want nobody", snapshot, err)
		}
		break
	}
	if n := log.mentions("by-hand"); n != 1 {
		t.Errorf("the key put by hand was logged %d times, want once:\n%s", n, log.buf.String())
	}
	for _, key := range garbage {
		if r, err := shared.admin.Get(ctx, key); err != nil || r.Count != 1 {
			t.Errorf("%q is gone (%v), and was not ours to remove", key, err)
		}
	}
}

// A key with a lease is somebody's claim, whatever it looks like: its library
// may be unknown to us, and is waited for.
func TestOddKeysWithLeaseAreWaitedFor(t *testing.T) {
	t.Parallel()
	name, ctx := nameFor(t), bounded(t)
	s := open(t, shared.Addr(), quiet("ours", 0))
	for i, suffix := range []string{"", "x", "\xff\xfe", "694d9a3c1f2e4b07-", "%00"} {
		lease, err := shared.admin.Grant(ctx, 60)
		if err != nil {
			t.Fatal(err)
		}
		queueName := fmt.Sprint(name, "-", i)
		if _, err := shared.admin.Put(ctx, queueName+"/"+suffix, "\x00\xff", clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
		ours := locking(ctx, s, queueName)
		queued(t, queueName, 2)
		ours.pending(t)
		if _, err := shared.admin.Revoke(ctx, lease.ID); err != nil {
			t.Fatal(err)
		}
		release(t, ours.must(t))
	}
}

// An entry of a release to come, with a layout that this one cannot know, must
// not be passed over: the call says who has to be upgraded.
func TestNewerLayoutIsRefusedByName(t *testing.T) {
	t.Parallel()
	name, ctx := nameFor(t), bounded(t)
	s := open(t, shared.Addr(), quiet("ours", 0))
	lease, err := shared.admin.Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	entry := fmt.Sprintf("%x-f99xm-0123456789abcdef0123456789abcdef-", lease.ID)
	if _, err := shared.admin.Put(ctx, name+"/"+entry, "", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	g, err := mutex.New(s, name).Lock(ctx)
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), entry) || !strings.Contains(err.Error(), "99") {
		t.Fatalf("Lock = %v, %v; want an error that names the entry and its layout", g, err)
	}
	begun := time.Now()
	queued(t, name, 1) // what the failed call wrote is gone again
	if took := time.Since(begun); took > s.TTL()/4 {
		t.Errorf("it took %v: not the failed call has removed it, but the session's clean-up", took)
	}
	if _, err := shared.admin.Revoke(ctx, lease.ID); err != nil {
		t.Fatal(err)
	}
	release(t, lock(t, s, name))
}

// a/b lies inside a, and a is a prefix of ab: they are different queues.
func TestNestedAndSimilarNamesDoNotMeet(t *testing.T) {
	t.Parallel()
	name := nameFor(t)
	names := []string{name, name + "/b", name + "/b/c", name + "b"}
	one := open(t, shared.Addr(), quiet("one", 0))
	two := open(t, shared.Addr(), quiet("two", 0))
	var held []*session.Grant
	for i, n := range names {
		held = append(held, lock(t, []*session.Session{one, two}[i%2], n))
	}
	for _, n := range names {
		_, err := mutex.New(two, n).TryLock(bounded(t))
		if e, ok := errors.AsType[*session.Error](err); !errors.Is(err, session.ErrHeld) || !ok || e.Name != n {
			t.Errorf("TryLock(%q) while it is held: %v, want ErrHeld", n, err)
		}
	}
	for _, g := range held {
		release(t, g)
	}
	// Who mixes libraries keeps theirs off the outer name; on the inner one they
	// exclude ours as ever.
	m := concurrency.NewMutex(foreignSession(t), name+"/b")
	if err := m.Lock(bounded(t)); err != nil {
		t.Fatal(err)
	}
	release(t, lock(t, one, name))
	if _, err := mutex.New(one, name+"/b").TryLock(bounded(t)); !errors.Is(err, session.ErrHeld) {
		t.Errorf("TryLock of a name that another library holds: %v, want ErrHeld", err)
	}
	if err := m.Unlock(bounded(t)); err != nil {
		t.Error(err)
	}
}
