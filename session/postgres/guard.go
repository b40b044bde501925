package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// poisonTimeout bounds what is done so that a transaction fails.
const poisonTimeout = 2 * time.Second

// Guard makes a transaction conditional on a grant: it can be committed only if what
// was granted is still held, and until it has ended nobody else is granted it. So a
// holder that was stopped, or cut off, and goes on cannot write any more. It is for
// data in the database that the session is on, and needs no help from the tables.
//
//	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
//		if err := postgres.Guard(ctx, tx, g); err != nil {
//			return err
//		}
//		_, err := tx.Exec(ctx, "UPDATE account SET …")
//		return err
//	})
//
// It locks the grant's entry, and its session, until tx ends: the session is not ended
// meanwhile, even if it expires or somebody revokes it, and the entry neither removed
// nor changed. So a release, a downgrade or a proclamation of the same grant waits for
// tx, and those who are next in the queue wait for as long as tx is open: keep it
// short, and have the server bound it (idle_in_transaction_session_timeout). It waits
// for nothing itself but for requests of Fairlead's that are under way, and cannot
// deadlock with them. A mutex with LocalHandoff does not pass such a grant on: its release
// goes to the store, also when tx has ended by then.
//
// When the grant was lost, or was released, Guard fails, and what tx does from then on
// fails as well, its commit included; under a savepoint, the savepoint. The error Is
// session.ErrLost, or session.ErrReleased, or session.ErrClosed. At the isolation
// levels above READ COMMITTED a renewal of the lease since the transaction began, or
// that the grant is newer than that, makes Guard fail with SQLSTATE 40001, after which
// the transaction has to be run again: call Guard first in it. At those levels Guard of a
// grant that was lost fails so as well, until the session has noticed.
//
// The role of tx needs USAGE on the schema and EXECUTE on the functions, as the
// session's does.
func Guard(ctx context.Context, tx pgx.Tx, g *session.Grant) error {
	fail := func(err error) error {
		return &session.Error{Op: "guard " + g.Kind(), Name: g.Name(), Token: g.Token(), Err: err}
	}
	namespace, claim, ok := parseKey(g.Key())
	if !ok {
		return fail(driver.Permanent(errors.New("the grant is not one of a session on PostgreSQL")))
	}
	sql := statementsFor(namespace).guard
	if err := g.Check(); err != nil {
		poison(ctx, tx, sql)
		return err
	}
	// Who has passed it on before this shows in the last check, and nobody does later.
	g.Pin()
	_, err := tx.Exec(ctx, sql, g.Name(), int64(g.Token()), claim)
	switch codeOf(err) {
	case stateUnguarded:
		return fail(fmt.Errorf("%w: the entry is gone: %w", session.ErrLost, err))
	case stateBadSchema, stateNoFunction, stateForbidden:
		return fail(driver.Permanent(fmt.Errorf("the transaction's role cannot call the functions of schema %s: %s: %w",
			namespace, howToGrant(namespace), err)))
	}
	if err != nil {
		return fail(err)
	}
	// A grant that was exchanged, passed on or released has ended before its entry was touched.
	if err := g.Check(); err != nil {
		poison(ctx, tx, sql)
		return err
	}
	return nil
}

// poison makes a transaction fail: there is no entry with the token 0.
func poison(ctx context.Context, tx pgx.Tx, sql string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), poisonTimeout)
	defer cancel()
	_, _ = tx.Exec(ctx, sql, "", int64(0), "")
}
