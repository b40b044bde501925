package pgserver

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// goodbyeTimeout bounds the end of a connection to a server that may be frozen.
const goodbyeTimeout = time.Second

// URL is what clients are given to connect as the user. With Config.TLS it says
// sslmode=require, which does not check the server's certificate: a client that
// is to check it, or has one of its own, adds sslrootcert, sslcert and sslkey.
func (s *Server) URL(user, password, database string) string {
	mode := "disable"
	if s.config.TLS != nil {
		mode = "require"
	}
	return connectURL(s.Addr(), user, password, database, mode)
}

// AdminURL is for the superuser, who never needs TLS.
func (s *Server) AdminURL(database string) string {
	return connectURL(s.Addr(), superuser, s.password, database, "disable")
}

func connectURL(addr, user, password, database, sslmode string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(user, password),
		Host:     addr,
		Path:     "/" + database,
		RawQuery: url.Values{"sslmode": {sslmode}}.Encode(),
	}
	return u.String()
}

// Exec executes SQL as the superuser, on a connection of its own. Without args
// it may be several statements, which then are one transaction. It blocks until
// the server has answered or ctx is done, and with a frozen server that means the
// latter; what became of the statement is then unknown.
func (s *Server) Exec(ctx context.Context, database, sql string, args ...any) error {
	err := s.admin(ctx, database, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("execute on postgres at %s: %w", s.Addr(), err)
	}
	return nil
}

// admin lends a connection of the superuser.
func (s *Server) admin(ctx context.Context, database string, do func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, s.AdminURL(database))
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeTimeout)
		defer cancel()
		_ = conn.Close(ctx) // nothing depends on it any more
	}()
	return do(conn)
}

// CreateDatabase creates an empty database, which belongs to the superuser. It
// blocks as Exec does.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	return s.Exec(ctx, superuser, "create database "+pgx.Identifier{name}.Sanitize())
}

// CreateRole creates a user who may log in and has no right but those that
// everybody has. It blocks as Exec does.
func (s *Server) CreateRole(ctx context.Context, name, password string) error {
	return s.Exec(ctx, superuser, fmt.Sprintf("create role %s login password '%s'",
		pgx.Identifier{name}.Sanitize(), strings.ReplaceAll(password, "'", "''")))
}
