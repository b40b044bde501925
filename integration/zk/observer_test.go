package zk_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/fairlead-go/fairlead/election"
)

// An observer watches an election until its context ends: whatever is done to the
// servers, it is shown who leads at last, and never a leader from before one that it
// has been shown.
type observer struct {
	e    *election.Election
	done chan struct{}

	mu   sync.Mutex
	last election.Leader
	high uint64 // token
	err  error
}

func observe(ctx context.Context, e *election.Election) *observer {
	o := &observer{e: e, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		for l, err := range e.Observe(ctx) {
			o.see(l, err)
		}
	}()
	return o
}

func (o *observer) see(l election.Leader, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err != nil:
		if !errors.Is(err, context.Canceled) {
			o.err = errors.Join(o.err, fmt.Errorf("observe: %w", err))
		}
		return
	case l.Token != 0 && l.Token < o.high:
		o.err = errors.Join(o.err, fmt.Errorf("observe: the leader with token %d was shown after that with %d", l.Token, o.high))
	}
	o.last, o.high = l, max(o.high, l.Token)
}

// finish leads for a term that the observer has to see, when nobody else
// campaigns any more.
func (o *observer) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	const value = "the last of all"
	term, err := o.e.Campaign(ctx, value)
	if err != nil {
		return err
	}
	err = poll(ctx, func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.last.Value != value {
			return fmt.Errorf("the observer does not see who leads now, but %+v", o.last)
		}
		return nil
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	return errors.Join(o.err, err, term.Resign(ctx))
}
