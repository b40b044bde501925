package postgres_test

import (
	"errors"
	"fmt"
	"testing"
)

// A join that is committed while its session ends leaves nothing behind: nobody would be told
// of the end of an entry that nobody could see.
func TestRevokeRemovesWhatIsJustBeingJoined(t *testing.T) {
	t.Parallel()
	p := enter(t, namespace(t, "revoked"), patience, nil)
	execute(t, `CREATE OR REPLACE FUNCTION revoked.pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		PERFORM pg_advisory_xact_lock_shared(17); RETURN NULL; END $$`)
	execute(t, "DROP TRIGGER IF EXISTS pause ON revoked.entry")
	execute(t, "CREATE CONSTRAINT TRIGGER pause AFTER INSERT ON revoked.entry DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION revoked.pause()")
	tx := begin(t, txDefault)
	if _, err := tx.Exec(bounded(t), "SELECT pg_advisory_xact_lock(17)"); err != nil {
		t.Fatal(err)
	}
	joined, revoked := make(chan error, 1), make(chan error, 1)
	ctx := bounded(t)
	go func() { joined <- errOf(p.Join(ctx, claim("q"))) }()
	none := func(what, sql string, args ...any) {
		t.Helper()
		eventually(t, func() error {
			if n := ask[int](t, sql, args...); n != 0 {
				return fmt.Errorf("%s: %d", what, n)
			}
			return nil
		})
	}
	none("the join is not under way", "SELECT 1 - count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 17 AND classid = 0")
	go func() { revoked <- p.Revoke(ctx) }()
	none("sessions", "SELECT count(*) FROM revoked.session WHERE id = $1", mustParse(t, p.ID()))
	if err := tx.Commit(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-joined, <-revoked); err != nil {
		t.Error(err)
	}
	if n := ask[int](t, "SELECT count(*) FROM revoked.entry"); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}
