package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/fairlead-go/fairlead/internal/storeurl"
	"github.com/fairlead-go/fairlead/session/driver"
)

// layout is the version of the schema that this build makes and understands.
// A later one may say that builds which understand this one may use it as well.
const layout = 4

//go:embed schema.sql
var schemaSQL string

//go:embed mark.sql
var markSQL string

//go:embed functions.sql
var functionsSQL string

// versionSQL is the part of the schema that every layout has.
const versionSQL = `
CREATE TABLE version (
	one    boolean PRIMARY KEY DEFAULT true CHECK (one),
	layout int NOT NULL, -- which the schema has
	needs  int NOT NULL  -- who understands this one may use it
);
CREATE FUNCTION schema_layout(OUT layout int, OUT needs int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp AS $$
	SELECT v.layout, v.needs FROM version v
$$;
`

// upgrades are the steps of the tables from one layout to the next: the first makes them.
// The functions follow, all of them.
var upgrades = [layout]string{
	versionSQL + schemaSQL + "INSERT INTO version (layout, needs) VALUES (1, 1);\n",
	markSQL,
	"UPDATE version SET layout = 3; -- functions alone: queue_append, queue_flush\n",
	"UPDATE version SET layout = 4; -- functions alone, and none that is new\n",
}

// grants takes from everybody what PostgreSQL gives everybody.
const grants = `
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA "fairlead" FROM PUBLIC;
`

// in puts the name of a namespace, which needs no quoting, into SQL.
func in(ns, sql string) string {
	return strings.NewReplacer(`"fairlead"`, `"`+ns+`"`, `'fairlead'`, `'`+ns+`'`).Replace(sql)
}

// statements are the requests to a namespace.
type statements struct {
	open, renew, check, close, entries              string
	join, look, settle, leave, update, limit, tell  string
	flush                                           string
	read, list, reap, sweep, observe, guard, layout string
	crack, marks, clear, state                      string
	joinMany, leaveMany                             string
}

// Several calls in one transaction, whose arguments are arrays: a row of the answer begins
// with the number of the call. Calls whose queue is locked are left out. The lock is that of
// the function enter, in functions.sql, which a call then has already. Each call still has
// its own snapshots, from later than its lock, as the functions are VOLATILE. Joins that go
// together are flushed together, and none of them separately, whatever they ask for.
const (
	joinMany = `SELECT a.number, ` + columns + `
	FROM (
		SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[],
				$7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::boolean[])
			WITH ORDINALITY a (a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, number)
			WHERE pg_try_advisory_xact_lock(hashtextextended('fairlead' || '/' || a2, 5261)) OFFSET 0
	) a, LATERAL "fairlead".queue_append(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, false)`

	leaveMany = `SELECT a.number, "fairlead".queue_leave(a1, a2, a3, a4)
	FROM (
		SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[])
			WITH ORDINALITY a (a1, a2, a3, a4, number)
			WHERE pg_try_advisory_xact_lock(hashtextextended('fairlead' || '/' || a2, 5261)) OFFSET 0
	) a`
)

func statementsFor(ns string) statements {
	rows := func(call string) string { return in(ns, `SELECT `+columns+` FROM "fairlead".`+call) }
	one := func(call string) string { return in(ns, `SELECT "fairlead".`+call) }
	return statements{
		open:    one(`session_open($1, $2, $3, $4)`),
		renew:   one(`session_renew($1)`),
		check:   one(`session_check($1)`),
		close:   in(ns, `SELECT what, queues FROM "fairlead".session_close($1)`),
		entries: in(ns, `SELECT queue, token, id FROM "fairlead".session_entries($1)`),
		join:    rows(`queue_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`),
		flush:   rows(`queue_flush($1, $2)`),
		look:    rows(`queue_look($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`),
		settle:  rows(`queue_settle($1, $2, $3, $4, $5)`),
		leave:   one(`queue_leave($1, $2, $3, $4)`),
		update:  rows(`queue_update($1, $2, $3, $4, $5)`),
		limit:   one(`queue_limit($1, $2, $3, $4, $5)`),
		tell:    one(`queue_tell($1, $2)`),
		read:    rows(`queue_read($1, $2)`),
		list:    rows(`queue_list($1)`),
		reap:    one(`queue_reap($1)`),
		sweep:   one(`sweep()`),
		observe: one(`observe($1, $2, $3)`),
		crack:   one(`queue_break($1, $2, $3, $4, $5, $6)`),
		marks:   in(ns, `SELECT id, who, reason FROM "fairlead".session_marks($1)`),
		clear:   one(`session_clear($1, $2)`),
		state:   one(`session_state($1)`),

		joinMany: in(ns, joinMany), leaveMany: in(ns, leaveMany),

		guard:  one(`guard($1, $2, $3)`),
		layout: in(ns, `SELECT layout, needs, current_setting('server_encoding'), current_setting('client_encoding') FROM "fairlead".schema_layout()`),
	}
}

