package fence_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/fairlead-go/fairlead/fence"
)

var tables atomic.Int32

// table makes a register's table of its own.
func table(t *testing.T, db *sql.DB) *fence.Options {
	t.Helper()
	opts := &fence.Options{Table: fmt.Sprintf("fence_%d", tables.Add(1))}
	if err := fence.CreateTable(bounded(t), db, opts); err != nil {
		t.Fatal(err)
	}
	return opts
}

// A ledger is a resource: what was written, in the order in which it was.
type ledger struct {
	t     *testing.T
	db    *sql.DB
	name  string
	fence *fence.Options
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	db := connect(t)
	l := &ledger{t, db, fmt.Sprintf("ledger_%d", tables.Add(1)), table(t, db)}
	exec(t, db, "CREATE TABLE "+l.name+" (line bigint GENERATED ALWAYS AS IDENTITY, token bigint)")
	return l
}

// tokens returns the tokens that were written with.
func (l *ledger) tokens() (all []uint64) {
	l.t.Helper()
	rows, err := l.db.QueryContext(bounded(l.t), "SELECT token FROM "+l.name+" ORDER BY line")
	if err != nil {
		l.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var token int64
		if err := rows.Scan(&token); err != nil {
			l.t.Fatal(err)
		}
		all = append(all, uint64(token))
	}
	if err := rows.Err(); err != nil {
		l.t.Fatal(err)
	}
	return all
}

func (l *ledger) wants(tokens ...uint64) {
	l.t.Helper()
	if got := l.tokens(); !slices.Equal(got, tokens) {
		l.t.Errorf("the ledger has %v, want %v", got, tokens)
	}
}

// A write is a transaction of a holder.
type write struct {
	*sql.Tx
	l     *ledger
	token uint64
	pid   int
}

func (l *ledger) begin(level sql.IsolationLevel, token uint64) *write {
	l.t.Helper()
	tx, err := l.db.BeginTx(l.t.Context(), &sql.TxOptions{Isolation: level})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = tx.Rollback() })
	return &write{tx, l, token, 0}
}

// look is any query: at the levels above READ COMMITTED, what the transaction sees from
// then on is the state in which the first of its queries has begun. This one tells which
// of the server's processes it is.
func (w *write) look() {
	w.l.t.Helper()
	if err := w.QueryRowContext(bounded(w.l.t), "SELECT pg_backend_pid()").Scan(&w.pid); err != nil {
		w.l.t.Fatal(err)
	}
}

func (w *write) admit() error {
	return fence.NewSQL(w.Tx, w.l.fence).Admit(bounded(w.l.t), "ledger", w.token)
}

// write writes, once admitted, and may be committed then.
func (w *write) write() error {
	if err := w.admit(); err != nil {
		return err
	}
	_, err := w.ExecContext(bounded(w.l.t), "INSERT INTO "+w.l.name+" (token) VALUES ($1)", int64(w.token))
	return err
}

// waiting starts to write, and returns when the server has it wait for another
// transaction.
func (w *write) waiting() (end chan error) {
	w.l.t.Helper()
	w.look()
	end = make(chan error, 1)
	go func() { end <- w.write() }()
	eventually(w.l.t, func() error {
		var blocked bool
		err := w.l.db.QueryRowContext(bounded(w.l.t), "SELECT cardinality(pg_blocking_pids($1)) > 0", w.pid).Scan(&blocked)
		if err == nil && len(end) > 0 {
			w.l.t.Fatalf("token %d did not wait: %v", w.token, <-end)
		}
		if err == nil && !blocked {
			err = errors.New("does not wait yet")
		}
		return err
	})
	return end
}

func isSerializationFailure(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "40001"
}

// levels are those of PostgreSQL.
var levels = map[string]sql.IsolationLevel{
	"READ COMMITTED":  sql.LevelReadCommitted,
	"REPEATABLE READ": sql.LevelRepeatableRead,
	"SERIALIZABLE":    sql.LevelSerializable,
}

