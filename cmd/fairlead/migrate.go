package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/session/postgres"
)

func newMigrate(flags *storeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Make or update the schema in PostgreSQL",
		Long: `Make or update the schema in which the locks of a PostgreSQL store are, and say who
may use it then. Other stores need nothing of the kind.

It can be done while locks are in use, by several at a time, and again: where
nothing is to be done, nothing happens. It needs the user who owns the schema or, the
first time, one who may create it. A session does the same by itself when it is
opened, where its user may: for those who run as a user with fewer rights, and with
?migrate=never, this command is the way.

Exit status: 0 when the schema is up to date, 125 when it could not be made.`,
		Example: `  fairlead migrate --store 'postgres://owner@db.example/prod?password-file=/run/secrets/owner'
  fairlead migrate --store 'postgres://owner@db.example/prod?namespace=locks'   # in a schema of another name`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return migrate(ctx, cmd, flags)
		},
	}
}

func migrate(ctx context.Context, cmd *cobra.Command, flags *storeFlags) error {
	raw := flags.storeURL()
	switch scheme, _, ok := strings.Cut(raw, "://"); {
	case !ok: // it is not repeated, as it may hold a password
		return errors.New("the store URL has no scheme: give --store postgres://USER@HOST/DATABASE")
	case scheme != "postgres" && scheme != "postgresql":
		return fmt.Errorf("there is no schema to make for a store of the kind %q: give --store postgres://USER@HOST/DATABASE", scheme)
	}
	limited, cancel := context.WithTimeout(ctx, flags.connectTimeout)
	defer cancel()
	if err := postgres.Migrate(limited, raw); err != nil {
		return err
	}
	namespace := postgres.DefaultNamespace
	if _, query, ok := strings.Cut(raw, "?"); ok {
		if values, err := url.ParseQuery(query); err == nil && values.Get("namespace") != "" {
			namespace = values.Get("namespace")
		}
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), `The schema %[1]q is up to date. Who runs as another user needs this and no more:

  GRANT USAGE ON SCHEMA %[1]s TO app;
  GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %[1]s TO app;
`, namespace)
	return err
}
