package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/sidecar"
	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// An electCommand is `fairlead elect`.
type electCommand struct {
	task
	store   *storeFlags
	value   string
	http    string           // where to listen
	sidecar *sidecar.Sidecar // nil without --http
}

func newElect(store *storeFlags) *cobra.Command {
	e := &electCommand{store: store}
	cmd := &cobra.Command{
		Use:   "elect NAME [flags] [-- CMD [ARG...]]",
		Short: "Run a command while leading",
		Long: `Stand for election NAME, and run CMD while leading. When the leadership is lost,
CMD is ended, fairlead stands again, and runs CMD again once it leads again.
When CMD ends by itself, fairlead resigns and exits with its status.

CMD is run as by "fairlead lock". SIGTERM, SIGINT, SIGHUP and SIGQUIT go to CMD;
fairlead resigns when CMD has ended, and exits. A long wait is told as by "fairlead
lock"; "fairlead leader" says who leads.

With --http, other programs of the machine or pod may ask who leads, and CMD may be
left out: fairlead then stands for election on their behalf until a signal ends it,
with status 0.
  /leader   JSON: name, value, identity, token, me, since; 404 when nobody leads,
            503 until that is known. me is true only while the own lease can be trusted
  /readyz   200 when the store answers that the lease is alive
  /healthz  200 while the lease can be trusted: 503 once it could not be renewed in
            time, until there is a new one
  /metrics  for Prometheus
There is no authentication: listen on 127.0.0.1, and in a pod, where the kubelet
asks /healthz, on the pod's address.

Exit status: that of CMD (128+n when signal n ended it), 126 or 127 when CMD cannot
be run, 123 when somebody broke the wait with "fairlead release", 125 when fairlead
itself failed, 128+n when signal n came while CMD did not run; without CMD, 0 when a
signal ended it.`,
		Example: `  fairlead elect billing/leader --value "$(hostname):8080" -- ./serve --port 8080
  fairlead elect billing/leader --http 127.0.0.1:4040   # beside a program that asks /leader`,
		ValidArgsFunction: store.completeNames("election"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := e.read(cmd, args); err != nil {
				return err
			}
			return e.run(cmd)
		},
	}
	e.register(cmd)
	cmd.Flags().StringVar(&e.value, "value", "", "what others see of the leader, such as its address (default host/pid)")
	cmd.Flags().StringVar(&e.http, "http", "", "host:port to answer who leads, and how the lease is: see above")
	return cmd
}

// read takes the arguments: a name alone will do where others ask who leads.
func (e *electCommand) read(cmd *cobra.Command, args []string) error {
	if e.http == "" || cmd.ArgsLenAtDash() >= 0 || len(args) != 1 {
		return e.parse(cmd, args)
	}
	if e.killAfter < 0 {
		return fmt.Errorf("--kill-after %v is negative", e.killAfter)
	}
	e.name = args[0]
	return driver.CheckName(e.name)
}

func (e *electCommand) run(cmd *cobra.Command) error {
	d := newDesk(otherSignals...)
	defer d.close()
	stop, err := e.telemetry.start(d.ctx, e.http != "")
	if err != nil {
		return err
	}
	defer stop()
	var l net.Listener
	if e.http != "" { // before anybody could elect us
		if l, err = listen("--http", e.http); err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
	}
	ctx, s, err := e.open(d, e.store)
	if err != nil {
		if status, yes := d.interrupted(); yes {
			return exit(status)
		}
		return err
	}
	defer closeSession(s)
	if err := e.settle(cmd, s.TTL()); err != nil {
		return err
	}
	if e.value == "" {
		e.value = s.Identity()
	}
	if l != nil {
		defer e.serve(ctx, s, l)()
	}
	return e.campaign(ctx, s, d)
}

// serve answers others until the function returned is called.
func (e *electCommand) serve(ctx context.Context, s *session.Session, l net.Listener) (stop func()) {
	e.sidecar = sidecar.New(s, e.name, e.value)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := e.sidecar.Watch(ctx); ctx.Err() == nil && !errors.Is(err, session.ErrClosed) {
			fmt.Fprintf(os.Stderr, "fairlead: /leader does not follow the election any more: %v\n", err)
		}
	}()
	mux := e.sidecar.Handler()
	mux.Handle("GET /metrics", e.telemetry.pipeline.Handler())
	closeServer := sidecar.Serve(l, mux)
	return func() {
		closeServer()
		cancel()
		<-done
	}
}

// errEnded says that the command was ended for a lease that seemed lost.
var errEnded = errors.New("the lease could not be renewed in time and the command was ended")

// campaign runs the command in each term until it ends by itself or a signal
// asks for the end.
func (e *electCommand) campaign(ctx context.Context, s *session.Session, d *desk) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	opts, end := e.options(s)
	defer end()
	finished := false
	var result error // when finished
	lead := func(ctx context.Context) error {
		end()
		term, _ := election.TermFrom(ctx)
		if e.sidecar != nil {
			e.sidecar.Lead(term.Grant)
		}
		if e.path == "" { // there is no command
			<-ctx.Done()
			return nil
		}
		outcome, err := e.task.run(term.Grant, d)
		switch {
		case err == nil && outcome.Lost && term.Context().Err() != nil: // the cause says why
			return errors.New(fate(outcome))
		case err == nil && outcome.Lost:
			return errEnded
		}
		if finished, result = true, err; err == nil {
			result = exit(outcome.Status)
		}
		stop() // even if the term is lost in this very moment
		return nil
	}
	el := election.NewWith(s, e.name, opts)
	for {
		err := el.Run(ctx, e.value, lead)
		if finished {
			return result
		}
		if status, yes := d.interrupted(); yes {
			if e.path == "" {
				return nil // nothing else was to end it
			}
			return exit(status)
		}
		if !errors.Is(err, errEnded) {
			return broken(advise(err))
		}
		// The lease was renewed after all, but too late for the command.
		fmt.Fprintf(os.Stderr, "fairlead: %v: campaigning again in %q\n", err, e.name)
	}
}
