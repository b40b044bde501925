package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/fairlead-go/fairlead/session"
	_ "github.com/fairlead-go/fairlead/session/etcd"
	_ "github.com/fairlead-go/fairlead/session/postgres"
	_ "github.com/fairlead-go/fairlead/session/redis"
	_ "github.com/fairlead-go/fairlead/session/zk"
)

const (
	storeVariable = "FAIRLEAD_STORE"
	defaultStore  = "etcd://127.0.0.1:2379"
)

// closeTimeout bounds how long a command that is done waits to give its lease
// back. If it cannot, the lease expires.
const closeTimeout = 5 * time.Second

// storeFlags say which store to use, and how.
type storeFlags struct {
	url            string
	given          *pflag.Flag // --store
	ttl            time.Duration
	connectTimeout time.Duration
}

func (f *storeFlags) register(flags *pflag.FlagSet) {
	// The default is not given to pflag, which would show it, and with it a
	// password in the environment, to whoever asks for help.
	flags.StringVar(&f.url, "store", "", "URL of the store; default $"+storeVariable+", else "+defaultStore+`.
A password given here shows in the process list: put the URL into
$`+storeVariable+", or the password into a file named by ?password-file=")
	f.given = flags.Lookup("store")
	flags.DurationVar(&f.ttl, "ttl", 0, "how long the store waits for a process that it does not hear from\n"+
		"before it ends its locks, permits and leaderships (default: ?ttl= of the URL, else 15s)")
	flags.DurationVar(&f.connectTimeout, "connect-timeout", 5*time.Second, "how long to try to reach the store")
}

func (f *storeFlags) storeURL() string { return cmp.Or(f.url, os.Getenv(storeVariable), defaultStore) }

// check looks at the flags. It refuses a URL that is empty, as that of a variable that is not
// set: a lock in another store than that of the others excludes nobody.
func (f *storeFlags) check() error {
	switch {
	case f.given != nil && f.given.Changed && f.url == "":
		return fmt.Errorf("--store is empty: give a URL, or leave it out for $%s, else %s", storeVariable, defaultStore)
	case f.ttl < 0 || f.connectTimeout <= 0:
		return fmt.Errorf("--ttl %v must not be negative, and --connect-timeout %v must be positive", f.ttl, f.connectTimeout)
	}
	return nil
}

// open opens a session at the store, whose trouble goes to standard error.
func (f *storeFlags) open(ctx context.Context, identity string) (*session.Session, error) {
	return f.openWith(ctx, &session.Options{Identity: identity, Logger: warnings()})
}

// warnings is a logger of trouble to standard error.
func warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func (f *storeFlags) openLogging(ctx context.Context, identity string, logger *slog.Logger) (*session.Session, error) {
	return f.openWith(ctx, &session.Options{Identity: identity, Logger: logger})
}

// openWith opens a session with the options, whose TTL is the flag's.
func (f *storeFlags) openWith(ctx context.Context, o *session.Options) (*session.Session, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, f.connectTimeout)
	defer cancel()
	o.TTL = f.ttl
	s, err := session.Open(limited, f.storeURL(), o)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, fmt.Errorf("%w (tried for %v; no server yet? \"fairlead dev\" starts one to develop against)", err, f.connectTimeout)
	}
	return s, err
}

// closeSession gives everything back. Trouble is worth a line, no more: what the
// command did is done, and the lease runs out by itself.
func closeSession(s *session.Session) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "fairlead: the lease could not be given back and will run out within %v: %v\n", s.TTL(), err)
	}
}
