package check

import (
	"errors"
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/client"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/integration/history"
)

// history gives everything that was asked of a name to porcupine.
func (c *Case) history() (looked int, found []Violation) {
	for _, name := range c.order {
		rec := history.NewRecorder(nil)
		n, ok := c.record(rec, name)
		if !ok {
			continue
		}
		looked += n
		if err := rec.Check(&history.Options{Dir: c.Dir}); err != nil {
			v := Violation{Name: name, Text: err.Error()}
			var illegal *history.Error
			if errors.As(err, &illegal) {
				for _, t := range c.names[name] {
					if t.Granted() && mentions(illegal.Text, t.Token) {
						v.Text += "\n    " + c.story(t)
						v.At = max(v.At, t.Returned)
					}
				}
			}
			found = append(found, v)
		}
	}
	return looked, found
}

// record makes a history of a name, and reports whether it can be checked: a pool
// that nobody kept in use may have had any limit.
func (c *Case) record(rec *history.Recorder, name string) (n int, ok bool) {
	h, within := rec.Lock, window{until: never}
	switch kindOf(name) {
	case client.Pool:
		if within = c.kept(name); within.until == 0 {
			return 0, false
		}
		h = func(name string) *history.History { return rec.Semaphore(name, c.Limit) }
	case client.Semaphore:
		h = func(name string) *history.History { return rec.Semaphore(name, c.Limit) }
	}
	r := &recording{Case: c, h: h(name), within: within}
	for _, t := range c.names[name] {
		r.try(t)
	}
	for _, k := range c.calls[name] {
		if k.before.At < within.from {
			if k.after != nil && k.after.At < within.from {
				continue
			}
			k.after = nil // it may have had its effect before
		}
		if k.before.At < within.until {
			r.call(k)
		}
	}
	return r.n, true
}

// A window is the time in which a name is checked.
type window struct{ from, until int64 }

// kept is when the keeper held a pool.
func (c *Case) kept(name string) window {
	for _, t := range c.names[name] {
		if t.Life.Client < 0 && t.Granted() {
			return window{t.Returned, t.Ended()}
		}
	}
	return window{}
}

// pools counts the pools of which clients were granted permits: those that the keeper
// kept in use, and the others, of which only the largest limit is checked.
func (c *Case) pools() (kept, others int) {
	for _, name := range c.order {
		if kindOf(name) != client.Pool || !slices.ContainsFunc(c.names[name], func(t *Try) bool { return t.Granted() && t.Life.Client >= 0 }) {
			continue
		}
		if c.kept(name).until != 0 {
			kept++
		} else {
			others++
		}
	}
	return kept, others
}

// A recording turns what was written down into a history.
type recording struct {
	*Case
	h      *history.History
	within window
	n      int
}

// begin records a call.
func (r *recording) begin(at int64, life *Life, op history.Op) *history.Call {
	r.n++
	return r.h.BeginAt(at, r.index(life), op)
}

func (r *recording) index(l *Life) int {
	for i := range r.Lives {
		if &r.Lives[i] == l {
			return i
		}
	}
	return -1
}

func (r *recording) try(t *Try) {
	keeper := t.Life.Client < 0
	if !keeper && (t.Called < r.within.from || t.Returned > r.within.until) {
		return
	}
	var op history.Op
	switch t.Op {
	case journal.Lock:
		op = history.Lock()
	case journal.RLock:
		op = history.RLock()
	case journal.Campaign:
		op = history.Campaign(t.Value)
	default:
		op = history.Acquire(t.N)
	}
	call := r.begin(t.Called, t.Life, op)
	switch t.Outcome {
	case journal.Granted:
		call.At(t.Returned).Granted(t.Token)
		r.ending(t)
	case journal.Barred:
		call.At(t.Returned).Failed()
	default: // it may have had an effect
	}
}

