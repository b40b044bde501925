package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/check"
	"github.com/fairlead-go/fairlead/integration/faults/client"
	"github.com/fairlead-go/fairlead/integration/faults/cluster"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/integration/faults/nemesis"
	"github.com/fairlead-go/fairlead/integration/faults/register"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

const (
	startTimeout = time.Minute
	healTimeout  = time.Minute
	lookTimeout  = 5 * time.Second

	// epoch is how long a name is in use.
	epoch = 8 * time.Second

	// warmUp is how long nothing happens at first.
	warmUp = time.Second
)

// errViolated says that a promise was not kept.
var errViolated = errors.New("a promise was not kept")

// A stage is everything that runs.
type stage struct {
	options
	traits   cluster.Traits
	out      io.Writer
	cluster  cluster.Cluster
	register *register.Register
	cast     *cast
	nemesis  *nemesis.Nemesis
	run      check.Run
}

// errVacuous says that a run has shown nothing about some promise.
var errVacuous = errors.New("nothing was looked at by")

// torture makes a run and checks it. It returns what the checks have found, and
// errViolated if they have found something wrong. A run that is broken off, because the
// store does not come back say, is checked up to then.
func torture(ctx context.Context, o options, out io.Writer) (results []check.Result, err error) {
	fmt.Fprintf(out, "%s\n", o.replay())
	temporary := o.dir == ""
	if temporary {
		if o.dir, err = os.MkdirTemp("", "fairlead-faults-"); err != nil {
			return nil, err
		}
	} else if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, err
	}
	s := &stage{options: o, out: out}
	if err := os.RemoveAll(s.data()); err != nil { // of a run that was killed
		return nil, err
	}
	err = s.play(ctx)
	if err != nil && s.run.Cut == 0 {
		s.run.Cut = journal.Now()
	}
	s.close()
	if s.begun() {
		var verdict error
		results, verdict = s.check()
		err = errors.Join(err, verdict)
	}
	_ = os.RemoveAll(s.data()) // servers' data are of no use any more
	if temporary && err == nil {
		return results, os.RemoveAll(o.dir)
	}
	if err != nil {
		fmt.Fprintf(out, "journals and logs are in %s\n", o.dir)
	}
	return results, err
}

// begun tells whether all clients were started.
func (s *stage) begun() bool { return s.nemesis != nil }

func (s *stage) data() string { return filepath.Join(s.dir, "data") }

// play plays everything up to the point where the clients have ended.
func (s *stage) play(ctx context.Context) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	if err := s.storm(ctx); err != nil {
		return err
	}
	if err := s.calm(ctx); err != nil {
		return err
	}
	return s.sweep(ctx)
}

// open starts the store and the clients.
func (s *stage) open(ctx context.Context) (err error) {
	if s.traits, err = cluster.TraitsOf(s.backend); err != nil {
		return err
	}
	if s.cluster, err = cluster.Start(ctx, s.backend, s.data(), s.ttl); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if !cluster.Entered() {
		fmt.Fprintln(s.out, "without the right to have namespaces, which root has, nothing is partitioned and no disk is filled")
	}
	if s.run.Watchers.Before, err = s.cluster.Watchers(ctx); err != nil {
		return err
	}
	s.run.Watchers.Most = s.run.Watchers.Before + (s.clients+1)*(len(client.Kinds)+s.traits.Watchers) // one is the keeper
	if s.register, err = register.Listen(); err != nil {
		return err
	}
	names := client.Names{Epoch: epoch}
	keeperTTL := 10 * s.ttl
	if s.traits.Quiet {
		keeperTTL = s.ttl // the store would be quiet for as long as this
	}
	s.cast = &cast{dir: s.dir, url: s.cluster.URL}
	s.cast.keeper, err = openKeeper(ctx, s.options, s.cluster.AdminURL(), s.cast.journal(keeperName), names, keeperTTL)
	if err != nil {
		return err
	}
	s.run.Start = journal.Now()
	s.cast.begin(s.run.Start)
	s.cast.config = client.Config{
		Access: client.Access{Backend: s.backend}, Register: s.register.Addr(),
		Plant: s.plant, Seed: s.seed, TTL: s.ttl, Vigil: cmp.Or(s.vigil, 3*s.ttl), Start: s.run.Start, Names: names,
	}
	for range s.clients {
		if err := s.cast.recruit(s.cluster.Addrs()); err != nil {
			return err
		}
	}
	s.nemesis = &nemesis.Nemesis{Cluster: s.cluster, Cast: s.cast, TTL: s.ttl, Tell: func(f journal.Strike) { s.tell("%s", f.Text) }}
	return nil
}

