package fence

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"regexp"
)

// DefaultTable is the table of a register unless Options names another.
const DefaultTable = "fairlead_fence"

// Options are for what is not as usual. nil is all as usual.
type Options struct {
	// Table is the register's table: lower-case letters, digits and underscores,
	// and before that, if need be, a schema of the same form and a dot. Empty means
	// DefaultTable.
	//
	// Without a schema, PostgreSQL looks for the table along the search_path, which
	// may differ between roles, databases and connections. Whoever admits in another
	// table is not fenced off: name the schema where there are several.
	Table string
}

// A Tx is what an [SQL] needs of database/sql: a *sql.Tx, or whatever wraps one. A
// *sql.DB and a *sql.Conn have the method as well; see [SQL] for what that is good for.
type Tx interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// A PGX is what an [SQL] needs of pgx, where that is used without database/sql: a
// pgx.Tx.
type PGX[R Row] interface {
	QueryRow(ctx context.Context, sql string, args ...any) R
}

// A Row is a *sql.Row or a pgx.Row.
type Row interface {
	Scan(dest ...any) error
}

// SQL is a register in a table of an SQL database, as seen from one transaction: that
// with the writes which it guards.
//
//	tx, err := db.BeginTx(ctx, nil)
//	if err != nil {
//		return err
//	}
//	defer tx.Rollback()
//	register := fence.NewSQL(tx, &fence.Options{Table: "billing.fence"})
//	if err := register.Admit(ctx, "ledger", grant.Token()); err != nil {
//		return err
//	}
//	if _, err := tx.ExecContext(ctx, "UPDATE ledger SET …"); err != nil {
//		return err
//	}
//	return tx.Commit()
//
// # Why it holds
//
// Admit is one UPSERT. It locks the resource's row of the register until the
// transaction ends, or is rolled back to a savepoint from before, also where it refuses. So of two transactions that admit to one
// resource the second waits for the first to end. If that is the older one, its write is
// committed by then, or never will be, and the newer one writes after it. If it is the
// newer one, the older is refused; or is admitted, where the newer was rolled back, and
// has written nothing. In no case does an older write come after a newer one.
//
// Admit has to come first in the transaction: what was read before may be from before the
// other's write. A transaction with several resources admits to them in the same order
// as all others, as with any locks.
//
// That is so at READ COMMITTED, PostgreSQL's default. At REPEATABLE READ and SERIALIZABLE
// it is so, too, but where another transaction has committed an admission since one's own
// began, Admit fails with a serialization failure (SQLSTATE 40001), be the token newer or
// older. As always there, the transaction is to be run anew, and then gets its answer.
//
// Admit belongs in the outermost transaction. What rolls back to a savepoint from before
// it, as the Rollback of a nested pgx.Tx does, takes the admission back, and unlocks the
// row: whatever the outer transaction writes after that is not guarded, unless it admits
// anew.
//
// # What it costs
//
// Admissions to one resource go one after another, for as long as the transactions take.
// A holder that is paused within its transaction keeps its successor waiting, in Admit,
// until its connection ends: let the server end it, with PostgreSQL's
// idle_in_transaction_session_timeout, and give ctx a deadline.
//
// Each admission writes a new version of the resource's row, also where the token is the
// same, or is refused. PostgreSQL's autovacuum removes the old ones.
//
// # Outside a transaction
//
// On a *sql.DB, or a *sql.Conn without BEGIN, the row is free again when Admit returns.
// Then admission and write are two steps: a holder that is paused between them writes
// after one that is newer. That narrows the gap, as Grant.Check does, and does not close
// it. What it is good for is to announce oneself, before the first write: from then on
// older holders, who admit in their transactions, are refused.
//
// # Databases
//
// It is tested on PostgreSQL. The statements are SQLite's as well, from 3.35 on, where
// only one transaction at a time can write. MySQL is not supported: it has neither
// ON CONFLICT nor RETURNING. Tokens are stored as signed integers of 64 bits; those above
// 2^63-1, which none of our stores gives out, are refused.
type SQL struct {
	queryRow func(ctx context.Context, query string, args ...any) Row
	table    string
}

