package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/internal/cert"
	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/session/postgres"
)

const (
	// patience bounds everything that must happen, on a machine that may be busy.
	patience = 30 * time.Second

	// user may call the functions of the namespace, over TLS and with a certificate, and do
	// nothing else.
	user     = "app"
	password = "p@ss/word"
)

// server is shared by all tests.
var server *pgserver.Server

// secured are the parameters of URLs that say how to speak TLS.
var secured url.Values

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fairlead-postgres-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = start(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	server.Close()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// start starts the server, makes the schema, and lets the user use it.
func start(dir string) error {
	ca, err := cert.New(dir, "authority")
	if err != nil {
		return err
	}
	its, err := ca.Issue("server")
	if err != nil {
		return err
	}
	ours, err := ca.Issue(user)
	if err != nil {
		return err
	}
	server, err = pgserver.Start(pgserver.Config{NoSync: true, TLS: &pgserver.TLS{CA: ca.File, Cert: its.Cert, Key: its.Key}})
	if err != nil {
		return err
	}
	secured = url.Values{"cacert": {ca.File}, "cert": {ours.Cert}, "key": {ours.Key}, "sslmode": {"verify-full"}, "migrate": {"never"}}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = postgres.Migrate(ctx, server.AdminURL("postgres"))
	if err == nil {
		err = server.CreateRole(ctx, user, password)
	}
	for _, grant := range []string{"USAGE ON SCHEMA fairlead", "EXECUTE ON ALL FUNCTIONS IN SCHEMA fairlead"} {
		if err == nil {
			err = server.Exec(ctx, "postgres", "GRANT "+grant+" TO "+user)
		}
	}
	if err != nil {
		server.Close()
	}
	return err
}

// at is the URL of a server at that address.
func at(addr string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: addr, Path: "/postgres", RawQuery: secured.Encode()}
	return u.String()
}
