package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/session/driver"
)

// sessionKey is where the layout puts it.
func sessionKey(t *testing.T, l driver.Lease) string {
	return prefix(t) + "/.fairlead/v1/session/" + l.ID()
}

func leaseID(t *testing.T, l driver.Lease) clientv3.LeaseID {
	t.Helper()
	var id clientv3.LeaseID
	if _, err := fmt.Sscanf(l.ID(), "%x", &id); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestLayoutIsAsDocumented(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	c := claim("billing/nightly")
	c.Kind, c.Value = "election", "10.0.0.1:80"
	if _, err := p.Join(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	resp, err := admin.Get(t.Context(), prefix(t)+"/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		sessionKey(t, p): `{"identity":"party"}`,
		prefix(t) + "/billing/nightly/" + p.ID() + "-f1xe-" + c.ID + "-": "10.0.0.1:80",
	}
	for _, kv := range resp.Kvs {
		if value, ok := want[string(kv.Key)]; !ok || value != string(kv.Value) || clientv3.LeaseID(kv.Lease) != leaseID(t, p) {
			t.Errorf("%s = %s with lease %x, want one of %v", kv.Key, kv.Value, kv.Lease, want)
		}
	}
	if len(resp.Kvs) != len(want) {
		t.Errorf("%d keys, want %d", len(resp.Kvs), len(want))
	}
}

func TestJoinFromBeforeAResolveNeverApplies(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	key := prefix(t) + "/q/" + p.ID() + "-f1xm-0"
	c := claim("q")
	c.ID = "0123456789abcdef0123456789abcdef"
	before, err := admin.Get(t.Context(), sessionKey(t, p))
	if err != nil || len(before.Kvs) != 1 {
		t.Fatalf("the session's key: %v, %v", before, err)
	}
	if _, err := p.Resolve(t.Context(), c); !errors.Is(err, driver.ErrEntryGone) {
		t.Fatalf("Resolve returned %v, want ErrEntryGone", err)
	}
	// What Join sends, byte for byte where it matters, and late.
	late, err := admin.Txn(t.Context()).If(
		clientv3.Compare(clientv3.ModRevision(sessionKey(t, p)), "=", before.Kvs[0].ModRevision),
		clientv3.Compare(clientv3.CreateRevision(key), "=", 0),
	).Then(clientv3.OpPut(key, "", clientv3.WithLease(leaseID(t, p)))).Commit()
	if err != nil || late.Succeeded {
		t.Errorf("a Join from before the Resolve applied: %v, %v", late, err)
	}
	after, err := admin.Get(t.Context(), sessionKey(t, p))
	if err != nil || len(after.Kvs) != 1 || string(after.Kvs[0].Value) != string(before.Kvs[0].Value) || after.Kvs[0].Lease != before.Kvs[0].Lease {
		t.Errorf("Resolve made %v of the session's key %v", after, before)
	}
	if v := p.join("q"); len(v.Ahead) != 0 {
		t.Errorf("%v is ahead", v.Ahead)
	}
}

func TestResolvesDoNotKeepOthersFromJoining(t *testing.T) {
	p := enter(t, nil)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range 25 {
				v, err := p.Join(t.Context(), claim("q"))
				if err == nil {
					err = p.Leave(t.Context(), v.Me)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
		work.Go(func() {
			for range 25 {
				if _, err := p.Resolve(t.Context(), claim("q")); !errors.Is(err, driver.ErrEntryGone) {
					t.Errorf("Resolve returned %v, want ErrEntryGone", err)
				}
			}
		})
	}
	work.Wait()
	if q := p.queue("q"); len(q) != 0 {
		t.Errorf("the queue is %v, want it empty", q)
	}
}

func TestJoinSentTwiceMakesOneEntry(t *testing.T) {
	p := enter(t, nil)
	c := claim("q")
	first, err := p.Join(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	// As the client library may do it. What the entry sees is not that of the
	// moment in which it was made, so Join must not say so.
	if again, err := p.Join(t.Context(), c); err == nil || driver.IsPermanent(err) {
		t.Errorf("the second request returned %+v, %v, want an unknown outcome", again, err)
	}
	if found, err := p.Resolve(t.Context(), c); err != nil || found.Me.Token != first.Me.Token {
		t.Errorf("Resolve returned %+v, %v, want token %d", found, err, first.Me.Token)
	}
	if q := p.queue("q"); !slices.Equal(q, []uint64{first.Me.Token}) {
		t.Errorf("the queue is %v, want token %d alone", q, first.Me.Token)
	}
}

func TestStaleLeaveKeepsAKeyMadeAnew(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	old := p.join("q").Me
	p.leave(old)
	put(t, admin, old.Key, "", leaseID(t, p))
	p.leave(old)
	if _, err := p.Update(t.Context(), old, "ghost"); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Update of the old entry returned %v, want ErrEntryGone", err)
	}
	if _, err := p.Look(t.Context(), old); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Look at the old entry returned %v, want ErrEntryGone", err)
	}
	if q := p.queue("q"); len(q) != 1 || q[0] == old.Token {
		t.Errorf("the queue is %v, want the new entry", q)
	}
}

func TestUpdateWhoseReplyWasLostIsNotRepeated(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	me := p.join("q").Me
	first, err := p.Update(t.Context(), me, "one")
	if err != nil {
		t.Fatal(err)
	}
	// The caller has not heard of the first, and knows the old version.
	again, err := p.Update(t.Context(), me, "one")
	if err != nil || again.Version != first.Version || again.Value != "one" {
		t.Errorf("the second Update returned %+v, %v, want version %d", again, err, first.Version)
	}
	other, err := p.Update(t.Context(), me, "two")
	if err != nil || other.Version <= first.Version || other.Value != "two" || other.Token != me.Token {
		t.Errorf("an Update to another value returned %+v, %v", other, err)
	}
	resp, err := admin.Get(t.Context(), me.Key)
	if err != nil || len(resp.Kvs) != 1 || clientv3.LeaseID(resp.Kvs[0].Lease) != leaseID(t, p) || resp.Kvs[0].Version != 3 {
		t.Errorf("the key is %v, %v, want it with its lease, written three times", resp, err)
	}
}

func TestLeaseEndsWithItsSessionKey(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	end := make(chan error, 1)
	go func() { end <- p.Watch(t.Context(), func() {}) }()
	if _, err := p.Resolve(t.Context(), claim("q")); !errors.Is(err, driver.ErrEntryGone) { // moves the key
		t.Fatal(err)
	}
	if err := p.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	if _, err := admin.Delete(t.Context(), sessionKey(t, p)); err != nil {
		t.Fatal(err)
	}
	if err := <-end; !errors.Is(err, driver.ErrLeaseGone) {
		t.Errorf("Watch returned %v, want ErrLeaseGone", err)
	}
	for what, err := range map[string]error{
		"Check":   p.Check(t.Context()),
		"Watch":   p.Watch(t.Context(), func() {}),
		"Join":    errOf(p.Join(t.Context(), claim("q"))),
		"Resolve": errOf(p.Resolve(t.Context(), claim("q"))),
	} {
		if !errors.Is(err, driver.ErrLeaseGone) {
			t.Errorf("%s returned %v, want ErrLeaseGone", what, err)
		}
	}
	if q := p.queue("q"); len(q) != 0 {
		t.Errorf("the queue is %v, want it empty", q)
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestEntriesOfALeaseCanBeLeft(t *testing.T) {
	p, admin := enter(t, nil), raw(t, server, "", "")
	mine := p.join("a/b").Me
	put(t, admin, prefix(t)+"/q/"+p.ID(), "", leaseID(t, p)) // another library on our lease
	entries, err := p.Entries(t.Context())
	if err != nil || len(entries) != 1 || entries[0].ID != mine.ID || entries[0].Name != "a/b" || entries[0].Key != mine.Key {
		t.Fatalf("Entries returned %+v, %v, want %+v alone", entries, err, mine)
	}
	p.leave(entries[0])
	p.leave(entries[0])
	if q := p.queue("a/b"); len(q) != 0 {
		t.Errorf("the queue is %v, want it empty", q)
	}

	// An entry of ours that nobody here knows of, as after a restore of the store.
	key := prefix(t) + "/a/b/" + p.ID() + "-f1xm-77"
	put(t, admin, key, "0123456789abcdef0123456789abcdef-\n", leaseID(t, p))
	entries, err = p.Entries(t.Context())
	if err != nil || len(entries) != 1 || entries[0].ID != "0123456789abcdef0123456789abcdef" || entries[0].Key != key || entries[0].Token == 0 {
		t.Fatalf("Entries returned %+v, %v, want the leftover", entries, err)
	}
	p.leave(entries[0])
	if q := p.queue("a/b"); len(q) != 0 {
		t.Errorf("the queue is %v, want it empty", q)
	}

	foreign, err := p.store.Read(t.Context(), "q", 0)
	if err != nil || len(foreign.Entries) != 1 {
		t.Fatalf("%v, %v", foreign, err)
	}
	foreign.Entries[0].Token = 0
	if err := p.Leave(t.Context(), foreign.Entries[0]); err == nil || !strings.Contains(err.Error(), "neither token nor ID") {
		t.Errorf("Leave of an entry that cannot be told from another returned %v", err)
	}
}

func TestGrantTellsTheTTLAsGranted(t *testing.T) {
	st := enter(t, nil).store
	for asked, want := range map[time.Duration]time.Duration{
		time.Millisecond:        2 * time.Second, // the least that etcd grants
		2500 * time.Millisecond: 3 * time.Second, // etcd counts in seconds
		30 * time.Second:        30 * time.Second,
	} {
		l, _, err := st.Grant(t.Context(), driver.Spec{TTL: asked})
		if err != nil {
			t.Fatal(err)
		}
		if l.TTL() != want {
			t.Errorf("asked for %v, got %v, want %v", asked, l.TTL(), want)
		}
		if err := l.Revoke(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestOwnerIsKnownWithoutAskingAgain(t *testing.T) {
	a, b := enter(t, nil), enter(t, nil)
	e := b.join("q").Me
	if who, err := a.store.Identify(t.Context(), e); who != "party" || err != nil {
		t.Fatalf("Identify returned %q, %v", who, err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if who, err := a.store.Identify(done, e); who != "party" || err != nil {
		t.Errorf("with a context that is done, Identify returned %q, %v", who, err)
	}
	e.Lease = "17"
	if _, err := a.store.Identify(done, e); !errors.Is(err, done.Err()) {
		t.Errorf("Identify of an owner not known yet returned %v, want %v", err, done.Err())
	}
	if who, err := a.store.Identify(t.Context(), e); who != "" || err != nil {
		t.Errorf("Identify of nobody's lease returned %q, %v", who, err)
	}
}
