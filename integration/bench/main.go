package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

type config struct {
	rounds   int
	duration time.Duration
	run      *regexp.Regexp
	store    string
	dir      string
	json     string
}

func main() {
	if dir, ok := os.LookupEnv(serveVariable); ok {
		exit(serve(dir, os.Stdin, os.Stdout))
	}
	c, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2) // flag has told why
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = bench(ctx, c, os.Stdout)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parse(args []string) (config, error) {
	var c config
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&c.rounds, "rounds", 5, "how often each subject is measured")
	f.DurationVar(&c.duration, "duration", 2*time.Second, "how long a subject runs in each round")
	f.StringVar(&c.dir, "dir", os.TempDir(), "where the server's data go: its disk is part of what is measured")
	f.StringVar(&c.json, "json", "", "also write the results to this `file`")
	f.StringVar(&c.store, "store", "", "measure only on this `store`: "+strings.Join(names(), " or "))
	f.Func("run", "measure only the workloads whose name matches this `regexp`", func(s string) (err error) {
		c.run, err = regexp.Compile(s)
		return err
	})
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if c.store != "" && !slices.Contains(names(), c.store) {
		err := fmt.Errorf("there is no store %q, but %s", c.store, strings.Join(names(), " and "))
		fmt.Fprintln(f.Output(), err)
		return c, err
	}
	if c.rounds < 1 || c.duration <= 0 || f.NArg() > 0 {
		err := errors.New("rounds and duration must be positive, and there are no arguments but flags")
		fmt.Fprintln(f.Output(), err)
		return c, err
	}
	return c, nil
}

// names are those of the stores.
func names() (names []string) {
	for _, st := range stores() {
		names = append(names, st.name)
	}
	return names
}

// bench measures all workloads on all stores.
func bench(ctx context.Context, c config, out io.Writer) error {
	dir, err := os.MkdirTemp(c.dir, "fairlead-bench-")
	if err != nil {
		return fmt.Errorf("make a directory for the server: %w", err)
	}
	defer os.RemoveAll(dir)

	r := report{Time: time.Now().UTC().Truncate(time.Second), Rounds: c.rounds, Duration: c.duration.String()}
	if r.Machine, err = describe(dir); err != nil {
		return err
	}
	fmt.Fprintln(out, r.Machine)

	for _, st := range stores() {
		if c.store != "" && c.store != st.name {
			continue
		}
		if err := benchStore(ctx, c, st, dir, &r, out); err != nil {
			return fmt.Errorf("on %s: %w", st.name, err)
		}
	}
	if len(r.Results) == 0 {
		return fmt.Errorf("-run %v matches no workload", c.run)
	}
	if c.json != "" {
		return r.write(c.json)
	}
	return nil
}

func benchStore(ctx context.Context, c config, st store, dir string, r *report, out io.Writer) (err error) {
	srv, err := st.start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()

	for _, w := range workloads() {
		if c.run != nil && !c.run.MatchString(w.name) {
			continue
		}
		res, err := measure(ctx, c, st, w, srv.addr())
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		r.Results = append(r.Results, res)
		if err := res.print(out); err != nil {
			return err
		}
	}
	return nil
}

// measure runs the workload with each subject in turn, once a round.
func measure(ctx context.Context, c config, st store, w workload, addr string) (_ result, err error) {
	res := result{Store: st.name, Workload: w.name, About: w.about}
	var teams []*team
	defer func() {
		for _, t := range teams {
			err = errors.Join(err, t.close())
		}
	}()
	for _, s := range st.subjects {
		if w.contenders > 1 && !s.excludes {
			continue
		}
		t, err := assemble(ctx, s, w, addr)
		if err != nil {
			return res, fmt.Errorf("%s: %w", s.name, err)
		}
		teams = append(teams, t)
		res.Subjects = append(res.Subjects, subjectResult{Name: s.name, Samples: map[string][]float64{}})
	}

	const warmUp = 200 * time.Millisecond
	for i, t := range teams {
		if _, err := w.run(ctx, t, warmUp); err != nil {
			return res, fmt.Errorf("%s: %w", res.Subjects[i].Name, err)
		}
	}
	for round := range c.rounds {
		for turn := range teams {
			i := (turn + round) % len(teams)
			sample, err := w.run(ctx, teams[i], c.duration)
			if err != nil {
				return res, fmt.Errorf("%s: %w", res.Subjects[i].Name, err)
			}
			for metric, v := range sample {
				res.Subjects[i].Samples[metric] = append(res.Subjects[i].Samples[metric], v)
			}
		}
	}
	return res, nil
}
