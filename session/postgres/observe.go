package postgres

import (
	"context"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

const (
	// observing is for how long an observer is told of changes unless it says that it
	// is still there, and lookInterval how often it says so, and looks.
	observing    = 30 * time.Second
	lookInterval = 5 * time.Second
)

// Watch implements driver.Store. Whoever changes the queue sends a message as long as
// somebody looks on. Should one be lost, the queue is looked at every five seconds.
func (s *store) Watch(ctx context.Context, name string, f func(driver.Queue) error) error {
	op := "watch queue " + quoted(name)
	box, leave := s.hub.share(queueKey(name))
	defer leave(func() { s.unobserve(name) })
	interval := lookInterval
	if s.poll > 0 {
		interval = s.poll
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var last driver.Queue
	var asked time.Time
	for first := true; ; first = false {
		_, changed := box.state()
		if s.poll == 0 && time.Since(asked) > lookInterval/2 {
			if err := s.run(ctx, ordinary, s.sql.observe, name, s.hub.inbox, observing.Milliseconds()); err != nil {
				return s.failed(ctx, op, err)
			}
			asked = time.Now()
		}
		now, err := s.Read(ctx, name, 0)
		if err != nil {
			return err
		}
		if first || !isSame(last, now) {
			if err := f(now); err != nil {
				return err
			}
		}
		last = now
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
		if ctx.Err() != nil || s.ctx.Err() != nil {
			return s.failed(ctx, op, context.Canceled)
		}
	}
}

// unobserve says that we look on no more: most likely, as somebody may do so again
// by now, and then finds out by looking.
func (s *store) unobserve(name string) {
	if s.poll > 0 {
		return
	}
	s.background(func() { _ = s.run(s.ctx, ordinary, s.sql.observe, name, s.hub.inbox, int64(0)) })
}

// isSame reports whether two states of a queue differ in nothing that is shown. An entry that
// was seen before it was on the disk, and was lost with a crash, may have left its token to
// another.
func isSame(a, b driver.Queue) bool {
	if a.Limit != b.Limit || len(a.Entries) != len(b.Entries) {
		return false
	}
	for i := range a.Entries {
		if a.Entries[i].ID != b.Entries[i].ID || a.Entries[i].Token != b.Entries[i].Token || a.Entries[i].Version != b.Entries[i].Version {
			return false
		}
	}
	return true
}
