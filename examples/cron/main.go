// Command cron does what a crontab does that five machines have in common. In each
// period every machine starts
//
//	fairlead lock NAME --nonblock --quiet --min-hold 3s -- CMD
//
// and one of them runs CMD. The others print nothing, and end with status 1.
//
//	go run ./examples/cron
//
// --nonblock has those give up that come while it runs, and --min-hold those that come
// after a short CMD has ended already, because their clocks are slow. It has to be longer than
// the clocks differ, and shorter than a period.
//
// The machines are processes here. FAIRLEAD_STORE names a store that they use; without it
// they use an etcd that is started for them.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead-go/fairlead/session/embed"
)

const (
	machines = 5
	periods  = 3
	minHold  = "3s"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv("FAIRLEAD_STORE"), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, store string, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "fairlead-cron-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if store == "" {
		quiet := slog.New(slog.DiscardHandler)
		srv, err := embed.Start(ctx, embed.Config{Dir: filepath.Join(dir, "etcd"), Logger: quiet})
		if err != nil {
			return err
		}
		defer srv.Close()
		store = "etcd://" + srv.Addr()
	}
	fairlead := filepath.Join(dir, "fairlead.exe") // the suffix matters on Windows alone
	build := exec.CommandContext(ctx, "go", "build", "-o", fairlead, "github.com/fairlead-go/fairlead/cmd/fairlead")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build fairlead: %w\n%s", err, text)
	}
	for period := range periods {
		if err := tick(ctx, fairlead, store, period+1, out); err != nil {
			return err
		}
	}
	return nil
}

// tick is what happens in one period, on all machines. What they print is printed in the
// order of the machines.
func tick(ctx context.Context, fairlead, store string, period int, out io.Writer) error {
	var printed [machines]bytes.Buffer
	group, ctx := errgroup.WithContext(ctx)
	for n := range machines {
		group.Go(func() error {
			cmd := exec.CommandContext(ctx, fairlead, "lock", "examples/cron", "--nonblock", "--quiet", "--min-hold", minHold,
				"--", "echo", fmt.Sprintf("period %d: machine %d runs the job", period, n+1))
			cmd.Env = append(os.Environ(), "FAIRLEAD_STORE="+store)
			cmd.Stdout, cmd.Stderr = &printed[n], &printed[n]
			err := cmd.Run()
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 {
				return nil // somebody else runs it
			}
			return err
		})
	}
	err := group.Wait()
	for n := range printed {
		_, writeErr := printed[n].WriteTo(out)
		err = errors.Join(err, writeErr)
	}
	return err
}
