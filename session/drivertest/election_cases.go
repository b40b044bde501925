package drivertest

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/session"
)

// Leaders, and those who observe them.
var electionCases = []Case{
	{"LeaderIsWhoWasElected", leaderIsWhoWasElected},
	{"ObserversSeeEachLeaderInOrder", observersSeeEachLeaderInOrder},
	{"SlowObserverGetsTheLatest", slowObserverGetsTheLatest},
	{"LeaderWhoseSessionClosesIsReplaced", leaderWhoseSessionClosesIsReplaced},
	{"LeaderWhoseLeaseEndsIsReplaced", leaderWhoseLeaseEndsIsReplaced},
	{"LostTermProclaimsNothing", lostTermProclaimsNothing},
	{"FailedResignDoesNotForget", failedResignDoesNotForget},
}

func (p *peer) observe(name string) *feed[election.Leader] {
	return follow(p.f, func(ctx context.Context) iter.Seq2[election.Leader, error] {
		return p.election(name).Observe(ctx)
	})
}

// elect campaigns, from the case's goroutine.
func (p *peer) elect(name, value string) *election.Term {
	p.f.Helper()
	t, err := p.election(name).Campaign(p.f.ctx, value)
	if err != nil {
		p.f.Fatalf("%s: %v", p.Identity(), err)
	}
	return t
}

// campaigning starts a Campaign that has to wait, and returns once it is the
// n-th in the queue.
func (p *peer) campaigning(name, value string, n int) *job[*election.Term] {
	p.f.Helper()
	j := begin(p.f, func() (*election.Term, error) { return p.election(name).Campaign(p.f.ctx, value) })
	p.f.queued(name, n)
	return j
}

// leads checks what Leader says.
func (p *peer) leads(name, value, identity string, token uint64) {
	p.f.Helper()
	want := election.Leader{Value: value, Identity: identity, Token: token}
	if l, err := p.election(name).Leader(p.f.ctx); err != nil || l != want {
		p.f.Errorf("Leader returned %+v, %v, want %+v", l, err, want)
	}
}

func leaderIsWhoWasElected(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	if l, err := a.election(name).Leader(f.ctx); !errors.Is(err, session.ErrNoLeader) || l.Token != 0 {
		f.Errorf("Leader of an election without candidates returned %+v, %v, want ErrNoLeader", l, err)
	}
	first := a.elect(name, "one")
	second := b.campaigning(name, "two", 2)
	b.leads(name, "one", "a", first.Token())
	for _, value := range []string{"uno", "", "eins"} {
		if err := first.Proclaim(f.ctx, value); err != nil {
			f.Fatalf("proclaim: %v", err)
		}
		b.leads(name, value, "a", first.Token())
	}
	second.goesOn("a campaign against a leader that proclaims")
	if err := first.Resign(f.ctx); err != nil {
		f.Fatalf("resign: %v", err)
	}
	t := second.must()
	if t.Token() <= first.Token() {
		f.Errorf("token %d follows token %d", t.Token(), first.Token())
	}
	a.leads(name, "two", "b", t.Token())
	if err := first.Proclaim(f.ctx, "ghost"); !errors.Is(err, session.ErrReleased) {
		f.Errorf("Proclaim after Resign returned %v, want ErrReleased", err)
	}
	if err := first.Resign(f.ctx); err != nil {
		f.Errorf("a second Resign returned %v, want nil", err)
	}
	a.leads(name, "two", "b", t.Token())
	if err := t.Resign(f.ctx); err != nil {
		f.Errorf("resign: %v", err)
	}
	if _, err := b.election(name).Leader(f.ctx); !errors.Is(err, session.ErrNoLeader) {
		f.Errorf("Leader after the last has resigned returned %v, want ErrNoLeader", err)
	}
}

func observersSeeEachLeaderInOrder(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	observers := []*feed[election.Leader]{a.observe(name), b.observe(name), f.open("c").observe(name)}
	// Several changes may be seen as one, so each is seen by all before the next:
	// then nothing may be missing, and nothing that is not news in between.
	see := func(want election.Leader) {
		f.Helper()
		for _, o := range observers {
			if l := o.next(); l != want {
				f.Fatalf("an observer sees %+v, want %+v", l, want)
			}
		}
	}
	see(election.Leader{})
	for i, p := range []*peer{a, b, a} {
		value := fmt.Sprintf("term %d", i)
		t := p.elect(name, value)
		see(election.Leader{Value: value, Identity: p.Identity(), Token: t.Token()})
		for j := range 3 {
			value := fmt.Sprintf("term %d, proclamation %d", i, j)
			if err := t.Proclaim(f.ctx, value); err != nil {
				f.Fatalf("proclaim: %v", err)
			}
			see(election.Leader{Value: value, Identity: p.Identity(), Token: t.Token()})
		}
		if err := t.Resign(f.ctx); err != nil {
			f.Fatalf("resign: %v", err)
		}
		see(election.Leader{})
	}
	for _, o := range observers {
		o.stop()
	}
}