// Two holders write at a time, in either order; the first ends in either way. The
// second waits for that, and is then told what became of the first, or to try again.
func TestAdmissionWaitsForTheTransactionBefore(t *testing.T) {
	const older, newer = 7, 9
	for name, level := range levels {
		for _, known := range []bool{false, true} { // whether the register has a row yet
			for _, tokens := range [][2]uint64{{older, newer}, {newer, older}} {
				for _, committed := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s,known=%t,%d then %d,committed=%t", name, known, tokens[0], tokens[1], committed), func(t *testing.T) {
						l := newLedger(t)
						if known {
							if err := fence.NewSQL(l.db, l.fence).Admit(bounded(t), "ledger", 1); err != nil {
								t.Fatal(err)
							}
						}
						first, second := l.begin(level, tokens[0]), l.begin(level, tokens[1])
						if err := first.write(); err != nil {
							t.Fatal(err)
						}
						end := second.waiting()
						if committed {
							if err := first.Commit(); err != nil {
								t.Fatal(err)
							}
						} else if err := first.Rollback(); err != nil {
							t.Fatal(err)
						}
						err := <-end
						if committed && level != sql.LevelReadCommitted {
							if !isSerializationFailure(err) || errors.Is(err, fence.ErrStale) {
								t.Fatalf("the second transaction: %v, want a serialization failure", err)
							}
							_ = second.Rollback()
							second = l.begin(level, tokens[1])
							err = second.write()
						}
						if committed && tokens[1] == older {
							if !errors.Is(err, fence.ErrStale) {
								t.Fatalf("the older after the newer: %v", err)
							}
							l.wants(newer)
							return
						}
						if err != nil {
							t.Fatal(err)
						}
						if err := second.Commit(); err != nil {
							t.Fatal(err)
						}
						if committed {
							l.wants(older, newer)
						} else {
							l.wants(tokens[1])
						}
					})
				}
			}
		}
	}
}

// A transaction that has its view of the database from before the newer holder wrote
// does not get in either.
func TestViewFromBeforeTheNewerIsNoWayIn(t *testing.T) {
	for name, level := range levels {
		l := newLedger(t)
		old := l.begin(level, 7)
		old.look()
		fresh := l.begin(level, 9)
		if err := fresh.write(); err != nil {
			t.Fatal(err)
		}
		if err := fresh.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := old.write(); !errors.Is(err, fence.ErrStale) && !(isSerializationFailure(err) && level != sql.LevelReadCommitted) {
			t.Errorf("%s: %v", name, err)
		}
		_ = old.Rollback()
		l.wants(9)
	}
}

// Many holders, all of whom believe that they hold: what is written stays in the
// order of the tokens.
func TestWritesOfOneResourceAreInTheOrderOfTokens(t *testing.T) {
	const holders, each = 6, 40
	for name, level := range levels {
		l := newLedger(t)
		var stale atomic.Int32
		var grants tokens
		var wg sync.WaitGroup
		for range holders {
			wg.Go(func() {
				for range each {
					err := l.attempt(level, grants.next())
					if errors.Is(err, fence.ErrStale) {
						stale.Add(1)
					} else if err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
				}
			})
		}
		wg.Wait()
		written := l.tokens()
		if !slices.IsSorted(written) {
			t.Errorf("%s: written was %v", name, written)
		}
		if len(written)+int(stale.Load()) != holders*each || stale.Load() == 0 || len(written) < 10 {
			t.Errorf("%s: %d were written and %d refused of %d", name, len(written), stale.Load(), holders*each)
		}
	}
}

// attempt writes in a transaction, which is repeated as the levels above READ COMMITTED
// want it.
func (l *ledger) attempt(level sql.IsolationLevel, token uint64) error {
	for {
		tx, err := l.db.BeginTx(l.t.Context(), &sql.TxOptions{Isolation: level})
		if err != nil {
			return err
		}
		err = (&write{tx, l, token, 0}).write()
		if err == nil {
			err = tx.Commit()
		}
		_ = tx.Rollback()
		if !isSerializationFailure(err) {
			return err
		}
	}
}

