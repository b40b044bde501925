package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/session"
	_ "github.com/fairlead-go/fairlead/session/postgres"
)

func postgresStore() store {
	return store{name: "postgres", start: startPostgres, subjects: []subject{
		{name: "fairlead mutex", excludes: true, join: joinPostgres},
		{name: "pg_advisory_lock", excludes: true, join: joinAdvisory},
		{name: "raw INSERT+DELETE", join: joinPostgresRaw},
	}}
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

// addr is a URL here: it takes a password.
func (s postgresServer) addr() string { return s.AdminURL("postgres") }

func (s postgresServer) stop() error {
	s.Close()
	return nil
}

func joinPostgres(ctx context.Context, addr string) (contender, error) {
	at, _, _ := strings.Cut(addr, "?") // what follows is for libpq
	s, err := session.Open(ctx, at, &session.Options{TTL: sessionTTL * time.Second})
	if err != nil {
		return nil, err
	}
	return &ours{session: s}, nil
}

// advisory is a contender that uses PostgreSQL's own locks of a connection: it waits
// in the server.
type advisory struct {
	conn *pgx.Conn
	key  int64
}

func joinAdvisory(ctx context.Context, addr string) (contender, error) {
	c, err := pgx.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &advisory{conn: c}, nil
}

func (a *advisory) prepare(name string) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	a.key = int64(h.Sum64())
}

func (a *advisory) lock(ctx context.Context) error {
	_, err := a.conn.Exec(ctx, "SELECT pg_advisory_lock($1)", a.key)
	return err
}

func (a *advisory) unlock(ctx context.Context) error {
	var held bool
	err := a.conn.QueryRow(ctx, "SELECT pg_advisory_unlock($1)", a.key).Scan(&held)
	if err == nil && !held {
		err = errors.New("the advisory lock was not held")
	}
	return err
}

func (a *advisory) close(ctx context.Context) error { return a.conn.Close(ctx) }

// postgresRaw inserts a row and deletes it, and excludes nobody: a durable commit, and one
// that is not, as ours.
type postgresRaw struct {
	conn *pgx.Conn
	name string
}

func joinPostgresRaw(ctx context.Context, addr string) (contender, error) {
	c, err := pgx.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &postgresRaw{conn: c}, nil
}

func (r *postgresRaw) prepare(name string) { r.name = name + fmt.Sprintf("-%p", r) }

func (r *postgresRaw) lock(ctx context.Context) error {
	_, err := r.conn.Exec(ctx, "INSERT INTO raw VALUES ($1)", r.name)
	return err
}

func (r *postgresRaw) unlock(ctx context.Context) error {
	b := &pgx.Batch{}
	b.Queue("SET LOCAL synchronous_commit = off")
	b.Queue("DELETE FROM raw WHERE name = $1", r.name)
	return r.conn.SendBatch(ctx, b).Close()
}

func (r *postgresRaw) close(ctx context.Context) error { return r.conn.Close(ctx) }
