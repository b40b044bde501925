package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// What client-go's leaderelection does at its defaults: a lease of 15 s, which the leader
// renews every 2 s; candidates look every 2 to 4.4 s (RetryPeriod with JitterFactor 1.2),
// and count the 15 s from when they saw the last renewal. A look comes 1.7 s after any
// moment on average: 10.72/(2*3.2) s, by the mean square and the mean of the interval.
const (
	clientGoKilled = "On paper, client-go's leader election at its defaults: 17.4 s on average (1.7 s until the last renewal is seen, " +
		"15 s from then, 1.7 s until the next look, less 1 s from the renewal to the kill), 13 to 23.8 s with one candidate"
	clientGoResigned = "On paper, client-go's leader election at its defaults: as if killed, as ReleaseOnCancel is false; with it, " +
		"when a candidate looks next, 1.7 s on average, at most 4.4 s"
)

// pairsAtOnce is how many of what takes a TTL is tried beside one another in a round.
const pairsAtOnce = 4

// leadVariable, when set, makes this program a candidate: its value is a candidate's.
const leadVariable = "FAIRLEAD_BENCH_LEAD"

// A candidate is what a process that is to be killed has to know.
type candidate struct {
	Store, Subject, Addr, Name string
	TTL                        time.Duration
}

// lead becomes the leader, says so on out, and stays it until in ends, which it does when
// the parent does, or until it is killed.
func lead(value string, in io.Reader, out io.Writer) error {
	var me candidate
	if err := json.Unmarshal([]byte(value), &me); err != nil {
		return fmt.Errorf("read %s: %w", leadVariable, err)
	}
	for _, st := range stores() {
		i := slices.IndexFunc(st.subjects, func(s subject) bool { return s.name == me.Subject })
		if st.name != me.Store || i < 0 {
			continue
		}
		c, err := st.subjects[i].open(context.Background(), me.Addr, me.TTL)
		if err != nil {
			return err
		}
		m, err := c.contender(context.Background(), me.Name)
		if err != nil {
			return err
		}
		if err := m.lock(context.Background()); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, "leading"); err != nil {
			return fmt.Errorf("tell the parent: %w", err)
		}
		_, err = io.Copy(io.Discard, in)
		return err
	}
	return fmt.Errorf("there is no %s on %s", me.Subject, me.Store)
}

// kill kills leaders, and waits for the next ones.
func kill(ctx context.Context, t *team, _ time.Duration) (sample, error) {
	took := make([]time.Duration, pairsAtOnce)
	g, ctx := errgroup.WithContext(ctx)
	for i := range took {
		g.Go(func() (err error) {
			took[i], err = t.killOne(ctx, fmt.Sprintf("%s-%d-%d", t.name, i, time.Now().UnixNano()))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return sample{}, err
	}
	return sample{figures: map[report.Metric]float64{
		report.P50:     report.Quantile(took, 0.50),
		report.Slowest: slices.Max(took).Seconds(),
	}}, nil
}

func (t *team) killOne(ctx context.Context, name string) (took time.Duration, err error) {
	leader, err := t.startLeader(ctx, name)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = leader.Process.Kill()
		_ = leader.Wait() // it was killed: there is nothing to be learned
	}()
	c, err := t.subject.open(ctx, t.server.addr(), sessionTTL)
	if err != nil {
		return 0, err
	}
	// A wait that came to nothing ends with its context, before its client is closed.
	waiting, stop := context.WithCancel(ctx)
	elected := make(chan outcome, 1)
	defer func() {
		stop()
		err = errors.Join(err, c.close(context.WithoutCancel(ctx)))
	}()
	if err := t.follow(waiting, c, name, elected); err != nil {
		return 0, err
	}
	// At any moment between two renewals.
	time.Sleep(rand.N(t.store.expiring))
	killed := time.Now()
	if err := leader.Process.Kill(); err != nil {
		return 0, fmt.Errorf("kill the leader: %w", err)
	}
	next := <-elected
	if next.err == nil && next.at.Before(killed) {
		next.err = errors.New("the next leader was elected before the first was killed")
	}
	return next.at.Sub(killed), next.err
}

// An outcome is how an attempt to lock ended, and when.
type outcome struct {
	at  time.Time
	err error
}

// follow lets a contender of c wait behind a holder, and returns when it does.
func (t *team) follow(ctx context.Context, c client, name string, ended chan<- outcome) error {
	m, err := c.contender(ctx, name)
	if err != nil {
		return err
	}
	go func() {
		err := m.lock(ctx)
		ended <- outcome{time.Now(), err}
	}()
	return t.await(ctx, c, name, 2)
}

// startLeader starts this program again, as a leader.
func (t *team) startLeader(ctx context.Context, name string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	me, err := json.Marshal(candidate{t.store.name, t.subject.name, t.server.addr(), name, t.store.expiring})
	if err != nil {
		return nil, fmt.Errorf("describe the leader: %w", err)
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), leadVariable+"="+string(me))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the leader: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the leader: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the leader: %w", err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		_ = cmd.Process.Kill()
		return nil, errors.Join(fmt.Errorf("the leader does not lead: %w", err), cmd.Wait())
	}
	return cmd, nil
}