func slowObserverGetsTheLatest(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	o := b.observe(name)
	o.next()
	t := a.elect(name, "first")
	for i := range 30 {
		if err := t.Proclaim(f.ctx, fmt.Sprint(i)); err != nil {
			f.Fatalf("proclaim: %v", err)
		}
	}
	if err := t.Proclaim(f.ctx, "latest"); err != nil {
		f.Fatalf("proclaim: %v", err)
	}
	n := 1
	for l := o.next(); l.Value != "latest"; l = o.next() {
		if n++; n > 10 {
			f.Fatalf("a slow observer gets a backlog: %d states, the last %+v", n, l)
		}
	}
	o.stop()
	if err := t.Resign(f.ctx); err != nil {
		f.Errorf("resign: %v", err)
	}
}

func leaderWhoseSessionClosesIsReplaced(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	first := a.elect(name, "one")
	second := b.campaigning(name, "two", 2)
	if err := a.Close(f.ctx); err != nil {
		f.Errorf("close: %v", err)
	}
	if cause := context.Cause(first.Context()); !errors.Is(cause, session.ErrClosed) {
		f.Errorf("the term ended with cause %v, want ErrClosed", cause)
	}
	t := second.must()
	b.leads(name, "two", "b", t.Token())
	if err := t.Resign(f.ctx); err != nil {
		f.Errorf("resign: %v", err)
	}
}

func leaderWhoseLeaseEndsIsReplaced(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	first := a.elect(name, "one")
	second := b.campaigning(name, "two", 2)
	a.expire()
	f.lostGrant(first.Grant)
	t := second.must()
	a.leads(name, "two", "b", t.Token())
	third := a.campaigning(name, "three", 2) // under its session's next lease
	if err := t.Resign(f.ctx); err != nil {
		f.Errorf("resign: %v", err)
	}
	last := third.must()
	if last.Token() <= t.Token() {
		f.Errorf("token %d follows token %d", last.Token(), t.Token())
	}
	if err := last.Resign(f.ctx); err != nil {
		f.Errorf("resign: %v", err)
	}
}

func lostTermProclaimsNothing(f *fixture) {
	a, b, name := f.open("a"), f.open("b"), f.name("q")
	first := a.elect(name, "one")
	second := b.campaigning(name, "two", 2)
	a.freeze() // it does not hear that it is replaced
	a.expire()
	t := second.must()
	a.heal()
	if err := first.Proclaim(f.ctx, "ghost"); !errors.Is(err, session.ErrLost) {
		f.Errorf("Proclaim in a term that was lost returned %v, want ErrLost", err)
	}
	b.leads(name, "two", "b", t.Token())
	if err := t.Resign(f.ctx); err != nil {
		f.Errorf("resign: %v", err)
	}
}

// failedResignDoesNotForget: a resignation that the store did not get goes on
// until it has.
func failedResignDoesNotForget(f *fixture) {
	a, b, name, r := f.open("a"), f.open("b"), f.name("q"), newRoom(f.TB)
	first := a.elect(name, "one")
	r.enter("a", first.Grant)
	second := b.campaigning(name, "two", 2)
	a.calls.On(OpLeave, loseRequest)
	ctx, cancel := context.WithTimeout(f.ctx, 2*moment)
	defer cancel()
	if err := first.Resign(ctx); !errors.Is(err, context.DeadlineExceeded) {
		f.Errorf("Resign that fails returned %v, want DeadlineExceeded", err)
	}
	if first.Context().Err() == nil {
		f.Errorf("the term's context is open after Resign")
	}
	second.goesOn("a campaign against a leader that failed to resign")
	a.calls.On(OpLeave, nil)
	t := second.must()
	r.enter("b", t.Grant)
	if err := first.Resign(f.ctx); err != nil {
		f.Errorf("Resign of a term that ended returned %v, want nil", err)
	}
	b.leads(name, "two", "b", t.Token())
	if err := t.Resign(f.ctx); err != nil {
		f.Errorf("resign: %v", err)
	}
}
