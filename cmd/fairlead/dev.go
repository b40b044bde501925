package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/session/embed"
)

// A devCommand is `fairlead dev`.
type devCommand struct {
	dataDir string
	listen  string
}

func newDev() *cobra.Command {
	d := &devCommand{}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run an etcd server to develop against",
		Long: `Run an etcd server of one node in this process until a signal ends it, and print
the URL to use it with.

The server has neither TLS nor authentication: it is for development. Without
--data-dir its data is in a temporary directory that is removed at the end. With it,
the data is kept, and found again the next time.

Exit status: 0 when it was asked to end, 125 when it could not start or stopped.`,
		Example: `  fairlead dev
  fairlead dev --listen 127.0.0.1:0 --data-dir ./etcd-data   # a free port, and data that stays`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			desk := newDesk()
			defer desk.close()
			return d.run(desk.ctx, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&d.dataDir, "data-dir", "", "where to keep the data (default: a temporary directory)")
	cmd.Flags().StringVar(&d.listen, "listen", "127.0.0.1:2379", "host:port to listen on; port 0 takes a free one")
	return cmd
}

func (d *devCommand) run(ctx context.Context, out io.Writer) (err error) {
	dir, kept := d.dataDir, "kept"
	if dir == "" {
		if dir, err = os.MkdirTemp("", "fairlead-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		kept = "removed at the end"
	}
	srv, err := embed.Start(ctx, embed.Config{
		Dir:          dir,
		ListenClient: d.listen,
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use, perhaps by another \"fairlead dev\": stop that, or choose another address with --listen (%w)", d.listen, err)
	case err != nil && ctx.Err() != nil:
		return nil // asked to end before it was ready
	case err != nil:
		return err
	}
	defer srv.Close()
	_, _ = fmt.Fprintf(out, `%[1]s

etcd is ready there; its data is in %[2]s (%[3]s). In another terminal:

  export FAIRLEAD_STORE=%[1]s
  fairlead lock hello -- sh -c 'echo "token $FAIRLEAD_TOKEN"; sleep 3'

Ctrl-C stops it.
`, srv.Endpoint(), dir, kept)
	if host, _, err := net.SplitHostPort(srv.Addr()); err == nil && !net.ParseIP(host).IsLoopback() {
		fmt.Fprintf(os.Stderr, "fairlead: %s can be reached from other machines, by anybody: there is no authentication\n", srv.Addr())
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-srv.Etcd().Err():
		return fmt.Errorf("the server stopped: %w", err)
	}
}
