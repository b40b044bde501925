package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

type config struct {
	rounds    int
	duration  time.Duration
	run, skip *regexp.Regexp
	subjects  *regexp.Regexp
	store     string
	dir       string
	json      string
	profiles  string

	from []string // reports to write the document from, instead of measuring
	doc  string
}

func main() {
	if play, ok := role(); ok {
		exit(play())
	}
	c, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2) // flag has told why
	}
	if c.doc != "" {
		exit(document(c))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = bench(ctx, c, os.Stdout)
	stop()
	exit(err)
}

// role is what this process is there for when the benchmark has started itself again.
func role() (play func() error, ok bool) {
	if dir, ok := os.LookupEnv(serveVariable); ok {
		return func() error { return serve(dir, os.Stdin, os.Stdout) }, true
	}
	if value, ok := os.LookupEnv(leadVariable); ok {
		return func() error { return lead(value, os.Stdin, os.Stdout) }, true
	}
	return nil, false
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
	f.StringVar(&c.profiles, "profiles", "", "write CPU profiles of each subject's last round to this `directory`; for pprof")
	f.StringVar(&c.store, "store", "", "measure only on this `store`: "+strings.Join(names(), " or "))
	expression := func(to **regexp.Regexp) func(string) error {
		return func(s string) (err error) {
			*to, err = regexp.Compile(s)
			return err
		}
	}
	f.Func("run", "measure only the workloads whose name matches this `regexp`", expression(&c.run))
	f.Func("skip", "do not measure the workloads whose name matches this `regexp`", expression(&c.skip))
	f.Func("subjects", "measure only the subjects whose name matches this `regexp`; ratios are to the first", expression(&c.subjects))
	f.Func("from", "with -doc: the results, `files` that -json wrote, separated by commas", func(s string) error {
		c.from = strings.Split(s, ",")
		return nil
	})
	f.StringVar(&c.doc, "doc", "", "measure nothing, but write this `file` and its plots from the results that -from names")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	err := c.check(f.NArg())
	if err != nil {
		fmt.Fprintln(f.Output(), err)
	}
	return c, err
}

func (c config) check(arguments int) error {
	switch {
	case c.store != "" && !slices.Contains(names(), c.store):
		return fmt.Errorf("there is no store %q, but %s", c.store, strings.Join(names(), " and "))
	case c.rounds < 1 || c.duration <= 0:
		return errors.New("rounds and duration must be positive")
	case arguments > 0:
		return errors.New("there are no arguments but flags")
	case (c.doc == "") != (len(c.from) == 0):
		return errors.New("-doc and -from go together: the one is written from the other")
	}
	return nil
}

// names are those of the stores.
func names() (names []string) {
	for _, st := range stores() {
		names = append(names, st.name)
	}
	return names
}

// document writes the page about earlier runs.
func document(c config) error {
	var reports []*report.Report
	for _, file := range c.from {
		r, err := report.Read(file)
		if err != nil {
			return err
		}
		reports = append(reports, r)
	}
	unexplained, err := report.WritePage(reports, c.doc)
	for _, key := range unexplained {
		fmt.Fprintf(os.Stderr, "bench: the target %s is missed, and reasons.md does not say why\n", key)
	}
	return err
}
