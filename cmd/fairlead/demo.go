package main

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/demo"
)

func newDemo(store *storeFlags) *cobra.Command {
	var plant string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show, and check, what happens when processes die and freeze",
		Long: `Start an etcd server and five replicas, processes of their own that elect a
leader, queue for a lock and share the two permits of a semaphore; kill the
leader, freeze the next one, show who takes over and when, and check from what
the replicas wrote down that there never were two holders, nor more than two
permits given out, that they were served in order, that fencing tokens rose, and
that the frozen leader's late write was refused.

With --store it uses that store, under names that start with demo- and a random
suffix; without, $` + storeVariable + ` is not looked at, so that it meets no production store
by accident. --ttl and --connect-timeout have no effect.

Exit status: 0 if everything held, 1 if a guarantee was violated, 125 if the demo
could not be played to its end, 128+n if signal n ended it.`,
		Example: `  fairlead demo
  fairlead demo --store etcd://127.0.0.1:2379   # on a server of one's own`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := store.check(); err != nil {
				return err
			}
			d := newDesk()
			defer d.close()
			executable, err := os.Executable()
			if err != nil {
				return err
			}
			err = demo.Run(d.ctx, demo.Options{Executable: executable, Store: store.url, Plant: plant, Out: os.Stdout})
			status, ended := d.interrupted()
			switch {
			case errors.Is(err, demo.ErrViolated):
				return &exitError{status: 1, err: err}
			case ended:
				return exit(status)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&plant, "plant", "", "plant a bug ("+strings.Join(demo.Bugs, " or ")+"), which the checks have to find")
	_ = cmd.Flags().MarkHidden("plant") // fails only for a flag that does not exist
	return cmd
}

// newReplica is the command that the demo runs five times.
func newReplica(store *storeFlags) *cobra.Command {
	var opts demo.ReplicaOptions
	cmd := &cobra.Command{
		Use:    demo.ReplicaCommand,
		Short:  "A replica of the demo",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			opts.Store = store.storeURL()
			return demo.Replica(os.Stdin, opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.Name, "name", "", "of the replica")
	flags.StringVar(&opts.Prefix, "prefix", "", "of the names in the store")
	flags.StringVar(&opts.Journal, "journal", "", "file to write down what happens")
	flags.StringVar(&opts.Register, "register", "", "address of the register")
	flags.StringVar(&opts.Plant, "plant", "", "bug to plant")
	return cmd
}
