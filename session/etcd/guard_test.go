package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	etcdembed "go.etcd.io/etcd/server/v3/embed"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/embed"
	"github.com/fairlead-go/fairlead/session/etcd"
	"github.com/fairlead-go/fairlead/session/memory"
)

// open opens a session under a prefix for the test alone, on the common server.
func open(t *testing.T) *session.Session {
	t.Helper()
	s, err := session.Open(t.Context(), server.Endpoint()+prefix(t), &session.Options{TTL: 30 * time.Second, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func lock(t *testing.T, s *session.Session) *session.Grant {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g, err := mutex.New(s, "ledger").Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func release(t *testing.T, g *session.Grant) {
	t.Helper()
	if err := g.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A ledger is what a lock guards: a key beside the queues.
type ledger struct {
	t   *testing.T
	kv  clientv3.KV
	key string
}

func newLedger(t *testing.T) ledger {
	t.Helper()
	l := ledger{t, raw(t, server, "", ""), prefix(t) + "-ledger"}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := l.kv.Delete(ctx, l.key, clientv3.WithPrefix()); err != nil {
			t.Error(err)
		}
	})
	return l
}

// write writes text if the guard holds, and tells whether it has.
func (l ledger) write(guard clientv3.Cmp, text string) bool {
	l.t.Helper()
	resp, err := l.kv.Txn(l.t.Context()).If(guard).Then(clientv3.OpPut(l.key, text)).Commit()
	if err != nil {
		l.t.Fatal(err)
	}
	return resp.Succeeded
}

// holder and former try to write as one who holds, and one who does no longer.
func (l ledger) holder(g *session.Grant) {
	l.t.Helper()
	if !l.write(etcd.Guard(g), "holder") {
		l.t.Errorf("the transaction of the holder of %s %q did not commit", g.Kind(), g.Name())
	}
}

func (l ledger) former(guard clientv3.Cmp) {
	l.t.Helper()
	if l.write(guard, "former") {
		l.t.Error("the transaction of a former holder was committed")
	}
}

func TestGuardedTxnOfEveryHolderCommits(t *testing.T) {
	s, l := open(t), newLedger(t)
	ctx := t.Context()
	term, err := election.New(s, "election").Campaign(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	permits := semaphore.New(s, "semaphore", 2)
	first, err1 := permits.Acquire(ctx, 1)
	second, err2 := permits.Acquire(ctx, 1)
	reader, err3 := rwmutex.New(s, "readers").RLock(ctx)
	writer, err4 := rwmutex.New(s, "writer").Lock(ctx)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	grants := []*session.Grant{lock(t, s), term.Grant, first, second, reader, writer}
	for _, g := range grants {
		l.holder(g)
	}
	// What an entry says of itself may change.
	if err := term.Proclaim(ctx, "two"); err != nil {
		t.Fatal(err)
	}
	l.holder(term.Grant)
	for _, g := range grants {
		guard := etcd.Guard(g)
		release(t, g)
		l.former(guard)
		l.former(etcd.Guard(g))
	}
}

func TestGuardIsOneConditionAmongOthers(t *testing.T) {
	s, l := open(t), newLedger(t)
	g := lock(t, s)
	missing := clientv3.Compare(clientv3.CreateRevision(l.key), "=", 0)
	for i, want := range []bool{true, false} {
		resp, err := l.kv.Txn(t.Context()).
			If(missing, etcd.Guard(g)).
			Then(clientv3.OpPut(l.key, "made"), clientv3.OpPut(l.key+"-log", "made")).
			Else(clientv3.OpGet(l.key)).Commit()
		if err != nil || resp.Succeeded != want {
			t.Errorf("transaction %d: %v, %v", i, resp, err)
		}
	}
	release(t, g)
}

func TestGuardedTxnOfAFormerHolderDoesNotCommit(t *testing.T) {
	admin := raw(t, server, "", "")
	for _, how := range []struct {
		name string
		end  func(t *testing.T, s *session.Session, g *session.Grant)
	}{
		{"released", func(t *testing.T, _ *session.Session, g *session.Grant) { release(t, g) }},
		{"session closed", func(t *testing.T, s *session.Session, _ *session.Grant) {
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		{"lease revoked", func(t *testing.T, _ *session.Session, g *session.Grant) {
			resp, err := admin.Get(t.Context(), g.Key())
			if err != nil || len(resp.Kvs) != 1 {
				t.Fatalf("the entry's key: %v, %v", resp, err)
			}
			if _, err := admin.Revoke(t.Context(), clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
				t.Fatal(err)
			}
		}},
		{"deleted", func(t *testing.T, _ *session.Session, g *session.Grant) {
			if _, err := admin.Delete(t.Context(), g.Key()); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(how.name, func(t *testing.T) {
			old, next, l := open(t), open(t), newLedger(t)
			g := lock(t, old)
			guard := etcd.Guard(g) // in a transaction that was made in time, and is on its way
			l.holder(g)
			how.end(t, old, g)
			l.former(guard)
			h := lock(t, next)
			l.former(guard)
			l.former(etcd.Guard(g))
			l.holder(h)
			l.former(guard)
			release(t, h)
			l.former(guard)
		})
	}
}

// The keys of a session's entries are used again: that the key is there says nothing.
func TestGuardTellsAKeyThatWasMadeAnew(t *testing.T) {
	s, l := open(t), newLedger(t)
	g := lock(t, s)
	guard := etcd.Guard(g)
	if _, err := l.kv.Delete(t.Context(), g.Key()); err != nil {
		t.Fatal(err)
	}
	if err := g.Confirm(t.Context()); !errors.Is(err, session.ErrLost) {
		t.Fatalf("the entry was deleted: %v", err)
	}
	if err := g.Release(t.Context()); !errors.Is(err, session.ErrLost) {
		t.Fatalf("the release of a grant whose entry was deleted: %v", err)
	}
	again := false
	for range 50 {
		h := lock(t, s)
		again = again || h.Key() == g.Key()
		l.former(guard)
		l.holder(h)
		l.former(guard)
		release(t, h)
		if again {
			return
		}
	}
	t.Error("the key was never used again: the test shows nothing")
}

// Beside the reader that it has become others read.
func TestGuardOfAWriterEndsWithItsDowngrade(t *testing.T) {
	s, l := open(t), newLedger(t)
	m := rwmutex.New(s, "ledger")
	w, err := m.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	guard := etcd.Guard(w)
	l.holder(w)
	r, err := m.Downgrade(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	l.former(guard)
	l.former(etcd.Guard(w))
	l.holder(r)
	guard = etcd.Guard(r)
	release(t, r)
	l.former(guard)
}

// Where the entry cannot be seen, nothing is committed; in no case everything.
func TestGuardNeverHoldsWhereTheEntryIsNot(t *testing.T) {
	g := lock(t, open(t))
	elsewhere := ledger{t, raw(t, start(t, embed.Config{}), "", ""), "ledger"}
	elsewhere.former(etcd.Guard(g))
	prefixed := newLedger(t)
	prefixed.kv = namespace.NewKV(prefixed.kv, "app/")
	prefixed.former(etcd.Guard(g))
	newLedger(t).holder(g)
	release(t, g)
}

func TestGuardNeedsPermissionToReadTheEntry(t *testing.T) {
	srv := start(t, embed.Config{Adjust: func(c *etcdembed.Config) { c.BcryptCost = 4 }})
	protect(t, raw(t, srv, "", ""), "/team")
	root := raw(t, srv, "root", "root-secret")
	for _, err := range []error{
		errOf(root.RoleAdd(t.Context(), "ledger")),
		errOf(root.RoleGrantPermission(t.Context(), "ledger", "/ledger", "", clientv3.PermissionType(clientv3.PermReadWrite))),
		errOf(root.UserAdd(t.Context(), "other", "other-secret")),
		errOf(root.UserGrantRole(t.Context(), "other", "ledger")),
		errOf(root.UserGrantRole(t.Context(), "team", "ledger")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := session.Open(t.Context(), "etcd://team:team-secret@"+srv.Addr()+"/team", &session.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	g := lock(t, s)
	other := raw(t, srv, "other", "other-secret")
	_, err = other.Txn(t.Context()).If(etcd.Guard(g)).Then(clientv3.OpPut("/ledger", "x")).Commit()
	if !errors.Is(err, rpctypes.ErrPermissionDenied) {
		t.Errorf("by a user who may not read the entry: %v", err)
	}
	ledger{t, raw(t, srv, "team", "team-secret"), "/ledger"}.holder(g)
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestGuardOfAnotherStorePanics(t *testing.T) {
	s, err := memory.NewStore().Session(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	g := lock(t, s)
	defer func() {
		if p := fmt.Sprint(recover()); !strings.HasPrefix(p, "etcd: ") || !strings.Contains(p, g.Key()) {
			t.Errorf("Guard of a grant in memory: %s", p)
		}
		release(t, g)
	}()
	etcd.Guard(g)
}
