package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/internal/process"
)

// promoteTimeout bounds, for the server, what Promote's context bounds for us.
const promoteTimeout = time.Minute

// StartReplica starts a hot standby of the primary: a server that has what the
// primary had at the start, follows it from then on, and until Promote lets
// nobody write. Writes come to it a little later; the primary does not wait. It
// gets the primary's Config, a temporary directory of its own, and the primary's
// users and passwords, and returns when it accepts queries.
func StartReplica(primary *Server) (*Server, error) {
	c := primary.config
	c.Dir = ""
	p, err := newPlace(c.Dir)
	if err != nil {
		return nil, err
	}
	s := newServer(c, p)
	s.password = primary.password
	err = s.clone(primary)
	if err == nil {
		extra := map[string]string{
			"primary_conninfo":            primary.AdminURL(superuser),
			"wal_retrieve_retry_interval": "100ms", // how soon it looks for a primary that was away
		}
		err = p.launch(process.Reserve, func() error { return c.write(p, extra) }, s.Restart)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// clone makes the server's data from the primary's, and marks it a standby.
func (s *Server) clone(primary *Server) error {
	if err := s.place.mkdir(s.place.data()); err != nil {
		return err
	}
	u, err := url.Parse(primary.AdminURL(superuser))
	if err != nil {
		return err
	}
	// What others see of a command line has no password.
	u.User = url.User(superuser)
	cmd, err := program(s.place, nil, "pg_basebackup", "--dbname="+u.String(), "--pgdata="+s.place.data(),
		"--no-password", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
	if err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, "PGPASSWORD="+primary.password)
	if err := run(cmd); err != nil {
		return fmt.Errorf("copy the data of postgres at %s: %w", primary.Addr(), err)
	}
	return s.place.write(filepath.Join(s.place.data(), "standby.signal"), "")
}

// Promote makes a replica a server of its own, which lets users write, and
// returns when it does. It blocks until then or until ctx is done; in the latter
// case the promotion goes on. To promote a server that is no replica is an error.
func (s *Server) Promote(ctx context.Context) error {
	err := s.admin(ctx, superuser, func(conn *pgx.Conn) error {
		var done bool
		err := conn.QueryRow(ctx, "select pg_promote(true, $1)", int(promoteTimeout.Seconds())).Scan(&done)
		if err == nil && !done {
			err = errors.New("it is not done after " + promoteTimeout.String())
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("promote postgres at %s: %w", s.Addr(), err)
	}
	return nil
}