// Migrate makes or updates the schema that a postgres:// URL names with its
// parameter namespace, "fairlead" if it has none. It is idempotent, and safe to run
// by several at a time and while the schema is in use: sessions of the layout before
// go on. It needs a user who owns the schema, or may act for its owner, as a superuser may;
// or, if that is not there, who may create it (the privilege CREATE on the database). What it
// makes belongs to the owner of what is there.
//
// It blocks until the database has done it, and ends otherwise with ctx. It fails with
// a permanent error where the schema is of a newer release than this.
func Migrate(ctx context.Context, rawURL string) error {
	u, err := storeurl.Split(rawURL)
	if err != nil {
		return fmt.Errorf("migrate: %w", driver.Permanent(err))
	}
	t, err := parseTarget(u)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	cfg, err := t.poolConfig(nil)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	c, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return fmt.Errorf("migrate: PostgreSQL at %s: %w", t.where(), err)
	}
	defer func() { _ = hangUp(c) }()
	return MigrateConn(ctx, c, t.namespace)
}

// MigrateConn is Migrate on a connection that the program already has, which is not
// in a transaction.
func MigrateConn(ctx context.Context, c *pgx.Conn, namespace string) error {
	if err := checkNamespace(namespace); err != nil {
		return driver.Permanent(fmt.Errorf("migrate: %w", err))
	}
	tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err == nil {
		err = migrate(ctx, tx, namespace)
		if err == nil {
			err = tx.Commit(ctx)
		} else {
			_ = tx.Rollback(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("migrate schema %s: %w", namespace, err)
	}
	return nil
}

func migrate(ctx context.Context, tx pgx.Tx, ns string) error {
	// Before anything is read: what is read then is what others have committed.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 5261))", pgx.QueryExecModeExec, "fairlead migrate "+ns); err != nil {
		return err
	}
	var schema, versioned bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1),
		EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
			WHERE n.nspname = $1 AND p.proname = 'schema_layout')`, pgx.QueryExecModeExec, ns).Scan(&schema, &versioned)
	if err != nil {
		return err
	}
	now := 0
	if versioned {
		var needs int
		if err := tx.QueryRow(ctx, in(ns, `SELECT layout, needs FROM "fairlead".schema_layout()`), pgx.QueryExecModeExec).Scan(&now, &needs); err != nil {
			return err
		}
		if needs > layout {
			return tooNew(ns, now, needs)
		}
	}
	if now >= layout {
		return nil
	}
	script := `SET LOCAL search_path = "fairlead", pg_catalog;` + "\n" + strings.Join(upgrades[now:], "\n") + functionsSQL + grants
	if !schema {
		script = `CREATE SCHEMA "fairlead";` + "\n" + script
	}
	if versioned {
		return migrateAsOwner(ctx, tx, ns, in(ns, script))
	}
	return execScript(ctx, tx, in(ns, script))
}

// migrateAsOwner runs a script as the owner of what is there. All functions belong to one
// role: they call one another with the rights of their owner, and nobody else may replace them.
func migrateAsOwner(ctx context.Context, tx pgx.Tx, ns, script string) error {
	var owner string
	err := tx.QueryRow(ctx, `SELECT pg_catalog.pg_get_userbyid(c.relowner)::text
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = 'version'`, pgx.QueryExecModeExec, ns).Scan(&owner)
	if err != nil {
		return err
	}
	if err = execScript(ctx, tx, "SET LOCAL ROLE "+pgx.Identifier{owner}.Sanitize()); err == nil {
		if err = execScript(ctx, tx, script); codeOf(err) == stateForbidden {
			return driver.Permanent(fmt.Errorf("it was migrated as the user %q, whose tables are in it, and who may not change everything there: "+
				"give that user all that is in it (ALTER FUNCTION ... OWNER TO), and the right to create there: %w", owner, err))
		}
	} else if codeOf(err) == stateForbidden {
		return driver.Permanent(fmt.Errorf("what is in it belongs to the user %q, as whom it has to be migrated: %w", owner, err))
	}
	return err
}

// execScript executes several statements.
func execScript(ctx context.Context, tx pgx.Tx, script string) error {
	results, err := tx.Conn().PgConn().Exec(ctx, script).ReadAll()
	for _, r := range results {
		if err == nil {
			err = r.Err
		}
	}
	return err
}

func tooNew(ns string, found, needs int) error {
	return driver.Permanent(fmt.Errorf("the schema %s has layout %d, for releases that understand %d, and this build understands up to %d: upgrade this program",
		ns, found, needs, layout))
}

// prepare sees to it that the schema is there and is one that we understand.
func (s *store) prepare(ctx context.Context, mayMigrate bool) error {
	found, err := s.readLayout(ctx)
	if err == nil && (found >= layout || !mayMigrate) {
		return s.usable(found)
	}
	switch codeOf(err) {
	case "": // it is there and old, or something else is wrong
		if err != nil {
			return err
		}
	case stateBadSchema, stateNoFunction, stateNoTable:
	default:
		return err
	}
	if !mayMigrate {
		return err
	}
	migrateErr := s.migrate(ctx)
	if migrateErr == nil {
		_, err = s.readLayout(ctx)
		return err
	}
	if codeOf(migrateErr) == stateForbidden {
		return driver.Permanent(fmt.Errorf("the schema %s is not there or is of an older release, and this user may not change that: %s: %w",
			s.ns, howToMigrate(s.ns), migrateErr))
	}
	if pg := serversError(migrateErr); pg != nil && isDefinition(pg) {
		return driver.Permanent(migrateErr)
	}
	return migrateErr
}

// isDefinition tells of an error in what is to be defined: something else of that name
// is there.
func isDefinition(pg *pgconn.PgError) bool { return strings.HasPrefix(pg.Code, "42") }

// usable tells whether a schema of an older layout will do.
func (s *store) usable(found int) error {
	if found < layout {
		return driver.Permanent(fmt.Errorf("the schema %s has layout %d, this build needs %d: %s", s.ns, found, layout, howToMigrate(s.ns)))
	}
	return nil
}

// readLayout returns the layout of the schema, if we may use it.
func (s *store) readLayout(ctx context.Context) (found int, err error) {
	var needs int
	var encoding, ours string
	err = s.query(ctx, vital, s.sql.layout, nil, func(r pgx.Rows) error { return r.Scan(&found, &needs, &encoding, &ours) })
	switch {
	case err != nil:
		return 0, err
	case needs > layout:
		return 0, tooNew(s.ns, found, needs)
	case encoding != "UTF8":
		return 0, driver.Permanent(fmt.Errorf("the database has the encoding %s, and names need UTF8", encoding))
	case ours != "UTF8": // of a pool of the program's own
		return 0, driver.Permanent(fmt.Errorf("the connection has the encoding %s, and names need UTF8: set client_encoding=UTF8 for the pool or the user", ours))
	}
	return found, nil
}

// migrate does so on a connection of the pool.
func (s *store) migrate(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx) // bounded by the caller: somebody else may be at it
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	return MigrateConn(ctx, c.Conn(), s.ns)
}
