package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	fairleadpostgres "github.com/fairlead-go/fairlead/session/postgres"
	"github.com/fairlead-go/fairlead/watch"
)

const (
	postgresDatabase = "postgres"
	postgresDisk     = 192 << 20
	postgresSegment  = 16 << 20 // a file of its log
)

// A postgres is one server, which a crash takes away until it is started again.
type postgres struct {
	*network // none
	unlimited
	selfreliant
	user   user
	disk   *disk
	clocks *clocks
	server *pgserver.Server
}

func startPostgres(ctx context.Context, dir string, _ time.Duration) (_ Cluster, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	dir = filepath.Join(dir, "postgres")
	c := &postgres{}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.clocks, err = newClocks(dir+"-clock", 1); err != nil {
		return nil, err
	}
	if c.disk, err = newDisk(dir, postgresDisk); err != nil {
		return nil, err
	}
	c.server, err = pgserver.Start(pgserver.Config{Dir: dir, Through: c.clocks.through(0), NoSync: true, Settings: map[string]string{
		"wal_keep_size": "0", "min_wal_size": "32MB", "max_wal_size": "48MB",
	}})
	if err != nil {
		return nil, err
	}
	return c, c.admit(ctx)
}

func (c *postgres) URL() string      { return plain(c.server.URL(userName, c.user.get(), postgresDatabase)) }
func (c *postgres) AdminURL() string { return plain(c.server.AdminURL(postgresDatabase)) }

// plain leaves out what is for libpq.
func plain(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return url
}

// admit makes the schema, and the clients' user, who may use it.
func (c *postgres) admit(ctx context.Context) error {
	if err := fairleadpostgres.Migrate(ctx, c.AdminURL()); err != nil {
		return err
	}
	return c.user.change(ctx, c.URL, func(password string) error {
		if err := c.server.CreateRole(ctx, userName, password); err != nil {
			return err
		}
		return c.server.Exec(ctx, postgresDatabase, `GRANT USAGE ON SCHEMA fairlead TO client;
			GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA fairlead TO client`)
	})
}

func (c *postgres) ChangePassword(ctx context.Context) error {
	return c.user.change(ctx, c.URL, func(password string) error {
		err := c.server.Exec(ctx, postgresDatabase, fmt.Sprintf(`ALTER ROLE client PASSWORD '%s'`, password))
		if err != nil {
			return err
		}
		return c.server.Exec(ctx, postgresDatabase, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1`, userName)
	})
}

func (c *postgres) Addrs() []string                     { return []string{c.server.Addr()} }
func (c *postgres) Members() []string                   { return []string{"postgres"} }
func (c *postgres) Leader(context.Context) (int, error) { return 0, nil }
func (c *postgres) Kill(int) error                      { return c.server.Kill() }
func (c *postgres) Restart(context.Context, int) error  { return c.server.Restart() }
func (c *postgres) Freeze(int) error                    { return c.server.Stop() }
func (c *postgres) Thaw(int) error                      { return c.server.Cont() }
func (c *postgres) Log(int) string                      { return c.server.Log() }

func (c *postgres) Close() {
	if c.server != nil {
		c.server.Close()
	}
	c.disk.close()
	c.clocks.close()
}

func (c *postgres) SetClock(ctx context.Context, i int, ahead time.Duration) error {
	return c.clocks.step(ctx, i, ahead, func(ctx context.Context) (at time.Time, err error) {
		err = c.query(ctx, &at, `SELECT clock_timestamp()`)
		return at, err
	})
}

func (c *postgres) Settled(ctx context.Context) error {
	return until(ctx, "sessions to last no longer than a TTL", func(ctx context.Context) error {
		var n int
		err := c.query(ctx, &n, `SELECT count(*) FROM fairlead.session WHERE expires_at > clock_timestamp() + ttl * interval '1 millisecond'`)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d are to last longer", n)
		}
		return err
	})
}

func (c *postgres) Deposed(context.Context, int) error { return ErrNone }

// FillDisk also has the server use up the files that it has ready for its log. What needs
// another one then ends all its processes, and they cannot recover.
func (c *postgres) FillDisk(ctx context.Context, _ int) error {
	if err := c.disk.fill(ctx); err != nil {
		return err
	}
	for range 2 * postgresDisk / postgresSegment {
		err := c.server.Exec(ctx, postgresDatabase, `SELECT pg_logical_emit_message(false, 'faults', ''), pg_switch_wal()`)
		if err != nil {
			return nil
		}
	}
	return errors.New("the disk is full, and the server's log goes on")
}

func (c *postgres) FreeDisk(ctx context.Context, _ int) (died bool, err error) {
	return c.disk.free(ctx, c, 0, c.server.Pid)
}

// Transfer has the server shut down in good order, and start again.
func (c *postgres) Transfer(context.Context) error {
	return errors.Join(c.server.Shutdown(pgserver.Fast), c.server.Restart())
}

// Maintain cleans the tables up, and ends all connections but its own.
func (c *postgres) Maintain(ctx context.Context) error {
	for _, sql := range []string{
		`CHECKPOINT`,
		`VACUUM FULL fairlead.entry`,
		`VACUUM FULL fairlead.session`,
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
	} {
		if err := c.server.Exec(ctx, postgresDatabase, sql); err != nil {
			return err
		}
	}
	return nil
}

func (c *postgres) EndSession(ctx context.Context, identity string) error {
	return c.server.Exec(ctx, postgresDatabase, `DELETE FROM fairlead.session WHERE identity = $1`, identity)
}

func (c *postgres) DeleteEntry(ctx context.Context, name string, e watch.Entry) error {
	return c.server.Exec(ctx, postgresDatabase, `DELETE FROM fairlead.entry WHERE queue = $1 AND token = $2`, name, int64(e.Token))
}

func (c *postgres) Recovered(ctx context.Context) error {
	return until(ctx, "the server", func(ctx context.Context) error {
		return c.server.Exec(ctx, postgresDatabase, `SELECT 1`)
	})
}

// Watchers counts connections: each that waits for something has one.
func (c *postgres) Watchers(ctx context.Context) (n int, err error) {
	err = c.query(ctx, &n, `SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`)
	return n, err
}

func (c *postgres) Leftovers(ctx context.Context) ([]string, error) {
	var left []string
	for _, table := range []string{"session", "entry", "limits", "observer"} {
		var n int
		if err := c.query(ctx, &n, `SELECT count(*) FROM fairlead.`+table); err != nil {
			return nil, err
		}
		if n > 0 {
			left = append(left, fmt.Sprintf("%d in %s", n, table))
		}
	}
	return left, nil
}

// query asks for one value.
func (c *postgres) query(ctx context.Context, value any, sql string) error {
	conn, err := pgx.Connect(ctx, c.server.AdminURL(postgresDatabase))
	if err != nil {
		return err
	}
	return errors.Join(conn.QueryRow(ctx, sql).Scan(value), conn.Close(ctx))
}
