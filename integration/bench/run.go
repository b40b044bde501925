package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// bench measures all workloads on all stores, and goes on when one fails.
func bench(ctx context.Context, c config, out io.Writer) error {
	dir, err := os.MkdirTemp(c.dir, "fairlead-bench-")
	if err != nil {
		return fmt.Errorf("make a directory for the server: %w", err)
	}
	defer os.RemoveAll(dir)

	r := report.Report{Time: time.Now().UTC().Truncate(time.Second), Rounds: c.rounds, Duration: c.duration.String()}
	if r.Machine, err = describe(dir); err != nil {
		return err
	}
	fmt.Fprintln(out, r.Machine)

	var errs []error
	for _, st := range stores() {
		if c.store != "" && c.store != st.name {
			continue
		}
		if err := benchStore(ctx, c, st, dir, &r, out); err != nil {
			errs = append(errs, fmt.Errorf("on %s: %w", st.name, err))
		}
	}
	switch {
	case len(r.Results) == 0 && len(errs) == 0:
		return errors.New("nothing was measured: no workload matches -run, or -skip matches all that do")
	case len(r.Results) > 0 && c.json != "":
		errs = append(errs, r.Write(c.json))
	}
	return errors.Join(errs...)
}

func benchStore(ctx context.Context, c config, st store, dir string, r *report.Report, out io.Writer) (err error) {
	srv, err := st.start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()

	v, err := srv.version(ctx)
	if err != nil {
		return fmt.Errorf("find out its version: %w", err)
	}
	r.Servers = append(r.Servers, v)
	for _, w := range workloads() {
		if !c.wants(w) || !w.fits(srv) {
			continue
		}
		res, failed := measure(ctx, c, st, srv, w)
		if failed != nil {
			failed = fmt.Errorf("%s: %w", w.name, failed)
			fmt.Fprintf(out, "\n%v\n", failed)
			if err = errors.Join(err, failed); ctx.Err() != nil {
				return err
			}
			continue // what takes long to measure is not thrown away for what fails
		}
		r.Results = append(r.Results, res)
		if failed := res.Print(out); failed != nil {
			return errors.Join(err, failed)
		}
	}
	return err
}

func (c config) wants(w workload) bool {
	return (c.run == nil || c.run.MatchString(w.name)) && (c.skip == nil || !c.skip.MatchString(w.name))
}

// fits tells whether there is something to measure.
func (w workload) fits(srv server) bool {
	_, counts := srv.(counting)
	return counts || !w.costs
}

// measure runs the workload with each subject in turn, once a round.
func measure(ctx context.Context, c config, st store, srv server, w workload) (_ report.Result, err error) {
	res := report.Result{Store: st.name, Workload: w.name, About: w.about}
	var teams []*team
	defer func() {
		for _, t := range teams {
			err = errors.Join(err, t.close())
		}
	}()
	for _, s := range st.subjects {
		if !w.takes(s) || c.subjects != nil && !c.subjects.MatchString(s.name) {
			continue
		}
		t, err := assemble(ctx, st, srv, s, w)
		if err != nil {
			return res, fmt.Errorf("%s: %w", s.name, err)
		}
		got := report.Subject{Name: s.name, Samples: map[report.Metric][]float64{}}
		err = t.warmUp(ctx, &got, c.duration)
		if errors.Is(err, errSetUp) && !strings.Contains(s.name, report.Ours) {
			res.Absent = append(res.Absent, report.Absence{Name: s.name, Why: err.Error()})
			t.abandon(ctx)
			continue
		}
		teams = append(teams, t)
		res.Subjects = append(res.Subjects, got)
		if err != nil {
			return res, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if len(teams) == 0 {
		return res, errors.New("no subject could be measured")
	}
	for round := range c.rounds {
		for turn := range teams {
			i := (turn + round) % len(teams)
			stop, err := c.profile(st.name + " " + w.name + " " + res.Subjects[i].Name)
			if err != nil {
				return res, err
			}
			got, err := w.run(ctx, teams[i], c.duration*time.Duration(max(1, w.stretch)))
			if err = errors.Join(err, stop()); err != nil {
				return res, fmt.Errorf("%s: %w", res.Subjects[i].Name, err)
			}
			note(&res.Subjects[i], got)
		}
	}
	return res, nil
}

// profile begins a CPU profile of what is being measured, if they are wanted.
func (c config) profile(of string) (stop func() error, err error) {
	if c.profiles == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(filepath.Join(c.profiles, strings.ReplaceAll(of, " ", "-")+".pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error { pprof.StopCPUProfile(); return f.Close() }, nil
}

// errSetUp says that the time for a workload to be set up was over.
var errSetUp = errors.New("not set up in time")

// warmUp measures what is measured once, and runs the workload for a moment.
func (t *team) warmUp(ctx context.Context, s *report.Subject, d time.Duration) error {
	if t.load.setUp != nil {
		limited, cancel := context.WithTimeoutCause(ctx, t.load.setUpLimit, errSetUp)
		once, err := t.load.setUp(limited, t)
		if err != nil && context.Cause(limited) == errSetUp {
			err = fmt.Errorf("%w: after %v, %w", errSetUp, t.load.setUpLimit, err)
		}
		cancel()
		if err != nil {
			return err
		}
		note(s, sample{figures: once})
	}
	if t.load.clients == 0 {
		return nil // it opens its own, anew in each round
	}
	const moment = 200 * time.Millisecond
	_, err := t.load.run(ctx, t, min(moment, d))
	return err
}

func note(s *report.Subject, got sample) {
	for metric, v := range got.figures {
		s.Samples[metric] = append(s.Samples[metric], v)
	}
	if len(got.took) > 0 {
		s.Curves = append(s.Curves, report.Curve(got.took))
	}
}