// NewSQL returns the register as seen from a transaction. Wrong options are an error of
// its methods.
func NewSQL(tx Tx, opts *Options) *SQL {
	return &SQL{table: opts.table(), queryRow: func(ctx context.Context, query string, args ...any) Row {
		return tx.QueryRowContext(ctx, query, args...)
	}}
}

// NewPGX is NewSQL for a transaction of pgx.
func NewPGX[R Row](tx PGX[R], opts *Options) *SQL {
	return &SQL{table: opts.table(), queryRow: func(ctx context.Context, query string, args ...any) Row {
		return tx.QueryRow(ctx, query, args...)
	}}
}

// Admit implements [Register]. It waits while another transaction that has admitted
// something to the resource has not ended. After ErrStale the transaction could go on,
// and be committed: it is for the caller to roll it back. After any other error of the
// database the token may count as admitted if the transaction is committed all the same.
func (s *SQL) Admit(ctx context.Context, resource string, token uint64) error {
	if err := check(resource, token); err != nil {
		return err
	}
	if token > math.MaxInt64 {
		return fmt.Errorf("fence: token %d for %q: more than 2^63-1 cannot be stored", token, resource)
	}
	table, err := quote(s.table)
	if err != nil {
		return err
	}
	var newest int64
	if err := s.queryRow(ctx, fmt.Sprintf(upsert, table), resource, int64(token)).Scan(&newest); err != nil {
		return fmt.Errorf("fence: admit token %d to %q: %w", token, resource, err)
	}
	if uint64(newest) != token {
		return &StaleError{Resource: resource, Token: token, Newest: uint64(newest)}
	}
	return nil
}

// upsert records the token unless there is a newer one, and returns the newest. A row
// comes back in any case, and is locked in any case.
const upsert = `INSERT INTO %s AS seen (resource, token) VALUES ($1, $2) ` +
	`ON CONFLICT (resource) DO UPDATE SET token = CASE WHEN seen.token <= excluded.token THEN excluded.token ELSE seen.token END ` +
	`RETURNING token`

// Schema returns the statement that makes the register's table, unless it is there: for
// migrations. A program that admits needs the right to select, insert and update there,
// and one that deletes a resource the right to delete as well.
func Schema(opts *Options) (string, error) {
	table, err := quote(opts.table())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s (resource text NOT NULL PRIMARY KEY, token bigint NOT NULL CHECK (token > 0))`, table), nil
}

// An Execer is a *sql.DB, a *sql.Conn or a *sql.Tx.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// CreateTable makes the register's table, unless it is there: then the rights that
// Schema names are enough. Several may call it at a time, outside transactions.
func CreateTable(ctx context.Context, db Execer, opts *Options) error {
	schema, err := Schema(opts)
	if err != nil {
		return err
	}
	if _, err = db.ExecContext(ctx, schema); err != nil {
		// PostgreSQL looks first and creates then, so that of several one succeeds
		// and the others fail: for them it is there now.
		_, err = db.ExecContext(ctx, schema)
	}
	if err == nil {
		return nil
	}
	// It asks for the right to create before it looks.
	table, _ := quote(opts.table()) // Schema has found nothing wrong with it
	if _, missing := db.ExecContext(ctx, "SELECT resource, token FROM "+table+" WHERE false"); missing == nil {
		return nil
	}
	return fmt.Errorf("fence: create the table %s: %w", opts.table(), err)
}

func (o *Options) table() string {
	if o == nil || o.Table == "" {
		return DefaultTable
	}
	return o.Table
}

var tableName = regexp.MustCompile(`^(?:([a-z_][a-z0-9_]{0,62})\.)?([a-z_][a-z0-9_]{0,62})$`)

// quote returns a table's name for use in a statement. Names that PostgreSQL would change,
// to lower case or to 63 bytes, are refused: others might then mean another table.
func quote(table string) (string, error) {
	parts := tableName.FindStringSubmatch(table)
	switch {
	case parts == nil:
		return "", fmt.Errorf("fence: the table's name %q is not of lower-case letters, digits and underscores, at most 63, perhaps after such a schema and a dot", table)
	case parts[1] == "":
		return `"` + parts[2] + `"`, nil
	}
	return `"` + parts[1] + `"."` + parts[2] + `"`, nil
}
