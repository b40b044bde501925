package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A waiting is what one Wait at a time needs.
type waiting struct {
	ear *listener

	// awaits is what the server tells the entry of, and left how long the session of that
	// had then; renewed is closed when messages may have been lost since.
	awaits  driver.Entry
	left    time.Duration
	renewed <-chan struct{}
}

func (w *waiting) told(of driver.Entry, renewed <-chan struct{}) {
	w.awaits, w.left, w.renewed = of, of.TTLLeft, renewed
}

// isTold tells whether the server tells the entry of that obstacle, and can reach it.
func (w *waiting) isTold(of driver.Entry) bool {
	if w.awaits.ID == "" || w.awaits.ID != of.ID || w.awaits.Version != of.Version {
		return false
	}
	select {
	case <-w.renewed:
		return false
	default:
		return true
	}
}

// Wait implements driver.Lease. An exclusive entry is told of what is right ahead of it
// since it joined, and of the next one when that has left; others ask for it here. A
// message can be lost, an entry or a session be deleted by hand, and nobody tells of a
// session that expires: so it looks again when the obstacle's session may have
// expired, and at the latest after a third of its own TTL, as often as it renews that.
func (l *lease) Wait(ctx context.Context, v driver.View, on driver.Obstacles) (driver.View, error) {
	op := "wait in queue " + quoted(v.Me.Name)
	w := l.take(v.Me.ID)
	defer func() { l.give(v.Me.ID, w) }()
	exclusive := v.Me.Mode == driver.Exclusive && len(on.Entries) == 1 && !on.Limit
	if !exclusive || !w.isTold(on.Entries[0]) {
		if next, blocked, err := l.register(ctx, op, w, v, on); err != nil || !blocked {
			return next, err
		}
	}
	for {
		t := time.NewTimer(l.patience(w))
		var next driver.View
		var turned bool
		err := error(nil)
		select {
		case <-w.ear.notes:
			next, turned, err = l.hear(w, v, on)
		case <-w.renewed:
			turned = true
		case <-t.C:
			turned = true
		case <-ctx.Done():
			err = ctx.Err()
		case <-l.s.ctx.Done():
			err = driver.Permanent(fmt.Errorf("%s: the connection to Redis is closed", op))
		}
		t.Stop()
		if err != nil || next.Me.ID != "" {
			return next, err
		}
		if turned {
			if next, blocked, err := l.register(ctx, op, w, v, on); err != nil || !blocked {
				return next, err
			}
		}
	}
}

// patience is how long to wait for a message.
func (l *lease) patience(w *waiting) time.Duration {
	return max(min(w.left, l.ttl/3), 5*time.Millisecond)
}

// hear takes what the server has told. It returns a view if the messages tell all that it
// shows, and otherwise whether it is time to look.
func (l *lease) hear(w *waiting, v driver.View, on driver.Obstacles) (driver.View, bool, error) {
	look := false
	one := v.Me.Mode == driver.Exclusive && len(on.Entries) == 1 // others are told to look, and no more
	for {
		m, ok := w.ear.get()
		if !ok {
			return driver.View{}, look, nil
		}
		kind, rest, _ := strings.Cut(m, " ")
		what, rest, _ := strings.Cut(rest, " ")
		switch {
		case kind == "first" && one:
			// Nobody can come ahead of it any more.
			return driver.View{Me: v.Me}, false, nil
		case kind == "behind" && one:
			near, err := l.behind(v.Me.Name, rest)
			if err != nil {
				return driver.View{}, false, err
			}
			w.told(near, w.renewed)
			if near.ID != on.Entries[0].ID || near.Version != on.Entries[0].Version {
				return driver.View{Me: v.Me, Ahead: []driver.Entry{near}}, false, nil
			}
		default:
			look = look || concerns(what, on)
		}
	}
}

// behind reads who is ahead now: ID, milliseconds and record.
func (l *lease) behind(name, rest string) (driver.Entry, error) {
	id, rest, _ := strings.Cut(rest, " ")
	ms, text, _ := strings.Cut(rest, " ")
	return l.s.decodeEntry(name, id, text, ms)
}

func concerns(what string, on driver.Obstacles) bool {
	if what == "limit" {
		return on.Limit
	}
	for _, e := range on.Entries {
		if e.ID == what {
			return true
		}
	}
	return false
}

// register asks to be told of the obstacles, or returns a view if they are no longer all
// there as they were.
func (l *lease) register(ctx context.Context, op string, w *waiting, v driver.View, on driver.Obstacles) (driver.View, bool, error) {
	for { // what was told before is in the view
		if _, ok := w.ear.get(); !ok {
			break
		}
	}
	renewed := l.s.inbox.next()
	next, left, err := l.look(ctx, op, v.Me, v, on)
	if err != nil {
		return next, false, err
	}
	blocked := next.Me.ID == ""
	switch {
	case blocked:
		w.awaits, w.renewed, w.left = driver.Entry{}, renewed, left
		if len(on.Entries) == 1 && !on.Limit {
			w.awaits = on.Entries[0]
		}
	case v.Me.Mode == driver.Exclusive && len(next.Ahead) == 1:
		w.told(next.Ahead[0], renewed)
	}
	return next, blocked, nil
}

// look runs the script of that name. The view is empty if all obstacles are as v shows
// them; then it tells when the first of them may have expired.
func (l *lease) look(ctx context.Context, op string, e driver.Entry, v driver.View, on driver.Obstacles) (driver.View, time.Duration, error) {
	args := []string{l.id, e.Name, e.ID, fmt.Sprint(e.Token), ""}
	if on.Limit {
		args[4] = fmt.Sprint(v.Limit.Version)
	}
	for _, x := range on.Entries {
		args = append(args, x.ID, fmt.Sprint(x.Version))
	}
	r, err := l.s.run(ctx, lookScript, args...)
	if err != nil {
		return driver.View{}, 0, l.s.failed(ctx, op, err)
	}
	switch r.status {
	case "ok":
		next, err := l.s.decodeView(e.Name, r.rest)
		return next, 0, err
	case "blocked":
		left := l.ttl
		if len(r.rest) > 0 {
			ms, _ := strconv.ParseInt(r.rest[0], 10, 64)
			left = duration(ms)
		}
		return driver.View{}, left, nil
	}
	return driver.View{}, 0, unexpected(op, r)
}
