package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"
)

// patience bounds each act. A lease lasts 3 s, and a machine may be busy.
const patience = 20 * time.Second

// glance is how often the director looks at the journals.
const glance = 20 * time.Millisecond

// A director runs the play.
type director struct {
	cast   *cast
	scene  *scene
	screen *screen
	h      history
	epoch  int64

	fault   string // the last thing done to a leader, and
	faultAt int64  // when
	frozen  string // who was frozen
	thawed  int64  // when it went on
}

func (d *director) now() time.Duration { return time.Duration(monotonic() - d.epoch) }

func (d *director) tell(topic, format string, args ...any) {
	d.screen.tell(d.now(), topic, fmt.Sprintf(format, args...))
}

// look takes in what is new and tells it.
func (d *director) look() error {
	news, err := d.cast.news()
	if err != nil {
		return err
	}
	for _, n := range news {
		d.h.events[n.who] = append(d.h.events[n.who], n.Event)
		d.scene.apply(n.who, n.Event)
		d.narrate(n)
	}
	d.screen.draw(d.scene.panel())
	return nil
}

func (d *director) narrate(n signedEvent) {
	tell := func(topic, format string, args ...any) {
		d.screen.tell(time.Duration(n.At-d.epoch), topic, fmt.Sprintf(format, args...))
	}
	switch {
	case n.Kind == Granted && n.Name == leaderName:
		since := ""
		if d.fault != "" {
			since = fmt.Sprintf(", %.1f s after %s", time.Duration(n.At-d.faultAt).Seconds(), d.fault)
		}
		tell(topicLeader, "%s leads, with token %d%s; next in line: %s", n.who, n.Token, since, d.scene.line(leaderName))
		d.fault = ""
	case n.Kind == Granted && n.Name == lockName && !d.screen.live: // the panel shows it on a terminal
		tell(topicLock, "%s holds it, with token %d; waiting: %s", n.who, n.Token, d.scene.line(lockName))
	case n.Kind == Granted && n.Name == permitName && !d.screen.live:
		tell(topicPermits, "%s has one, with token %d; in use by: %s; waiting: %s", n.who, n.Token,
			roll(d.scene.holders(permitName)), d.scene.line(permitName))
	case n.Kind == Lost:
		tell(n.Name, "%s learns that what it held with token %d is lost", n.who, n.Token)
	case n.Kind == Refused:
		tell(topicRegister, "%s wrote with token %d, LATE: refused, since token %d has been seen", n.who, n.Token, n.Newest)
	}
}

// until waits for a condition of the scene.
func (d *director) until(ctx context.Context, what string, condition func() bool) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		if err := errors.Join(d.look(), d.cast.deserters()); err != nil {
			return err
		}
		if condition() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return fmt.Errorf("waited %v, and still not: %s", patience, what)
		case <-tick.C:
		}
	}
}

// reigns reports whether somebody other than the one given leads and writes.
func (d *director) reigns(not string) bool {
	a := d.scene.leader()
	return a != nil && a.fate == alive && a.name != not && a.wrote == a.grants[leaderName]
}

// play performs the play.
func (d *director) play(ctx context.Context) error {
	for _, act := range []func(context.Context) error{d.opening, d.death, d.sleeper, d.finale} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// opening: somebody leads, and everybody has had the lock and a permit twice.
func (d *director) opening(ctx context.Context) error {
	return d.rounds(ctx, 2)
}

// rounds waits until somebody leads and everybody who is alive has had the lock n
// times more, and a permit as often.
func (d *director) rounds(ctx context.Context, n int) error {
	before := map[*actor]map[string]int{}
	for _, a := range d.scene.actors {
		before[a] = maps.Clone(a.served)
	}
	more := func(a *actor, name string) int { return a.served[name] - before[a][name] }
	return d.until(ctx, fmt.Sprintf("a leader, and the lock and a permit for everybody who is left, %d times", n), func() bool {
		return d.reigns("") && d.scene.every(func(a *actor) bool { return more(a, lockName) >= n && more(a, permitName) >= n })
	})
}

// death: the leader is killed and somebody else takes over.
func (d *director) death(ctx context.Context) error {
	victim := d.scene.leader()
	d.tell(topicKill, "%s, the leader, gets SIGKILL: it can tell nobody, so its lease of %v has to run out", victim.name, leaseTTL)
	d.tellRest(victim)
	d.fault, d.faultAt = "the kill", monotonic()
	d.cast.member(victim.name).kill()
	d.h.deaths[victim.name] = monotonic()
	victim.fate = killed
	if err := d.until(ctx, "another leader", func() bool { return d.reigns(victim.name) }); err != nil {
		return err
	}
	return d.rounds(ctx, 1)
}

// tellRest explains why for a while nobody gets the lock, and few or nobody a
// permit: a claim lasts as long as the lease, of those who wait as well.
func (d *director) tellRest(victim *actor) {
	for _, of := range []struct{ name, topic, held string }{
		{lockName, topicLock, "holds the lock as well: those who wait for it wait for the lease too"},
		{permitName, topicPermits, "has one as well: until its lease has run out, there is one less for the others"},
	} {
		if _, holds := victim.grants[of.name]; holds {
			d.tell(of.topic, "%s %s", victim.name, of.held)
		} else if _, waits := victim.places[of.name]; waits {
			d.tell(of.topic, "%s is in the queue: when its turn comes, those behind it wait for the lease too", victim.name)
		}
	}
}

// sleeper: the next leader is frozen until it has been replaced, and goes on
// in the middle of its work, as if nothing had happened.
func (d *director) sleeper(ctx context.Context) error {
	victim := d.scene.leader()
	process := d.cast.member(victim.name).proc
	d.tell(topicFreeze, "%s, the new leader, gets SIGSTOP: its lease runs out too, but it cannot know", victim.name)
	d.tellRest(victim)
	d.fault, d.faultAt, d.frozen = "the freeze", monotonic(), victim.name
	if err := freeze(process); err != nil {
		return fmt.Errorf("freeze %s: %w", victim.name, err)
	}
	victim.fate = frozen
	if err := d.until(ctx, "a leader in place of the frozen one", func() bool { return d.reigns(victim.name) }); err != nil {
		return err
	}
	d.tell(topicResume, "%s gets SIGCONT in the middle of its work: it writes on before it looks whether it still leads", victim.name)
	d.thawed = monotonic()
	if err := thaw(process); err != nil {
		return fmt.Errorf("resume %s: %w", victim.name, err)
	}
	victim.fate = alive
	return d.until(ctx, "the late write of "+victim.name, func() bool {
		return victim.beaten != 0 && victim.grants[leaderName] == 0
	})
}

// finale: everybody who is left is back in line and has the lock and a permit once
// more.
func (d *director) finale(ctx context.Context) error {
	if err := d.rounds(ctx, 1); err != nil {
		return err
	}
	d.tell(topicEnd, "the replicas are asked to give everything back and end")
	if err := d.cast.dismiss(ctx); err != nil {
		return err
	}
	return d.look()
}
