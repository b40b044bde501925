package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// doctorPrefix begins the names of the locks that an examination takes.
const doctorPrefix = "fairlead-doctor/"

// roundTrip does with the store, which it closes, what programs do.
func (x *examination) roundTrip(ctx context.Context, st driver.Store, opts *session.Options) {
	var s *session.Session
	opened := x.step("session", func() (_ string, err error) {
		if s, err = session.New(ctx, st, opts); err != nil {
			return "", err
		}
		return "opened as " + s.Identity(), nil
	})
	if !opened {
		return
	}
	x.tell(granted(opts.TTL, s.TTL()), 0)
	x.useLock(ctx, s, doctorPrefix+strings.ToLower(rand.Text()))
	x.step("close", func() (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout) // ctx may have ended
		defer cancel()
		return "the session has ended, and left nothing", s.Close(ctx)
	})
}

// granted compares the TTL that was asked for with what the store has made of it.
func granted(asked, ttl time.Duration) driver.Finding {
	f := driver.Finding{Check: "ttl", Verdict: driver.Fine, Detail: fmt.Sprintf("%v granted, %v asked", ttl, asked)}
	if (ttl - asked).Abs() > time.Second {
		f.Verdict = driver.Warning
		f.Advice = "ask for what the store grants, or change its bounds (minSessionTimeout and maxSessionTimeout of ZooKeeper): " +
			"what a holder that has crashed holds is free after that time"
	}
	return f
}

// useLock takes a lock, sees it in the list, hands it over, and releases it.
func (x *examination) useLock(ctx context.Context, s *session.Session, name string) {
	var g *session.Grant
	m := mutex.NewWith(s, name, &mutex.Options{Note: "fairlead doctor"})
	ok := x.step("lock", func() (_ string, err error) {
		if g, err = m.Lock(ctx); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s, token %d", name, g.Token()), nil
	})
	ok = ok && x.step("ls", func() (string, error) { return "the lock is in the list", listed(ctx, s, name, g.Token()) })
	ok = ok && x.step("hand over", func() (string, error) {
		next, err := handOver(ctx, s, name, g)
		if err != nil {
			return "", err
		}
		old := g.Token()
		if g = next; g.Token() <= old {
			return "", fmt.Errorf("token %d came after %d: tokens have to rise", g.Token(), old)
		}
		return fmt.Sprintf("one who waited was told, token %d", g.Token()), nil
	})
	if ok {
		x.step("release", func() (string, error) { return "nobody is in the queue", released(ctx, s, name, g) })
	}
}

// listed is nil when the list has the lock, with its holder.
func listed(ctx context.Context, s *session.Session, name string, token uint64) error {
	queues, err := watch.List(ctx, s, name)
	if err != nil {
		return err
	}
	if len(queues) != 1 || len(queues[0].Holders) != 1 || queues[0].Holders[0].Token != token {
		return fmt.Errorf("the list of %q does not have just its holder, with token %d: %v", name, token, queues)
	}
	return nil
}

// handOver releases a grant when somebody waits for it, and returns what that one is
// granted.
func handOver(ctx context.Context, s *session.Session, name string, g *session.Grant) (*session.Grant, error) {
	type result struct {
		grant *session.Grant
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queued, end := make(chan struct{}, 1), make(chan result, 1)
	m := mutex.NewWith(s, name, &mutex.Options{Note: "fairlead doctor", Queued: func(uint64) {
		select {
		case queued <- struct{}{}:
		default: // it has queued again, after a loss
		}
	}})
	go func() {
		next, err := m.Lock(ctx)
		end <- result{next, err}
	}()
	select {
	case <-queued:
	case r := <-end:
		if r.err == nil {
			r.err = errors.New("a second one was let in beside the holder")
		}
		return nil, r.err
	}
	if err := g.Release(ctx); err != nil {
		cancel()
		<-end
		return nil, err
	}
	r := <-end
	if r.err != nil {
		return nil, fmt.Errorf("who waited was not let in: %w", r.err)
	}
	return r.grant, nil
}

// released gives up the lock, and sees that the queue is empty.
func released(ctx context.Context, s *session.Session, name string, g *session.Grant) error {
	if err := g.Release(ctx); err != nil {
		return err
	}
	q, err := watch.Read(ctx, s, name)
	if err == nil && len(q.Holders)+len(q.Waiters) > 0 {
		err = fmt.Errorf("%q is not empty: %v", name, q)
	}
	return err
}
