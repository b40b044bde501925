package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/fairlead-go/fairlead/session/driver"
)

var (
	errClosed = errors.New("the connection to PostgreSQL was closed by its owner")
	errEmpty  = errors.New("the server's answer is empty")
	errBusy   = errors.New("a guarded transaction on the entry is still open, or a join has not reached the disk yet")
	errUndone = errors.New("the entry was removed as soon as it was made")

	errCrowded = errors.New("all connections of this process are busy with requests that PostgreSQL does not answer: is a queue locked, or the disk full, or a synchronous standby away?")
)

// SQLSTATEs. Those of class FL are ours, raised by the functions in functions.sql.
const (
	stateIsolation  = "FL001"
	stateUnguarded  = "FL002"
	stateReadOnly   = "25006"
	stateBadSchema  = "3F000"
	stateNoFunction = "42883"
	stateNoTable    = "42P01"
	stateForbidden  = "42501"

	stateNoStatement = "26000" // of that name, prepared
)

// failed turns what went wrong with a request, made for ctx, into an error of the
// driver. The request ran under a context of its own, that ends with ctx or when
// the answer is overdue.
func (s *store) failed(ctx context.Context, op string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", op, ctx.Err())
	case s.ctx.Err() != nil:
		return driver.Permanent(fmt.Errorf("%s: %w", op, errClosed))
	case driver.IsPermanent(err), isDefinite(err):
		return fmt.Errorf("%s: %w", op, err)
	}
	if pg := serversError(err); pg != nil {
		return fmt.Errorf("%s: %w", op, s.judged(pg, err))
	}
	if isMismatch(err) && !s.lenient {
		return driver.Permanent(fmt.Errorf("%s: no agreement on TLS with PostgreSQL at %s: %w", op, s.where, err))
	}
	if isOverdue(err) {
		// Not wrapped: the caller's own context has not ended.
		return fmt.Errorf("%s: no answer from PostgreSQL at %s within %v", op, s.where, s.timeout)
	}
	return fmt.Errorf("%s: PostgreSQL at %s: %w", op, s.where, err)
}

// judged says of an error that the server has sent what it means, and what is to
// be done about it where trying again does not heal it.
func (s *store) judged(pg *pgconn.PgError, err error) error {
	at := "PostgreSQL at " + s.where
	switch pg.Code {
	case "28P01", "28000":
		return driver.Permanent(fmt.Errorf("%s does not let the user in (is the password right, and pg_hba.conf?): %w", at, pg))
	case "3D000":
		return driver.Permanent(fmt.Errorf("%s has no such database: the URL should look like postgres://USER@HOST/DATABASE: %w", at, pg))
	case stateBadSchema, stateNoFunction, stateNoTable:
		return driver.Permanent(fmt.Errorf("%s has no schema %q of Fairlead's, or not all of it: %s: %w", at, s.ns, howToMigrate(s.ns), pg))
	case stateForbidden:
		return driver.Permanent(fmt.Errorf("%s does not allow it to this user: %s: %w", at, howToGrant(s.ns), pg))
	case stateReadOnly:
		return fmt.Errorf("%s is read only (a standby, or a primary that was demoted): %w", at, pg)
	case "42P05", stateNoStatement: // a prepared statement is on another connection
		return driver.Permanent(fmt.Errorf("at %s is %s: %w", s.where, aPooler, pg))
	case "57P01", "57P02", "57P03":
		return fmt.Errorf("%s is starting or stopping: %w", at, pg)
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "22", "42": // what we sent can never be right there
		return driver.Permanent(fmt.Errorf("%s: %w", at, pg))
	}
	return fmt.Errorf("%s: %w", at, err)
}

// isOverdue tells whether we stopped waiting for an answer.
func isOverdue(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || pgconn.Timeout(err)
}

// serversError finds what a server has said. Where several hosts were tried, what
// can be healed by waiting is preferred: another host may not know the user.
func serversError(err error) *pgconn.PgError {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg
	}
	return nil
}

// codeOf is the SQLSTATE of an error, or "".
func codeOf(err error) string {
	if pg := serversError(err); pg != nil {
		return pg.Code
	}
	return ""
}

// isDeparted tells that the server at the other end is going away, or is no longer
// the one to talk to: what else we have of connections to it is of no use either.
func isDeparted(err error) bool {
	switch codeOf(err) {
	case stateReadOnly, "57P01", "57P02", "57P03":
		return true
	}
	return false
}

// isRejection tells that the server has done nothing of what it was asked, for a reason
// that may be in the request. With FATAL it may have.
func isRejection(err error) bool {
	pg := serversError(err)
	return pg != nil && pg.SeverityUnlocalized == "ERROR" && !isDeparted(err)
}

// isDefinite tells of an error that has the driver's form already.
func isDefinite(err error) bool {
	_, limit := errors.AsType[*driver.LimitError](err)
	return limit || errors.Is(err, driver.ErrEntryGone) || errors.Is(err, driver.ErrLeaseGone) ||
		errors.Is(err, driver.ErrConflict) || errors.Is(err, driver.ErrRefused)
}

// isMismatch tells whether no connection can come about because the two sides do
// not agree on TLS.
func isMismatch(err error) bool {
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	return cert || record || alert || name || authority ||
		strings.Contains(err.Error(), "server refused TLS connection") || strings.Contains(err.Error(), "remote error: tls: ")
}

// aPooler is what keeps us from listening.
const aPooler = "a connection pooler that shares connections between transactions, through which nobody can be woken: " +
	"connect to PostgreSQL itself, or have the pooler share sessions, or add ?poll=200ms to the URL to look that often instead"

func howToMigrate(ns string) string {
	return fmt.Sprintf("run `fairlead migrate` with a URL that ends in ?namespace=%s, as a user who may create schemas, "+
		"or call postgres.Migrate", ns)
}

func howToGrant(ns string) string {
	return fmt.Sprintf("its owner has to run GRANT USAGE ON SCHEMA %[1]s TO …; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %[1]s TO …;", ns)
}

// quoted quotes a name for an error, without the cost of doing it well: most often
// there is no error.
func quoted(name string) string { return `"` + name + `"` }
