package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/fairlead-go/fairlead/internal/process"
)

// The modes of a Bouncer: how long a client keeps a connection to the server.
const (
	PoolTransaction = "transaction" // for a transaction; the next one may get another
	PoolSession     = "session"     // for as long as it is connected
)

// bouncerUser is pgbouncer's name for its administrator's user and database.
const bouncerUser = "pgbouncer"

// A Bouncer is a pgbouncer before a server, which may at times be dead. Its
// methods may be called concurrently.
type Bouncer struct {
	place    *place
	path     string // of the program
	password string // of bouncerUser
	child    *process.Child
}

// StartBouncer starts a pgbouncer before the server for users, who are names and
// passwords that the server has as well, and waits until it answers. The way to
// it is without TLS; the way on is with TLS if the server's Config has it, but a
// server that wants clients' certificates has none from a Bouncer.
func StartBouncer(s *Server, mode string, users map[string]string) (*Bouncer, error) {
	switch {
	case mode != PoolTransaction && mode != PoolSession:
		return nil, fmt.Errorf("start pgbouncer: there is no mode %q", mode)
	case s.config.TLS != nil && s.config.TLS.CA != "":
		return nil, errors.New("start pgbouncer: it has no certificate to show the server")
	case users[bouncerUser] != "":
		return nil, fmt.Errorf("start pgbouncer: the user %s is its own", bouncerUser)
	}
	path, err := findBouncer()
	if err != nil {
		return nil, err
	}
	p, err := newPlace("")
	if err != nil {
		return nil, err
	}
	b := &Bouncer{place: p, path: path, password: rand.Text(), child: process.New("pgbouncer", p.dir, p.log())}
	if err := p.launch(process.Reserve, func() error { return b.configure(s, mode, users) }, b.Restart); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// findBouncer looks where Debian has it as well: users' PATH is without it.
func findBouncer() (string, error) {
	path, err := exec.LookPath("pgbouncer")
	if err == nil {
		return path, nil
	}
	if path, err := exec.LookPath("/usr/sbin/pgbouncer"); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("find pgbouncer (Debian's pgbouncer has it): %w", err)
}

func (b *Bouncer) config() string { return filepath.Join(b.place.dir, "pgbouncer.ini") }

func (b *Bouncer) configure(s *Server, mode string, users map[string]string) error {
	list := filepath.Join(b.place.dir, "users")
	users = maps.Clone(users)
	if users == nil {
		users = make(map[string]string)
	}
	users[bouncerUser] = b.password
	var text strings.Builder
	for _, user := range slices.Sorted(maps.Keys(users)) {
		double := strings.NewReplacer(`"`, `""`)
		fmt.Fprintf(&text, "\"%s\" \"%s\"\n", double.Replace(user), double.Replace(users[user]))
	}
	if err := b.place.write(list, text.String()); err != nil {
		return err
	}
	tls := "disable"
	if s.config.TLS != nil {
		tls = "require"
	}
	return b.place.write(b.config(), fmt.Sprintf(`[databases]
* = host=%[1]s port=%[2]d
[pgbouncer]
listen_addr = %[1]s
listen_port = %[3]d
unix_socket_dir =
pool_mode = %[4]s
auth_type = scram-sha-256
auth_file = %[5]s
admin_users = %[6]s
server_tls_sslmode = %[7]s
; how long it keeps from a server that was not there
server_login_retry = 0.2
max_client_conn = 400
`, process.Loopback, s.place.port.Number, b.place.port.Number, mode, list, bouncerUser, tls))
}

// Addr is where clients connect, host:port.
func (b *Bouncer) Addr() string { return b.place.port.Addr() }

// URL is what clients are given to connect to a database of the server.
func (b *Bouncer) URL(user, password, database string) string {
	return connectURL(b.Addr(), user, password, database, "disable")
}

// Log returns what the bouncer wrote last, in all its lives: some kilobytes.
func (b *Bouncer) Log() string { return b.child.Log() }

// Restart starts the bouncer again, on the same port, and waits until it answers,
// a minute at most; that says nothing of the server behind it. When Restart
// fails, the process is left as it is.
func (b *Bouncer) Restart() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), startTimeout,
		fmt.Errorf("not ready after %v", startTimeout))
	defer cancel()
	return b.child.Start(ctx, command(b.place, b.path, b.config()), b.answers)
}

// answers reports whether the bouncer lets its administrator in.
func (b *Bouncer) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	conn, err := pgconn.Connect(ctx, b.URL(bouncerUser, b.password, bouncerUser))
	if err != nil {
		return false
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), goodbyeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // nothing depends on it any more
	return true
}

// Kill ends the bouncer as a crash would, with SIGKILL, and waits until it is
// gone. It fails when the bouncer does not run.
func (b *Bouncer) Kill() error { return b.child.Kill() }

// Close ends the bouncer, waits until it is gone, gives its port back, and
// removes its directory. No other method may be called at the same time or later;
// a second Close does nothing.
func (b *Bouncer) Close() {
	b.child.End()
	b.place.leave()
}
