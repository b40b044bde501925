package postgres_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/postgres"
)

// Of an entry that is removed before it is on the disk nothing may be left after a crash, not
// even that its token was taken: it lets nobody in.
func TestEntryThatIsRemovedAtOnceLetsNobodyIn(t *testing.T) {
	t.Parallel()
	p := enter(t, namespace(t, "undone"), patience, nil)
	p.join("q")
	p.join("q") // so it is known that others are there
	execute(t, `CREATE OR REPLACE FUNCTION undone.undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		DELETE FROM undone.entry e WHERE e.token = NEW.token; RETURN NULL; END $$`)
	execute(t, "CREATE CONSTRAINT TRIGGER undo AFTER INSERT ON undone.entry DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION undone.undo()")
	c := claim("q")
	if v, err := p.Join(bounded(t), c); err == nil {
		t.Errorf("Join returned token %d", v.Me.Token)
	}
	execute(t, "DROP TRIGGER undo ON undone.entry")
	if _, err := p.Resolve(bounded(t), c); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Resolve returned %v, want ErrEntryGone", err)
	}
	p.join("q")
}

// Who joins where others were before is committed before it is on the disk, so that the queue
// is not locked meanwhile. When Join has returned it is there, and so it is when a lost reply
// has been settled: this server writes nothing by itself before it crashes.
func TestWhatWasJoinedOutlivesACrash(t *testing.T) {
	t.Parallel()
	s := ownServer(t, pgserver.Config{Settings: map[string]string{"wal_writer_delay": "10s", "synchronous_commit": "off"}})
	p := enter(t, s.AdminURL("postgres"), patience, nil)
	shared := claim("q")
	shared.Mode = driver.Shared
	lost := claim("q")
	want := map[string]bool{}
	crash := func() {
		t.Helper()
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error { return p.Check(bounded(t)) })
		q, err := p.store.Read(bounded(t), "q", 0)
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]bool{}
		for _, e := range q.Entries {
			there[e.ID] = true
		}
		for id := range want {
			if !there[id] {
				t.Errorf("the entry of claim %s has not outlived the crash", id)
			}
		}
		if len(q.Entries) > len(want) {
			t.Errorf("%d entries, want %d", len(q.Entries), len(want))
		}
	}
	want[p.join("q").Me.ID] = true
	crash()
	for range 2 { // the first of them finds the other ahead, and from then on
		want[p.join("q").Me.ID] = true
		crash()
	}
	v, err := p.Join(bounded(t), shared)
	if err != nil {
		t.Fatal(err)
	}
	want[v.Me.ID] = true
	crash()
	// A process that died before it had its entry written.
	c := admin(t, s)
	postgres.Expect(p.Lease, lost)
	if _, err := c.Exec(bounded(t), `SELECT fairlead.queue_append(('x' || lpad($1, 16, '0'))::bit(64)::bigint, 'q', $2, 'mutex', 'exclusive', '', '{}', 0, -1, -1, -1, true)`,
		pgx.QueryExecModeExec, p.ID(), lost.ID); err != nil {
		t.Fatal(err)
	}
	v, err = p.Resolve(bounded(t), lost)
	if err != nil {
		t.Fatal(err)
	}
	want[v.Me.ID] = true
	crash()
}

// A join that the server rejects costs nobody the connection that it was made on.
func TestJoinThatIsRejectedLeavesItsConnectionOfUse(t *testing.T) {
	t.Parallel()
	const ns = "rejected"
	user := executor(t, ns)
	execute(t, "ALTER ROLE rejected SET lock_timeout = '200ms'")
	p := enter(t, with(t, user, "namespace", ns), patience, nil)
	p.join("q")
	p.join("q") // so it is known that others are there
	tx := lockQueue(t, ns, "q")
	if v, err := p.Join(bounded(t), claim("q")); err == nil {
		t.Errorf("Join of a locked queue returned token %d", v.Me.Token)
	}
	if err := tx.Rollback(bounded(t)); err != nil {
		t.Fatal(err)
	}
	made := postgres.Connected(p.store)
	for range 3 {
		p.join("q")
	}
	if n := postgres.Connected(p.store) - made; n != 0 {
		t.Errorf("%d connections were made anew", n)
	}
}
