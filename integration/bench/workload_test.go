package main

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// nobody is a contender that excludes nobody.
type nobody struct{}

func (nobody) lock(ctx context.Context) error   { return ctx.Err() }
func (nobody) rlock(ctx context.Context) error  { return ctx.Err() }
func (nobody) unlock(ctx context.Context) error { return ctx.Err() }

// failing is a contender that cannot lock.
type failing struct{ nobody }

var errFailing = errors.New("the store is on fire")

func (failing) lock(context.Context) error  { return errFailing }
func (failing) rlock(context.Context) error { return errFailing }

// waiting is a contender that waits until its context ends.
type waiting struct{ nobody }

func (waiting) lock(ctx context.Context) error  { <-ctx.Done(); return ctx.Err() }
func (waiting) rlock(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

type run func(ctx context.Context, t *team, d time.Duration) (sample, error)

var exclusive = map[string]run{"handoff": handoff, "fairness": fairness, "permits": permits, "readMostly": readMostly}

// A lock that does not exclude is not measured: it would be the fastest of all.
func TestNoExclusionIsAnError(t *testing.T) {
	for name, run := range exclusive {
		crowded := &team{}
		for range 64 {
			crowded.members = append(crowded.members, nobody{})
		}
		if _, err := run(t.Context(), crowded, time.Minute); !errors.Is(err, errNotExclusive) {
			t.Errorf("%s returned %v, want %v", name, err, errNotExclusive)
		}
	}
}

// An error of one contender ends the run of all, also of those who wait for it.
func TestErrorOfOneEndsAll(t *testing.T) {
	for name, run := range exclusive {
		mixed := &team{members: []contender{waiting{}, failing{}, waiting{}}}
		if _, err := run(t.Context(), mixed, time.Minute); !errors.Is(err, errFailing) {
			t.Errorf("%s returned %v, want %v", name, err, errFailing)
		}
	}
	mixed := &team{members: []contender{waiting{}, failing{}}}
	if _, err := pairs(t.Context(), mixed, time.Minute); !errors.Is(err, errFailing) {
		t.Errorf("pairs returned %v, want %v", err, errFailing)
	}
}

// turns excludes: whoever has what is in the channel holds.
type turns struct{ free chan struct{} }

func (c turns) lock(ctx context.Context) error {
	select {
	case <-c.free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c turns) unlock(context.Context) error { c.free <- struct{}{}; return nil }

// A hand-off goes from one to another: who comes back hands nothing on.
func TestComingBackIsNoHandoff(t *testing.T) {
	r := &relay{d: time.Minute, served: make([]int, 2)}
	now := time.Now()
	for _, i := range []int{0, 0, 1, 1, 0} {
		r.note(i, now, time.Now())
	}
	if len(r.took) != 2 || r.served[0] != 3 || r.served[1] != 2 || r.locks != 5 {
		t.Errorf("%d hand-offs, served %v of %d, want 2, 3 and 2 of 5", len(r.took), r.served, r.locks)
	}
	free := make(chan struct{}, 1)
	free <- struct{}{}
	two := &team{members: []contender{turns{free}, turns{free}}}
	s, err := handoff(t.Context(), two, time.Millisecond)
	if err != nil || len(s.took) == 0 {
		t.Errorf("a relay of two made %d hand-offs, %v: it lasts until there is one", len(s.took), err)
	}
}

// fake is a server, and a client of it.
type fake struct{ member contender }

func (fake) addr() string                                           { return "nowhere" }
func (fake) endpoint() string                                       { return "nowhere" }
func (fake) version(context.Context) (string, error)                { return "fake", nil }
func (fake) stop() error                                            { return nil }
func (f fake) contender(context.Context, string) (contender, error) { return f.member, nil }
func (fake) close(context.Context) error                            { return nil }

// What was measured is kept when something else fails, and the failure is told.
func TestFailureKeepsTheRest(t *testing.T) {
	free := make(chan struct{}, 1)
	free <- struct{}{}
	open := func(m contender) func(context.Context, string, time.Duration) (client, error) {
		return func(context.Context, string, time.Duration) (client, error) { return fake{m}, nil }
	}
	st := store{
		name:  "fake",
		start: func(context.Context, string) (server, error) { return fake{}, nil },
		subjects: []subject{
			{name: "fails", kind: semaphores, open: open(failing{})},
			{name: "works", kind: elections, open: open(turns{free})},
		},
	}
	var r report.Report
	c := config{rounds: 1, duration: time.Millisecond, run: regexp.MustCompile("^(semaphore-64|resigned)$")}
	err := benchStore(t.Context(), c, st, t.TempDir(), &r, io.Discard)
	if !errors.Is(err, errFailing) || !strings.Contains(err.Error(), "semaphore-64: fails") {
		t.Errorf("the error is %v, want one that says what failed: %v", err, errFailing)
	}
	if len(r.Results) != 1 || r.Results[0].Workload != "resigned" {
		t.Errorf("the results are %+v, want those of what works", r.Results)
	}
}

// A peer that cannot be set up is left out, and the page says so; we are not.
func TestPeerThatIsNotSetUpIsLeftOut(t *testing.T) {
	load := workload{name: "never", takes: of(mutexes), clients: 1, each: 2, run: handoff, setUpLimit: 10 * time.Millisecond,
		setUp: func(ctx context.Context, t *team) (map[report.Metric]float64, error) {
			if t.subject.name == "quick" {
				return nil, nil
			}
			<-ctx.Done()
			return nil, errFailing
		}}
	measured := func(names ...string) (report.Result, error) {
		st := store{name: "fake"}
		for _, name := range names {
			free := make(chan struct{}, 1)
			free <- struct{}{}
			st.subjects = append(st.subjects, subject{name: name, kind: mutexes, open: func(context.Context, string, time.Duration) (client, error) {
				return fake{turns{free}}, nil
			}})
		}
		return measure(t.Context(), config{rounds: 1, duration: time.Millisecond}, st, fake{}, load)
	}
	res, err := measured("quick", "peer")
	if err != nil || len(res.Subjects) != 1 || len(res.Absent) != 1 || res.Absent[0].Name != "peer" || !strings.Contains(res.Absent[0].Why, errFailing.Error()) {
		t.Errorf("the result is %+v, %v, want one without the peer that says why", res, err)
	}
	if _, err := measured("fairlead mutex", "quick"); !errors.Is(err, errFailing) {
		t.Errorf("the error is %v, where ours is not set up, want %v", err, errFailing)
	}
	if _, err := measured("peer"); err == nil {
		t.Error("there is no error where nothing was measured")
	}
}