// This is what the documentation warns of.
func TestAdmissionApartFromTheWriteIsNoFence(t *testing.T) {
	l := newLedger(t)
	apart := fence.NewSQL(l.db, l.fence)
	if err := apart.Admit(bounded(t), "ledger", 7); err != nil {
		t.Fatal(err)
	}
	// Here the holder of token 7 is paused.
	if err := l.attempt(sql.LevelDefault, 9); err != nil {
		t.Fatal(err)
	}
	exec(t, l.db, "INSERT INTO "+l.name+" (token) VALUES (7)")
	l.wants(9, 7)
	if err := apart.Admit(bounded(t), "ledger", 7); !errors.Is(err, fence.ErrStale) {
		t.Errorf("its next admission: %v", err)
	}
}

// This is, too: a rollback to a savepoint takes the admission back.
func TestAdmissionThatIsRolledBackIsNoFence(t *testing.T) {
	l := newLedger(t)
	conn, err := pgx.Connect(bounded(t), address(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	outer, err := conn.Begin(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	nested, err := outer.Begin(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := fence.NewPGX(nested, l.fence).Admit(bounded(t), "ledger", 7); err != nil {
		t.Fatal(err)
	}
	if err := nested.Rollback(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := l.attempt(sql.LevelDefault, 9); err != nil { // which does not wait
		t.Fatal(err)
	}
	if _, err := outer.Exec(bounded(t), "INSERT INTO "+l.name+" (token) VALUES (7)"); err != nil {
		t.Fatal(err)
	}
	if err := fence.NewPGX(outer, l.fence).Admit(bounded(t), "ledger", 7); !errors.Is(err, fence.ErrStale) {
		t.Errorf("admitted anew: %v", err)
	}
	if err := outer.Commit(bounded(t)); err != nil {
		t.Fatal(err)
	}
	l.wants(9, 7)
}

// Who is paused after its admission holds up the next, until the server has enough of
// it: then its write is lost with its connection.
func TestHolderPausedInItsTransactionIsEndedByTheServer(t *testing.T) {
	l := newLedger(t)
	old := l.begin(sql.LevelDefault, 7)
	exec(t, old, "SET LOCAL idle_in_transaction_session_timeout = '1s'")
	if err := old.write(); err != nil {
		t.Fatal(err)
	}
	hasty, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := fence.NewSQL(l.db, l.fence).Admit(hasty, "ledger", 9)
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fence.ErrStale) {
		t.Errorf("a successor in a hurry: %v", err)
	}
	if err := l.attempt(sql.LevelDefault, 9); err != nil {
		t.Fatal(err)
	}
	if err := old.Commit(); err == nil {
		t.Error("the paused holder has committed")
	}
	l.wants(9)
}

// A refusal leaves the transaction as it was, for those who want to go on with it.
func TestRefusalDoesNotEndTheTransaction(t *testing.T) {
	l := newLedger(t)
	if err := l.attempt(sql.LevelDefault, 9); err != nil {
		t.Fatal(err)
	}
	old := l.begin(sql.LevelDefault, 7)
	if err := old.admit(); !errors.Is(err, fence.ErrStale) {
		t.Fatal(err)
	}
	exec(t, old, "SELECT 1")
	if err := old.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := l.attempt(sql.LevelDefault, 8); !errors.Is(err, fence.ErrStale) {
		t.Errorf("token 8 after 9 and a refusal: %v", err)
	}
}

func TestTransactionsOfPGXAreGuarded(t *testing.T) {
	l := newLedger(t)
	conn, err := pgx.Connect(bounded(t), address(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, step := range []struct {
		token uint64
		stale bool
	}{{9, false}, {7, true}, {9, false}} {
		err := pgx.BeginFunc(bounded(t), conn, func(tx pgx.Tx) error {
			if err := fence.NewPGX(tx, l.fence).Admit(bounded(t), "ledger", step.token); err != nil {
				return err
			}
			_, err := tx.Exec(bounded(t), "INSERT INTO "+l.name+" (token) VALUES ($1)", int64(step.token))
			return err
		})
		if errors.Is(err, fence.ErrStale) != step.stale || err != nil && !step.stale {
			t.Errorf("token %d: %v", step.token, err)
		}
	}
	l.wants(9, 9)
}

// A column of 64 bits with a sign has no room for them, and must not make small ones
// of them.
func TestTokenTooLargeForTheTableIsRefused(t *testing.T) {
	l := newLedger(t)
	r := fence.NewSQL(l.db, l.fence)
	for _, token := range []uint64{1 << 63, math.MaxUint64} {
		err := r.Admit(bounded(t), "r", token)
		if err == nil || errors.Is(err, fence.ErrStale) || !strings.Contains(err.Error(), "2^63-1") {
			t.Errorf("token %d: %v", token, err)
		}
	}
}

func TestErrorOfTheDatabaseIsNoRefusal(t *testing.T) {
	db := connect(t)
	err := fence.NewSQL(db, &fence.Options{Table: "nowhere"}).Admit(bounded(t), "r", 1)
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "42P01" || errors.Is(err, fence.ErrStale) {
		t.Errorf("without a table: %v", err)
	}
}

func TestTableHasTheNameGiven(t *testing.T) {
	db := connect(t)
	exec(t, db, "CREATE SCHEMA IF NOT EXISTS billing")
	for _, name := range []string{"", fence.DefaultTable, "billing.fence", "billing.order", "user", "_", strings.Repeat("x", 63)} {
		opts := &fence.Options{Table: name}
		if name == "" {
			opts = nil
		}
		for range 2 {
			if err := fence.CreateTable(bounded(t), db, opts); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
		if err := fence.NewSQL(db, opts).Admit(bounded(t), t.Name(), 1); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	var n int
	err := db.QueryRowContext(bounded(t), `SELECT token FROM billing."order" WHERE resource = $1`, t.Name()).Scan(&n)
	if err != nil || n != 1 {
		t.Errorf("in the table billing.order is %d, %v", n, err)
	}
}

func TestNameOfNoTableIsRefused(t *testing.T) {
	db := connect(t)
	for _, name := range []string{
		".", "a.", ".a", "a.b.c", "a b", "a\"", "a;", "Fence", "1st", "ä", "a\n", "a-b", "billing..fence", strings.Repeat("x", 64),
		`fence" AS seen (resource, token) VALUES ($1, $2) --`,
	} {
		opts := &fence.Options{Table: name}
		_, schemaErr := fence.Schema(opts)
		for what, err := range map[string]error{
			"Schema":      schemaErr,
			"CreateTable": fence.CreateTable(bounded(t), db, opts),
			"Admit":       fence.NewSQL(db, opts).Admit(bounded(t), "r", 1),
		} {
			if err == nil || !strings.Contains(err.Error(), "lower-case letters") {
				t.Errorf("%s with the table %q: %v", what, name, err)
			}
		}
	}
}

// The table is made by whoever migrates. A program that only admits finds it there.
func TestTableThatIsThereNeedsNoRightToCreate(t *testing.T) {
	db := connect(t)
	exec(t, db, "CREATE SCHEMA guarded")
	opts := &fence.Options{Table: "guarded.fence"}
	if err := fence.CreateTable(bounded(t), db, opts); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "CREATE ROLE admits")
	exec(t, db, "GRANT USAGE ON SCHEMA guarded TO admits")
	exec(t, db, "GRANT SELECT, INSERT, UPDATE ON guarded.fence TO admits")
	conn, err := db.Conn(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	exec(t, conn, "SET ROLE admits")
	defer exec(t, conn, "RESET ROLE")
	if err := fence.CreateTable(bounded(t), conn, opts); err != nil {
		t.Errorf("a table that is there: %v", err)
	}
	if err := fence.NewSQL(conn, opts).Admit(bounded(t), "ledger", 1); err != nil {
		t.Errorf("with the rights that Schema names: %v", err)
	}
	err = fence.CreateTable(bounded(t), conn, &fence.Options{Table: "guarded.other"})
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "42501" {
		t.Errorf("a table that is not there: %v, want that it may not be made", err)
	}
}

func TestTableMayBeMadeByManyAtATime(t *testing.T) {
	db := connect(t)
	for range 10 {
		opts := &fence.Options{Table: fmt.Sprintf("fence_%d", tables.Add(1))}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := fence.CreateTable(bounded(t), db, opts); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}
