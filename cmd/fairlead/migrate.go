package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/internal/storeurl"
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

Exit status: 0 when the schema is up to date, 125 when it could not be made,
128+n when signal n came before that.`,
		Example: `  fairlead migrate --store 'postgres://owner@db.example/prod?password-file=/run/secrets/owner'
  fairlead migrate --store 'postgres://owner@db.example/prod?namespace=locks'   # in a schema of another name`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := newDesk()
			defer d.close()
			err := migrate(d.ctx, cmd, flags)
			if status, yes := d.interrupted(); yes && err != nil {
				return exit(status)
			}
			return err
		},
	}
}

func migrate(ctx context.Context, cmd *cobra.Command, flags *storeFlags) error {
	raw := flags.storeURL()
	if err := flags.check(); err != nil {
		return err
	}
	u, err := storeurl.Split(raw) // which repeats nothing that may be a password
	if err != nil {
		return err
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return fmt.Errorf("there is no schema to make for a store of the kind %q: give --store postgres://USER@HOST/DATABASE", u.Scheme)
	}
	limited, cancel := context.WithTimeout(ctx, flags.connectTimeout)
	defer cancel()
	if err := postgres.Migrate(limited, raw); err != nil {
		return err
	}
	namespace := postgres.DefaultNamespace
	if given := u.Query().Get("namespace"); given != "" {
		namespace = given
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), `The schema %[1]q is up to date. Who runs as another user needs this and no more:

  GRANT USAGE ON SCHEMA %[1]s TO app;
  GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %[1]s TO app;
`, namespace)
	return err
}