// tell prints a line with the time.
func (s *stage) tell(format string, args ...any) {
	at := time.Duration(journal.Now() - s.run.Start)
	fmt.Fprintf(s.out, "%7.2fs  %s\n", at.Seconds(), fmt.Sprintf(format, args...))
}

// storm has faults happen, and returns when all are undone.
func (s *stage) storm(ctx context.Context) error {
	time.Sleep(warmUp)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	var guard sync.WaitGroup
	guard.Go(func() {
		if err := s.guard(ctx, over); err != nil {
			cancel(err)
		}
	})
	plan := s.plan
	switch {
	case plan == nil && s.only != "":
		plan = nemesis.DrawOnly(nemesis.Kind(s.only), s.seed, s.traits, s.ttl, s.length)
	case plan == nil:
		plan = nemesis.Draw(s.seed, s.traits, s.ttl, s.length)
	}
	err := s.nemesis.Run(ctx, plan)
	close(over)
	guard.Wait()
	return errors.Join(err, context.Cause(ctx))
}

// guard returns when over is closed, or with an error when ctx ends or a client has ended
// by itself. There the run is broken off: an interrupt ends the clients as well, and what
// they held, those who are started again are granted.
func (s *stage) guard(ctx context.Context, over <-chan struct{}) (err error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for err == nil {
		select {
		case <-over:
			return nil
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-tick.C:
			err = s.cast.deserters()
		}
	}
	s.run.Cut = journal.Now()
	return err
}

// calm lets everybody proceed, and then has the clients end.
func (s *stage) calm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healTimeout)
	defer cancel()
	if err := s.cluster.Recovered(ctx); err != nil {
		return err
	}
	for _, note := range s.cluster.Notes() {
		s.tell("%s", note)
	}
	if err := s.cast.calmDown(); err != nil {
		return errors.Join(err, s.cast.deserters())
	}
	s.run.Healed = journal.Now()
	s.tell("everything is healed")
	// Who had little patience before may give up for another TTL, and so hide that
	// somebody was not woken.
	peace, stop := context.WithTimeout(context.WithoutCancel(ctx), 3*s.ttl+time.Second)
	defer stop()
	if err := s.guard(ctx, peace.Done()); err != nil {
		return err
	}
	s.survey(ctx)
	s.run.End = journal.Now()
	s.tell("the clients are told to end")
	s.trouble(s.cast.dismiss(8 * s.ttl)...)
	return nil
}

func (s *stage) trouble(texts ...string) { s.run.Trouble = append(s.run.Trouble, texts...) }

// survey looks at what piles up while all clients are at work: later they are gone, and
// all that hung on their sessions is gone with them.
func (s *stage) survey(ctx context.Context) {
	var err error
	if s.run.Watchers.Busy, err = s.fewestWatchers(ctx); err != nil {
		s.trouble(fmt.Sprintf("the servers do not tell their watchers: %v", err))
	}
	s.tell("the servers have %d watchers with all clients at work; there may be %d", s.run.Watchers.Busy, s.run.Watchers.Most)
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if s.run.Standing, err = s.cast.standing(ctx); err != nil {
		s.trouble(fmt.Sprintf("the keeper does not see the queues: %v", err))
	}
	blind, note := s.cast.sight(s.run.Healed)
	if note != "" {
		s.tell("%s", note)
	}
	if blind > 2*s.ttl {
		s.trouble(fmt.Sprintf("all was healed, and the keeper saw no queue for %v: %s", blind.Round(time.Millisecond), note))
	}
}

// fewestWatchers is the least that the servers had of them in a second: those that are
// being stopped come and go, and those that were forgotten stay.
func (s *stage) fewestWatchers(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var all []int
	var failure error
	for range 5 {
		if n, err := s.cluster.Watchers(ctx); err == nil {
			all = append(all, n)
		} else {
			failure = err
		}
		rest(ctx, journal.Now()+int64(200*time.Millisecond))
	}
	if len(all) == 0 {
		return 0, failure
	}
	return slices.Min(all), nil
}

