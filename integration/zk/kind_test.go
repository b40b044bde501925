package zk_test

import (
	"context"
	"errors"
	"testing"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
)

// A kind is a way to wait for something, and to keep others waiting.
type kind struct {
	name    string // of a queue that is used in this way only
	acquire func(ctx context.Context, s *session.Session, name string) (*session.Grant, error)
	block   func(ctx context.Context, s *session.Session, name string) (*session.Grant, error)
}

var kinds = []kind{
	{"mutex", lockMutex, lockMutex},
	{"writer", lockWriting, lockWriting},
	{"reader", lockReading, lockWriting},
	{"permit", acquirePermit, acquirePermit},
	{"candidate", campaign, campaign},
}

func lockMutex(ctx context.Context, s *session.Session, name string) (*session.Grant, error) {
	return mutex.New(s, name).Lock(ctx)
}

func lockWriting(ctx context.Context, s *session.Session, name string) (*session.Grant, error) {
	return rwmutex.New(s, name).Lock(ctx)
}

func lockReading(ctx context.Context, s *session.Session, name string) (*session.Grant, error) {
	return rwmutex.New(s, name).RLock(ctx)
}

func acquirePermit(ctx context.Context, s *session.Session, name string) (*session.Grant, error) {
	return semaphore.New(s, name, 1).Acquire(ctx, 1)
}

func campaign(ctx context.Context, s *session.Session, name string) (*session.Grant, error) {
	term, err := election.New(s, name).Campaign(ctx, s.Identity())
	if err != nil {
		return nil, err
	}
	return term.Grant, nil
}

// blocked has the session keep all others waiting, for each kind.
func blocked(t *testing.T, s *session.Session) (blocks []*session.Grant) {
	t.Helper()
	for _, k := range kinds {
		g, err := k.block(bounded(t), s, k.name)
		if err != nil {
			t.Fatalf("%s: %v", k.name, err)
		}
		blocks = append(blocks, g)
	}
	return blocks
}

// acquiring starts an acquisition of each kind.
func acquiring(t *testing.T, s *session.Session) (calls []*call[*session.Grant]) {
	t.Helper()
	ctx := bounded(t)
	for _, k := range kinds {
		calls = append(calls, begin(func() (*session.Grant, error) { return k.acquire(ctx, s, k.name) }))
	}
	return calls
}

// allQueued waits until the queue of each kind has n entries.
func (s *site) allQueued(t *testing.T, n int) {
	t.Helper()
	for _, k := range kinds {
		s.queued(t, k.name, n)
	}
}

// nobodyIsIn checks that no acquisition has ended.
func nobodyIsIn(t *testing.T, calls []*call[*session.Grant]) {
	t.Helper()
	for _, c := range calls {
		c.pending(t)
	}
}

// follow releases what was granted before, or finds it lost, and waits for those
// that come next, which the store has to confirm.
func follow(t *testing.T, before []*session.Grant, calls []*call[*session.Grant]) (next []*session.Grant) {
	t.Helper()
	for _, g := range before {
		if err := g.Release(bounded(t)); err != nil && !errors.Is(err, session.ErrLost) {
			t.Fatal(err)
		}
	}
	for i, c := range calls {
		g := c.must(t)
		if g.Token() <= before[i].Token() {
			t.Errorf("%s: token %d was granted after %d", kinds[i].name, g.Token(), before[i].Token())
		}
		if !stillHeld(t, g) {
			t.Errorf("%s: the grant is lost", kinds[i].name)
		}
		next = append(next, g)
	}
	return next
}

func releaseAll(t *testing.T, grants []*session.Grant) {
	t.Helper()
	for _, g := range grants {
		release(t, g)
	}
}
