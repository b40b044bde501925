package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// A renewal that was evaluated in time and is committed late counts: until it is, its
// session has expired for all to see, and nobody may declare it dead.
func TestRenewalUnderWayIsNotOvertaken(t *testing.T) {
	t.Parallel()
	url := namespace(t, "renewal")
	a, b := enter(t, url, long, nil), enter(t, url, long, nil)
	held := a.join("q")
	id := mustParse(t, a.ID())
	execute(t, fmt.Sprintf("UPDATE renewal.session SET expires_at = clock_timestamp() WHERE id = %d", id))
	tx := begin(t, txDefault) // the renewal, in slow motion
	if _, err := tx.Exec(bounded(t), "UPDATE renewal.session SET expires_at = clock_timestamp() + interval '1 hour' WHERE id = $1", id); err != nil {
		t.Fatal(err)
	}
	if q := b.queue("q"); !slices.Equal(q, []uint64{held.Me.Token}) {
		t.Errorf("meanwhile the queue is %v", q)
	}
	v := b.join("q")
	if len(v.Ahead) != 1 || v.Ahead[0].Token != held.Me.Token {
		t.Fatalf("who comes sees %v ahead", v.Ahead)
	}
	try := claim("q")
	try.Admit = func(v driver.View) bool { return len(v.Ahead) == 0 }
	if _, err := b.Join(bounded(t), try); !errors.Is(err, driver.ErrRefused) {
		t.Errorf("who tries gets %v", err)
	}
	ended := b.waiting(v)
	select {
	case err := <-ended:
		t.Errorf("who waits was let in: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	if err := tx.Commit(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := a.Renew(bounded(t)); err != nil {
		t.Error(err)
	}
	if _, err := a.Look(bounded(t), held.Me); err != nil {
		t.Error(err)
	}
	a.leave(held.Me)
	ends(t, ended, patience)
}

// And who has expired cannot renew any more, met or not.
func TestExpiredSessionIsOver(t *testing.T) {
	t.Parallel()
	url := namespace(t, "expired")
	a, b := enter(t, url, long, nil), enter(t, url, long, nil)
	held, elsewhere := a.join("q"), a.join("elsewhere")
	behind := b.join("elsewhere")
	ended := b.waiting(behind)
	execute(t, fmt.Sprintf("UPDATE expired.session SET expires_at = clock_timestamp() WHERE id = %d", mustParse(t, a.ID())))
	for what, err := range map[string]error{
		"Renew": a.Renew(bounded(t)),
		"Check": a.Check(bounded(t)),
		"Join":  errOf(a.Join(bounded(t), claim("q"))),
		"Look":  errOf(a.Look(bounded(t), held.Me)),
	} {
		if !errors.Is(err, driver.ErrLeaseGone) {
			t.Errorf("%s returned %v, want ErrLeaseGone", what, err)
		}
	}
	// Whoever comes across one of its entries ends it, with all it has elsewhere.
	if v := b.join("q"); len(v.Ahead) != 0 {
		t.Errorf("%v is ahead of who comes", v.Ahead)
	}
	ends(t, ended, patience)
	if n := ask[int](t, "SELECT count(*) FROM expired.entry WHERE token = ANY($1)", []int64{int64(held.Me.Token), int64(elsewhere.Me.Token)}); n != 0 {
		t.Errorf("%d of its entries are left", n)
	}
}

func errOf[T any](_ T, err error) error { return err }

// The tables are empty one moment and full the next: whatever the planner believes, a
// queue is not read from end to end by who comes, waits or leaves.
func TestCostOfAQueueDoesNotGrowWithItsLength(t *testing.T) {
	t.Parallel()
	const n = 3000
	url := namespace(t, "length")
	p := enter(t, url, long, nil)
	id := mustParse(t, p.ID())
	execute(t, "TRUNCATE length.entry")
	for _, statistics := range []string{"of the empty table", "of the full one"} {
		tx := begin(t, txDefault)
		if _, err := tx.Exec(bounded(t), fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP
			PERFORM length.queue_join(%d, 'q', 'w' || i, 'mutex', 'exclusive', '', '{}', 0, -1, 0, 0); END LOOP; END $$`, n, id)); err != nil {
			t.Fatal(err)
		}
		if statistics == "of the full one" {
			if _, err := tx.Exec(bounded(t), "ANALYZE length.entry; ANALYZE length.session"); err != nil {
				t.Fatal(err)
			}
		}
		var last int64
		if err := tx.QueryRow(bounded(t), "SELECT max(token) FROM length.entry").Scan(&last); err != nil {
			t.Fatal(err)
		}
		read := func() (rows int) {
			t.Helper()
			err := tx.QueryRow(bounded(t), `SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
				FROM pg_stat_xact_user_tables WHERE schemaname = 'length' AND relname = 'entry'`).Scan(&rows)
			if err != nil {
				t.Fatal(err)
			}
			return rows
		}
		for what, call := range map[string]string{
			"join":         fmt.Sprintf("length.queue_join(%d, 'q', 'new', 'mutex', 'exclusive', '', '{}', 0, -1, 0, 0)", id),
			"look":         fmt.Sprintf("length.queue_look('q', %d, 'w%d', true, '{}', '{}', -1, false, '{}', false, false)", last-n/2, n/2),
			"wait":         fmt.Sprintf("length.queue_look('q', %[1]d, 'w%[3]d', true, '{%[2]d}', '{%[2]d}', -1, true, '{%[2]d}', false, true)", last, last-1, n),
			"relink":       fmt.Sprintf("length.queue_look('q', %[1]d, 'w%[3]d', true, '{%[2]d}', '{1}', -1, true, '{%[2]d}', false, true)", last, last-1, n),
			"settle":       fmt.Sprintf("length.queue_settle(%d, 'q', 'w7', true, false)", id),
			"update":       fmt.Sprintf("length.queue_update('q', %d, 'w%d', 5, 'x')", last-7, n-7),
			"leave first":  fmt.Sprintf("length.queue_leave(%d, 'q', %d, 'w1')", id, last-n+1),
			"leave":        fmt.Sprintf("length.queue_leave(%d, 'q', %d, 'w%d')", id, last-n/3, n-n/3),
			"read the one": "length.queue_read('q', 1)",
			"limit":        "length.queue_limit('q', 1, 2, 3, false)",
		} {
			before := read()
			if _, err := tx.Exec(bounded(t), "SELECT "+call); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if rows := read() - before; rows > 20 {
				t.Errorf("with the statistics %s, to %s reads %d rows of %d", statistics, what, rows, n)
			}
		}
		before := read() // and that they are counted at all
		if _, err := tx.Exec(bounded(t), "SELECT length.queue_read('q', 0)"); err != nil || read()-before < n-5 {
			t.Errorf("to read the whole queue reads %d rows, %v", read()-before, err)
		}
		if err := tx.Rollback(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// What a process that died has left in a queue that nobody uses any more goes when
// somebody else begins.
func TestBeginnersSweepUp(t *testing.T) {
	t.Parallel()
	url := namespace(t, "swept")
	execute(t, "DROP SCHEMA IF EXISTS swept CASCADE")
	dead := enter(t, url, long, nil)
	for i := range 70 { // more than one call removes
		dead.join(fmt.Sprint("q", i))
	}
	if _, err := dead.Resolve(bounded(t), claim("q")); !errors.Is(err, driver.ErrEntryGone) {
		t.Fatal(err)
	}
	idle := enter(t, url, long, nil)
	execute(t, "UPDATE swept.session SET expires_at = clock_timestamp()")
	p := enter(t, url, long, &drivertest.Link{}) // as another process, which shares nothing
	for table, want := range map[string]int{"session": 1, "entry": 0, "settled": 0} {
		if n := ask[int](t, "SELECT count(*) FROM swept."+table); n != want {
			t.Errorf("%d rows are left in %s, want %d", n, table, want)
		}
	}
	if err := p.Check(bounded(t)); err != nil {
		t.Error(err)
	}
	if err := idle.Check(bounded(t)); !errors.Is(err, driver.ErrLeaseGone) {
		t.Errorf("Check of an expired session returned %v", err)
	}
}