// sweep waits until nothing is left, for as long as that may take: those who were
// killed have left their leases; and what hangs on none is for sessions that begin
// later to remove.
func (s *stage) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healTimeout)
	defer cancel()
	if err := s.cast.end(ctx); err != nil {
		s.trouble(fmt.Sprintf("the keeper's session: %v", err))
	}
	patience := s.ttl + s.traits.Keep
	err := s.settle(ctx, patience)
	if err == nil && !s.clean() {
		var sweeper *session.Session
		if sweeper, err = client.Open(ctx, client.Access{Backend: s.backend, URL: s.cluster.URL()}, quiet("sweeper", s.ttl), nil); err != nil {
			return err
		}
		_, err = watch.List(ctx, sweeper, client.Prefix) // with some stores, who looks removes
		rest(ctx, journal.Now()+int64(s.ttl))            // with others, who begins a session does, beside it
		if err = errors.Join(err, sweeper.Close(ctx)); err == nil {
			err = s.settle(ctx, patience)
		}
	}
	return err
}

// settle returns when nothing is left, or after patience: then with an error, if that
// could not be found out the last time.
func (s *stage) settle(ctx context.Context, patience time.Duration) error {
	for end := journal.Now() + int64(patience); ; {
		err := s.look(ctx)
		if err == nil && s.clean() || journal.Now() > end || ctx.Err() != nil {
			return err
		}
		rest(ctx, journal.Now()+int64(200*time.Millisecond))
	}
}

// look finds out what is left.
func (s *stage) look(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if s.run.Left, err = s.cluster.Leftovers(ctx); err != nil {
		return err
	}
	s.run.Watchers.After, err = s.cluster.Watchers(ctx)
	return err
}

func (s *stage) clean() bool {
	return len(s.run.Left) == 0 && s.run.Watchers.After <= s.run.Watchers.Before
}

// close ends everything that runs.
func (s *stage) close() {
	if s.cast != nil {
		s.cast.close()
	}
	if s.cast != nil && s.cast.keeper != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
		defer cancel()
		_ = s.cast.end(ctx) // it has told before what is wrong, if that came so far
	}
	if s.register != nil {
		s.register.Close()
	}
	if s.cluster != nil {
		s.cluster.Close()
	}
}

// check checks the run and tells about it.
func (s *stage) check() ([]check.Result, error) {
	lives, err := s.cast.lives()
	if err != nil {
		return nil, err
	}
	if s.run.End == 0 {
		s.run.End = s.run.Cut
	}
	s.run.TTL, s.run.Limit, s.run.Dir = s.ttl, client.Limit, s.dir
	s.run.Quiet, s.run.Undoes = s.traits.Quiet, s.traits.Undoes
	s.run.Lives, s.run.Strikes, s.run.Writes = lives, s.nemesis.Strikes(), s.register.Writes()
	s.run.Sightings = s.cast.sightings
	if err := journal.WriteStrikes(filepath.Join(s.dir, "faults.json"), s.run.Strikes); err != nil {
		return nil, err
	}
	c, err := check.Open(s.run)
	if err != nil {
		return nil, err
	}
	summary, results := c.Summary(), c.Check()
	summary.Print(s.out)
	var violations []check.Violation
	for _, r := range results {
		verdict := "ok"
		if len(r.Violations) > 0 {
			verdict = fmt.Sprintf("VIOLATED %d times", len(r.Violations))
		}
		fmt.Fprintf(s.out, "%-12s %s (looked at %d)\n", r.Check, verdict, r.Looked)
		violations = append(violations, r.Violations...)
	}
	if len(violations) > 0 {
		err = errors.Join(errViolated, s.show(c, violations))
	}
	if none := c.Vacuous(results); s.run.Cut == 0 && len(none) > 0 {
		err = errors.Join(err, fmt.Errorf("%w %s", errVacuous, strings.Join(none, ", ")))
	}
	if s.json != "" {
		err = errors.Join(err, s.report(summary, results).write(s.json))
	}
	return results, err
}

// show tells what was violated, and draws it.
func (s *stage) show(c *check.Case, violations []check.Violation) error {
	for i, v := range violations {
		if i == 10 {
			fmt.Fprintf(s.out, "\nand %d more\n", len(violations)-i)
			break
		}
		fmt.Fprintf(s.out, "\n%s\n", strings.TrimSpace(v.Text))
	}
	file, err := c.Draw(violations)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\ndrawn in %s\nplay it again: %s\n", file, s.replay())
	return nil
}
