package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
	"github.com/fairlead-go/fairlead/session/postgres"
)

// begin begins a transaction of somebody who holds.
func begin(t *testing.T, opts pgx.TxOptions) pgx.Tx {
	t.Helper()
	tx, err := admin(t, server).BeginTx(bounded(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	return tx
}

func lock(t *testing.T, s *session.Session, name string) *session.Grant {
	t.Helper()
	g, err := mutex.New(s, name).Lock(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// locking starts a Lock.
func locking(t *testing.T, s *session.Session, name string) <-chan *session.Grant {
	t.Helper()
	got := make(chan *session.Grant, 1)
	ctx := bounded(t)
	go func() {
		g, err := mutex.New(s, name).Lock(ctx)
		if err != nil {
			t.Error(err)
		}
		got <- g
	}()
	return got
}

func granted(t *testing.T, got <-chan *session.Grant) *session.Grant {
	t.Helper()
	select {
	case g := <-got:
		if g == nil {
			t.FailNow()
		}
		return g
	case <-time.After(patience):
		t.Fatal("nothing is granted")
		return nil
	}
}

// notYet checks that nothing is granted for a while.
func notYet(t *testing.T, got <-chan *session.Grant, why string) {
	t.Helper()
	select {
	case <-got:
		t.Errorf("somebody else was let in while %s", why)
	case <-time.After(300 * time.Millisecond):
	}
}

func TestGuardedTransactionOfAHolderCommits(t *testing.T) {
	t.Parallel()
	execute(t, "CREATE TABLE IF NOT EXISTS account (owner text, balance int); TRUNCATE account")
	url := namespace(t, "guard")
	s := open(t, url)
	for _, level := range []pgx.TxIsoLevel{"", pgx.RepeatableRead, pgx.Serializable} {
		g := lock(t, s, "q")
		tx := begin(t, pgx.TxOptions{IsoLevel: level})
		if err := postgres.Guard(bounded(t), tx, g); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(bounded(t), "INSERT INTO account VALUES ($1, 1)", string(level)); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(bounded(t)); err != nil {
			t.Fatal(err)
		}
		if err := g.Release(bounded(t)); err != nil {
			t.Error(err)
		}
	}
	if n := ask[int](t, "SELECT count(*) FROM account"); n != 3 {
		t.Errorf("%d rows were written, want 3", n)
	}
}

// A holder that was stopped does not know that others took over: its own context may
// not be done yet. So the entry is taken from it behind its back.
func TestStaleHoldersTransactionCannotCommit(t *testing.T) {
	t.Parallel()
	url := namespace(t, "stale")
	a, b := open(t, url), open(t, url)
	for what, end := range map[string]func(g *session.Grant){
		"its entry was deleted": func(g *session.Grant) {
			execute(t, "DELETE FROM stale.entry WHERE token = $1", int64(g.Token()))
		},
		"its session was deleted": func(g *session.Grant) {
			execute(t, "DELETE FROM stale.session WHERE id = (SELECT session FROM stale.entry WHERE token = $1)", int64(g.Token()))
		},
		"its session has expired": func(g *session.Grant) {
			execute(t, "UPDATE stale.session SET expires_at = clock_timestamp() WHERE id = (SELECT session FROM stale.entry WHERE token = $1)", int64(g.Token()))
		},
		"it was released": func(g *session.Grant) { _ = g.Release(bounded(t)) },
	} {
		g := lock(t, a, "q")
		tx := begin(t, pgx.TxOptions{})
		if _, err := tx.Exec(bounded(t), "CREATE TABLE stale_write (x int)"); err != nil {
			t.Fatal(err)
		}
		end(g)
		err := postgres.Guard(bounded(t), tx, g)
		want := session.ErrLost
		if what == "it was released" {
			want = session.ErrReleased
		}
		var e *session.Error
		if !errors.Is(err, want) || !errors.As(err, &e) || e.Name != "q" {
			t.Errorf("%s: Guard returned %v", what, err)
		}
		// Whoever does not look at the error is stopped all the same.
		if err := tx.Commit(bounded(t)); err == nil {
			t.Errorf("%s: the transaction was committed", what)
		}
		if ask[bool](t, "SELECT to_regclass('stale_write') IS NOT NULL") {
			t.Fatalf("%s: the write is there", what)
		}
		_ = granted(t, locking(t, b, "q")).Release(bounded(t))
	}
}

func TestNobodyIsGrantedWhileAGuardedTransactionIsOpen(t *testing.T) {
	t.Parallel()
	url := with(t, namespace(t, "open"), "ttl", "2s") // of one that could not end its session
	for what, end := range map[string]func(g *session.Grant, s *session.Session){
		"the holder is gone": func(g *session.Grant, _ *session.Session) {
			execute(t, "UPDATE open.session SET expires_at = clock_timestamp() WHERE id = (SELECT session FROM open.entry WHERE token = $1)", int64(g.Token()))
		},
		"the holder releases": func(g *session.Grant, _ *session.Session) {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			_ = g.Release(ctx)
		},
		"the holder closes": func(_ *session.Grant, s *session.Session) {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			_ = s.Close(ctx)
		},
	} {
		holder, err := session.Open(bounded(t), url, nil)
		if err != nil {
			t.Fatal(err)
		}
		other := open(t, url)
		g := lock(t, holder, what)
		tx := begin(t, pgx.TxOptions{})
		if err := postgres.Guard(bounded(t), tx, g); err != nil {
			t.Fatal(err)
		}
		end(g, holder)
		next := locking(t, other, what)
		notYet(t, next, what+", and its guarded transaction is open")
		// Others are not kept waiting, on this queue or on another.
		_ = granted(t, locking(t, other, "elsewhere")).Release(bounded(t))
		if _, err := mutex.New(other, what).TryLock(bounded(t)); !errors.Is(err, session.ErrHeld) {
			t.Errorf("%s: TryLock returned %v, want ErrHeld", what, err)
		}
		if err := tx.Commit(bounded(t)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		_ = granted(t, next).Release(bounded(t))
		_ = holder.Close(bounded(t))
	}
}

// Those of a process who pass the lock on among themselves ask the store for nothing.
func TestGuardedGrantIsNotPassedOn(t *testing.T) {
	t.Parallel()
	s := open(t, namespace(t, "passed"))
	m := mutex.NewWith(s, "q", &mutex.Options{LocalHandoff: 1})
	g, err := m.Lock(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	tx := begin(t, pgx.TxOptions{})
	if err := postgres.Guard(bounded(t), tx, g); err != nil {
		t.Fatal(err)
	}
	next := make(chan *session.Grant, 1)
	ctx := bounded(t)
	go func() {
		got, err := m.Lock(ctx)
		if err != nil {
			t.Error(err)
		}
		next <- got
	}()
	notYet(t, next, "the lock is held")
	briefly, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_ = g.Release(briefly)
	notYet(t, next, "the guarded transaction of a holder that has released is open")
	if err := tx.Commit(bounded(t)); err != nil {
		t.Error(err)
	}
	_ = granted(t, next).Release(bounded(t))
}

func TestDowngradeWaitsForAGuardedTransaction(t *testing.T) {
	t.Parallel()
	url := namespace(t, "downgrade")
	a, b := open(t, url), open(t, url)
	g, err := rwmutex.New(a, "q").Lock(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	tx := begin(t, pgx.TxOptions{})
	if err := postgres.Guard(bounded(t), tx, g); err != nil {
		t.Fatal(err)
	}
	type result struct {
		g   *session.Grant
		err error
	}
	down, read := make(chan result, 1), make(chan *session.Grant, 1)
	ctx := bounded(t)
	go func() {
		shared, err := rwmutex.New(a, "q").Downgrade(ctx, g)
		down <- result{shared, err}
	}()
	go func() {
		r, err := rwmutex.New(b, "q").RLock(ctx)
		if err != nil {
			t.Error(err)
		}
		read <- r
	}()
	notYet(t, read, "the writer's guarded transaction is open")
	if err := tx.Commit(bounded(t)); err != nil {
		t.Error(err)
	}
	d := <-down
	if d.err != nil {
		t.Fatal(d.err)
	}
	_ = granted(t, read).Release(bounded(t))
	// What is held now is another grant; the first guards nothing more.
	late := begin(t, pgx.TxOptions{})
	if err := postgres.Guard(bounded(t), late, g); !errors.Is(err, session.ErrReleased) || late.Commit(bounded(t)) == nil {
		t.Errorf("Guard with a grant that was downgraded returned %v", err)
	}
	_ = d.g.Release(bounded(t))
}

// A transaction whose view is from before the grant cannot tell whether it was lost.
func TestGuardInAnOlderViewAsksToRunAgain(t *testing.T) {
	t.Parallel()
	s := open(t, namespace(t, "viewed"))
	for _, level := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		tx := begin(t, pgx.TxOptions{IsoLevel: level})
		if _, err := tx.Exec(bounded(t), "SELECT FROM viewed.entry"); err != nil {
			t.Fatal(err)
		}
		g := lock(t, s, "q")
		err := postgres.Guard(bounded(t), tx, g)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "40001" || errors.Is(err, session.ErrLost) {
			t.Errorf("%s: Guard returned %v, want SQLSTATE 40001", level, err)
		}
		if tx.Commit(bounded(t)) == nil {
			t.Errorf("%s: the transaction was committed", level)
		}
		again := begin(t, pgx.TxOptions{IsoLevel: level})
		if err := errors.Join(postgres.Guard(bounded(t), again, g), again.Commit(bounded(t))); err != nil {
			t.Errorf("%s: run again: %v", level, err)
		}
		_ = g.Release(bounded(t))
	}
}

func TestGuardIsForGrantsOfThisStore(t *testing.T) {
	t.Parallel()
	st := memory.NewStore()
	s, err := st.Session(bounded(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(bounded(t))
	if err := postgres.Guard(bounded(t), begin(t, pgx.TxOptions{}), lock(t, s, "q")); err == nil || !strings.Contains(err.Error(), "not one of a session on PostgreSQL") {
		t.Errorf("Guard of a grant in memory returned %v", err)
	}
	// A transaction in another database finds no such schema.
	other := open(t, namespace(t, "guarded"))
	g := lock(t, other, "q")
	execute(t, "ALTER SCHEMA guarded RENAME TO guarded_elsewhere")
	defer execute(t, "ALTER SCHEMA guarded_elsewhere RENAME TO guarded")
	if err := postgres.Guard(bounded(t), begin(t, pgx.TxOptions{}), g); err == nil || !strings.Contains(err.Error(), "GRANT USAGE ON SCHEMA guarded") {
		t.Errorf("Guard without the schema returned %v", err)
	}
}