// ending records how a hold ended.
func (r *recording) ending(t *Try) {
	if t.Downgrading != 0 {
		call := r.begin(t.Downgrading, t.Life, history.Downgrade(t.Token))
		if t.Downgraded != 0 && t.DowngradeError == "" {
			call.At(t.Downgraded).Granted(t.Token)
		} else { // nothing is held any more
			r.begin(t.Downgrading, t.Life, history.Lose(t.Token))
		}
	}
	if t.Forced != 0 && t.Forced < r.within.until {
		r.begin(t.Forced, t.Life, history.Lose(t.Token)) // at any time from then on
	}
	if t.Lost != 0 {
		// Not before the grant is known to have been made.
		at := max(t.Lost, t.Returned)
		r.begin(r.overAt(t, at), t.Life, history.Lose(t.Token)).At(at + 1).Done()
	}
	if t.Releasing != 0 && (t.Lost == 0 || t.Releasing < t.Lost) {
		call := r.begin(t.Releasing, t.Life, history.Release(t.Token))
		if t.Released != 0 && t.ReleaseError == "" && t.Forced == 0 {
			call.At(t.Released).Done()
		}
	}
}

// overAt is from when a hold that was seen to be lost may have been over at the store. Where
// a restart or failover ends all sessions, whoever looks may learn of it first.
func (r *recording) overAt(t *Try, seen int64) int64 {
	over := seen
	for i := range r.Strikes {
		s := &r.Strikes[i]
		if r.Quiet && s.Server() && (s.Crash || s.Leader || s.Moved) && s.From < seen && t.Returned < s.To {
			over = min(over, max(s.From, t.Returned))
		}
	}
	return over
}

func opOf(e *journal.Event) history.Op {
	switch e.Kind {
	case journal.Writing:
		return history.Write(e.Token)
	case journal.Proclaiming:
		return history.Proclaim(e.Token, e.Value)
	case journal.Resizing:
		return history.Resize(e.N)
	}
	return history.Leader()
}

func (r *recording) call(k call) {
	looking := k.before.Kind == journal.Looking
	answered := k.after != nil && k.after.Error == ""
	if looking && !answered {
		return // what was not answered says nothing
	}
	if looking && r.undone(k.before.Name, k.after) {
		return
	}
	if looking && k.after.Token != 0 {
		r.explain(k.after)
	}
	call := r.begin(k.before.At, k.life, opOf(k.before))
	switch {
	case !answered: // it may have had an effect
	case looking:
		call.At(k.after.At).Saw(k.after.Value, k.after.Token)
	case k.after.Refused:
		call.At(k.after.At).Refused()
	default:
		call.At(k.after.At).Done()
	}
}

// soon is when a release is on the disk of a store that acknowledges it before: after three
// times wal_writer_delay of 200 ms, with PostgreSQL, and something for a busy machine.
const soon = time.Second

// undone tells whether a leader who was seen had released, and a crash of the store has
// brought the entry back: it is there until its owner is connected again and removes it, or
// its session has expired.
func (r *recording) undone(name string, saw *journal.Event) bool {
	if !r.Undoes || saw.Token == 0 {
		return false
	}
	for _, t := range r.names[name] {
		if t.Token != saw.Token || t.Released == 0 {
			continue
		}
		for i := range r.Strikes {
			s := &r.Strikes[i]
			gone := s.To + 2*int64(r.TTL)
			if s.Crash && t.Releasing < s.To && s.From < t.Released+int64(soon) && s.From < saw.At && saw.At < gone {
				return true
			}
		}
	}
	return false
}

// explain sees to it that the history has a campaign for a leader who was seen. One
// whose lease was lost while it waited has joined again: then its first entry may
// have been seen, under a token that was never granted to it.
func (r *recording) explain(saw *journal.Event) {
	for _, t := range r.names[saw.Name] {
		if t.Value != saw.Value || !t.Granted() || t.Token == saw.Token {
			continue
		}
		r.begin(t.Called, t.Life, history.Campaign(t.Value))
		return
	}
}
