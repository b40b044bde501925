package main

import (
	"context"
	"errors"
	"hash/fnv"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	_ "github.com/fairlead-go/fairlead/session/postgres"
)

func postgresStore() store {
	return store{name: "postgres", start: startPostgres, expiring: 3 * time.Second, subjects: append(oursOn(""),
		subject{name: "pg_advisory_lock", kind: mutexes, open: pgPeer(newAdvisory)},
		subject{name: "raw INSERT+DELETE", kind: writes, open: pgPeer(newPostgresRaw)},
	)}
}

type postgresServer struct{ *pgserver.Server }

// startPostgres starts a server that flushes what it commits to the disk, as in
// production.
func startPostgres(ctx context.Context, dir string) (server, error) {
	s, err := pgserver.Start(pgserver.Config{Dir: filepath.Join(dir, "postgres"), Settings: map[string]string{"shared_buffers": "128MB", "max_connections": "500"}})
	if err != nil {
		return nil, err
	}
	if err := s.Exec(ctx, "postgres", `CREATE TABLE raw (name text PRIMARY KEY)`); err != nil {
		s.Close()
		return nil, err
	}
	return postgresServer{s}, nil
}

// addr is a URL here, as it takes a password. Without its query, which says that there is
// no TLS, and is the default's first choice for libpq and refused by us.
func (s postgresServer) addr() string {
	at, _, _ := strings.Cut(s.AdminURL("postgres"), "?")
	return at
}

func (s postgresServer) endpoint() string { return s.Addr() }

func (s postgresServer) version(ctx context.Context) (string, error) {
	c, err := pgx.Connect(ctx, s.AdminURL("postgres"))
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	var v string
	err = c.QueryRow(ctx, "SHOW server_version").Scan(&v)
	return "PostgreSQL " + v, err
}

func (s postgresServer) stop() error {
	s.Close()
	return nil
}

// pgPool is a client: a pool of connections, of which a contender has one while it
// holds a lock, and while it waits for one.
type pgPool struct {
	pool *pgxpool.Pool
	make func(p *pgxpool.Pool, name string) contender
}

// poolSize is about what a server of this size has the processes for.
const poolSize = 64

func pgPeer(make func(p *pgxpool.Pool, name string) contender) func(context.Context, string, time.Duration) (client, error) {
	return func(ctx context.Context, addr string, _ time.Duration) (client, error) {
		c, err := pgxpool.ParseConfig(addr)
		if err != nil {
			return nil, err
		}
		c.MaxConns = poolSize
		p, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), c)
		if err != nil {
			return nil, err
		}
		return &pgPool{p, make}, nil
	}
}

func (p *pgPool) contender(_ context.Context, name string) (contender, error) {
	return p.make(p.pool, name), nil
}

func (p *pgPool) close(context.Context) error {
	p.pool.Close()
	return nil
}

// advisory is a contender that uses PostgreSQL's own locks of a connection: it waits
// in the server.
type advisory struct {
	pool *pgxpool.Pool
	key  int64
	conn *pgxpool.Conn
}

func newAdvisory(p *pgxpool.Pool, name string) contender {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return &advisory{pool: p, key: int64(h.Sum64())}
}

func (a *advisory) lock(ctx context.Context) (err error) {
	if a.conn, err = a.pool.Acquire(ctx); err != nil {
		return err
	}
	if _, err = a.conn.Exec(ctx, "SELECT pg_advisory_lock($1)", a.key); err != nil {
		a.conn.Release()
	}
	return err
}

func (a *advisory) unlock(ctx context.Context) error {
	defer a.conn.Release()
	var held bool
	err := a.conn.QueryRow(ctx, "SELECT pg_advisory_unlock($1)", a.key).Scan(&held)
	if err == nil && !held {
		err = errors.New("the advisory lock was not held")
	}
	return err
}

// postgresRaw inserts a row and deletes it, and excludes nobody: a durable commit, and one
// that is not, as ours.
type postgresRaw struct {
	pool *pgxpool.Pool
	name string
}

func newPostgresRaw(p *pgxpool.Pool, name string) contender { return &postgresRaw{p, name} }

func (r *postgresRaw) lock(ctx context.Context) error {
	_, err := r.pool.Exec(ctx, "INSERT INTO raw VALUES ($1)", r.name)
	return err
}

func (r *postgresRaw) unlock(ctx context.Context) error {
	b := &pgx.Batch{}
	b.Queue("SET LOCAL synchronous_commit = off")
	b.Queue("DELETE FROM raw WHERE name = $1", r.name)
	return r.pool.SendBatch(ctx, b).Close()
}
