package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/internal/storeurl"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// ports are those of hosts that have none in the URL, by its scheme.
var ports = map[string]string{
	"etcd": "2379", "etcds": "2379", "zk": "2181", "zks": "2181", "redis": "6379", "rediss": "6379",
	"postgres": "5432", "postgresql": "5432",
}

const sentinelPort = "26379"

func newDoctor(store *storeFlags) *cobra.Command {
	var form output
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine the store: is it fit for locks, and do they work?",
		Long: `Examine the store and print a line for each check: whether it is well, how long it
took, and what was found. Below that it says what to do, where something is to be done.

It connects to each host of the URL; asks the store for what matters to locks, such as
its version, its clock, what it evicts, whether it has space left, what a failover may
lose; and takes a lock of its own, ` + doctorPrefix + `RANDOM, sees it in the list, hands
it from one to another, and releases it. No entry or lease is left behind (ZooKeeper
removes the empty container a minute or so later), and nothing is changed, but that a
session clears away what crashed ones have left: a schema that is missing in
PostgreSQL is not made.

  ok       as it should be
  warn     it works; a failure of the store may break a promise, or it ends before long
  fail     it does not work, or a promise is broken
  unknown  it could not be seen, be it that this user may not

Exit status: 0 when nothing failed, whatever the warnings; 1 when something did; 125
when fairlead failed, wrong usage included; 128+n when signal n ended it.`,
		Example: `  fairlead doctor
  fairlead doctor --store 'redis://app@db.example?password-file=/run/secrets/redis'
  fairlead doctor -o json | jq -r '.[] | select(.verdict != "ok") | .check + ": " + .detail'
  fairlead doctor --timeout 3s   # as a probe`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return fmt.Errorf("--timeout %v must be positive", timeout)
			}
			return doctor(cmd.OutOrStdout(), store, form, timeout)
		},
	}
	form.register(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", 20*time.Second, "end after this time, and report what was not done by then as failed")
	return cmd
}

func doctor(out io.Writer, store *storeFlags, form output, timeout time.Duration) error {
	d := newDesk(otherSignals...)
	defer d.close()
	ctx, cancel := context.WithTimeout(d.ctx, timeout)
	defer cancel()
	x := &examination{store: store}
	if form == outputTable {
		x.print = func(f view.Finding) error { return printLines(out, f.Lines()) }
	}
	err := x.run(ctx)
	if status, yes := d.interrupted(); yes {
		return exit(status)
	}
	if err == nil && form == outputJSON {
		err = view.Write(out, x.found, true)
	}
	switch {
	case errors.Is(err, syscall.EPIPE):
		return exit(statusPipe)
	case err == nil && x.failed:
		return exit(statusUnfit)
	}
	return err
}

// An examination is what is done with a store, and what comes of it.
type examination struct {
	store   *storeFlags
	print   func(view.Finding) error // nil: when all is done
	found   []view.Finding
	failed  bool
	printed error // what kept us from printing
}

// tell takes a finding.
func (x *examination) tell(f driver.Finding, took time.Duration) {
	line := view.FindingOf(f, took)
	x.found = append(x.found, line)
	x.failed = x.failed || f.Verdict == driver.Failure
	if x.print != nil && x.printed == nil {
		x.printed = x.print(line)
	}
}

// step does something that ought to succeed, and tells of it.
func (x *examination) step(check string, do func() (detail string, err error)) bool {
	began := time.Now()
	detail, err := do()
	f := driver.Finding{Check: check, Verdict: driver.Fine, Detail: detail}
	if err != nil {
		f.Verdict, f.Detail = driver.Failure, err.Error()
	}
	x.tell(f, time.Since(began))
	return err == nil
}

// run fails where there is nothing to examine, or nowhere to print.
func (x *examination) run(ctx context.Context) error {
	if err := x.store.check(); err != nil {
		return err
	}
	raw := x.store.storeURL()
	u, err := storeurl.Split(raw)
	if err != nil {
		return err
	}
	reached, err := x.reach(ctx, u)
	if err != nil {
		return err
	}
	if reached {
		x.examine(ctx, untouched(u.Scheme, raw))
	}
	return x.printed
}

// untouched is the URL with which nothing is made of a schema that is missing.
func untouched(scheme, raw string) string {
	if scheme != "postgres" && scheme != "postgresql" {
		return raw
	}
	base, query, _ := strings.Cut(raw, "?")
	const auto, never = "migrate=auto", "migrate=never"
	parameters := slices.DeleteFunc(strings.Split(query, "&"), func(p string) bool { return p == "" || p == auto || p == never })
	return base + "?" + strings.Join(append(parameters, never), "&")
}

// reach connects to all hosts at once, and reports whether it is worth going on: whether any of
// them could be reached, or there are none.
func (x *examination) reach(ctx context.Context, u *url.URL) (bool, error) {
	port, networked := ports[u.Scheme]
	if !networked {
		return true, nil
	}
	if u.Query().Has("sentinel") {
		port = sentinelPort
	}
	hosts, err := storeurl.Hosts(u, port)
	if err != nil {
		return false, err
	}
	errs, took := make([]error, len(hosts)), make([]time.Duration, len(hosts))
	var wg sync.WaitGroup
	for i, host := range hosts {
		wg.Go(func() {
			began := time.Now()
			errs[i] = dial(ctx, host, x.store.connectTimeout)
			took[i] = time.Since(began)
		})
	}
	wg.Wait()
	reached := slices.Contains(errs, nil)
	for i, host := range hosts {
		f := driver.Finding{Check: "host", Verdict: driver.Fine, Detail: host + " can be reached"}
		if errs[i] != nil {
			f.Verdict, f.Detail = driver.Warning, errs[i].Error()
			f.Advice = "see whether the server runs, and what is between: sessions use the hosts that answer"
		}
		x.tell(f, took[i])
	}
	if !reached {
		x.tell(driver.Finding{Check: "connect", Verdict: driver.Failure,
			Detail: fmt.Sprintf("none of the hosts can be reached: %v", errs[0]),
			Advice: `start the server, or correct the URL; "fairlead dev" starts one to develop against`}, 0)
	}
	return reached, nil
}

func dial(ctx context.Context, host string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return err
	}
	return c.Close()
}

// examine connects, and looks at the store from inside and from outside.
func (x *examination) examine(ctx context.Context, rawURL string) {
	var st driver.Store
	var opts *session.Options
	connected := x.step("connect", func() (_ string, err error) {
		limited, cancel := context.WithTimeout(ctx, x.store.connectTimeout)
		defer cancel()
		st, opts, err = session.Connect(limited, rawURL, &session.Options{TTL: x.store.ttl, Logger: warnings()})
		if err != nil {
			return "", err
		}
		return "a store of the kind " + st.Backend(), nil
	})
	if !connected {
		return
	}
	if d, ok := st.(driver.Doctor); ok {
		began := time.Now()
		for f := range d.Examine(ctx) {
			x.tell(f, time.Since(began))
			began = time.Now()
		}
	}
	x.roundTrip(ctx, st, opts)
}
