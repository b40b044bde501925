package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fairlead-go/fairlead/session/driver"
)

// BreakOptions are those of [Session.Break]. The zero value, and nil, mean the
// defaults.
type BreakOptions struct {
	By     string // who breaks it, at most 256 bytes; "": the session's identity
	Reason string // told to whom it concerns, at most 256 bytes
	Force  bool   // remove the entry at once, and do not wait for its owner to stop
}

// Break takes what was granted, or a place in the queue, away from its owner. It
// concerns the entry of the queue with that token and no other, whatever comes
// after it.
//
// The owner's session is told, and ends the grant as lost: the cause Is ErrLost,
// and As a *[Broken]. The entry leaves when its owner has stopped, as after any
// loss: functions under Do and Run as long as they take, others when they release
// or when the margin is over. So no two run at once. Break blocks until then. A call that still
// waits for its turn ends with that error, and does not join again.
//
// With Force the entry is removed in the same step as its owner is told, and
// Break returns then. Whoever is next is granted at once, while the old holder
// may not have stopped: it learns of it within a moment if it can reach the
// store, and at the end of its trust window if not. Only fencing tokens
// protect what both write to. A process that is stopped, or cannot reach the
// store, is better waited for: its lease runs out.
//
// An entry of another library, such as concurrency.Mutex or Curator's, obeys
// nobody; Break refuses it without Force.
//
// Break ends otherwise with ctx's error; with one that Is ErrNotHeld, and names
// who holds, when no such entry is there; with ErrClosed; or with an error that
// trying again cannot heal. When a reply is lost it asks again. After ctx's error
// the owner may have been told all the same, and lets go when it has stopped. A
// function under Do that breaks its own grant waits for itself.
func (s *Session) Break(ctx context.Context, name string, token uint64, opts *BreakOptions) error {
	b := &breaking{s: s, name: name, token: token}
	if opts != nil {
		b.opts = *opts
	}
	if err := b.run(ctx); err != nil {
		return &Error{Op: "break", Name: name, Token: token, Err: err}
	}
	return nil
}

// breaking is one call of Break.
type breaking struct {
	s     *Session
	name  string
	token uint64
	opts  BreakOptions
}

func (b *breaking) run(ctx context.Context) error {
	if err := b.check(); err != nil {
		return err
	}
	if b.s.ctx.Err() != nil {
		return ErrClosed
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.s.ctx, cancel)()
	err := b.take(inner)
	switch {
	case err == nil:
		return nil
	case ctx.Err() == nil && inner.Err() != nil:
		return ErrClosed
	}
	return err
}

func (b *breaking) check() error {
	if err := driver.CheckName(b.name); err != nil {
		return err
	}
	for what, text := range map[string]string{"who breaks it": b.opts.By, "the reason": b.opts.Reason} {
		switch {
		case len(text) > driver.MaxNote:
			return fmt.Errorf("%s has %d bytes, at most %d are allowed", what, len(text), driver.MaxNote)
		case !utf8.ValidString(text), slices.ContainsFunc([]rune(text), unicode.IsControl):
			return fmt.Errorf("%s, %q, is not text without control characters", what, text)
		}
	}
	if b.opts.By == "" {
		b.opts.By = b.s.Identity()
	}
	return nil
}

// take finds the entry, leaves the mark, and waits until the entry is gone.
func (b *breaking) take(ctx context.Context) error {
	q, err := b.read(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(q.Entries, b.concerns)
	if i < 0 {
		return b.notHeld(q)
	}
	e := q.Entries[i]
	if e.ID == "" && !b.opts.Force {
		return driver.Permanent(fmt.Errorf("the entry %q was made by another library, which would not obey: "+
			"only Force removes it, while its owner may go on", e.Key))
	}
	switch found, err := b.mark(ctx, e); {
	case err != nil && ctx.Err() != nil && found && !b.opts.Force: // the reply was still to come
		return b.gaveUp(err, e, "may have been told")
	case err != nil:
		return err
	case !found: // it left by itself, just now
		if q, err = b.read(ctx); err != nil {
			return err
		}
		return b.notHeld(q)
	case b.opts.Force:
		return nil
	}
	return b.await(ctx, e)
}

func (b *breaking) concerns(e driver.Entry) bool { return e.Token == b.token }

func (b *breaking) read(ctx context.Context) (driver.Queue, error) {
	return retryUntil(ctx, func() (driver.Queue, error) { return b.s.store.Read(ctx, b.name, 0) })
}

// mark leaves the mark, trying until it is known to be there. It returns false when
// the entry was gone before. Gone after an attempt whose outcome is unknown, it may
// well be by that one.
func (b *breaking) mark(ctx context.Context, e driver.Entry) (found bool, err error) {
	m := driver.Mark{ID: e.ID, By: b.opts.By, Reason: b.opts.Reason}
	return retryUntil(ctx, func() (bool, error) {
		err := b.s.store.Break(ctx, e, m, b.opts.Force)
		if errors.Is(err, driver.ErrEntryGone) {
			return found, nil
		}
		found = true
		return found, err
	})
}

// errGone ends a watch.
var errGone = errors.New("it is gone")

// await waits until the entry is gone.
func (b *breaking) await(ctx context.Context, e driver.Entry) error {
	_, err := retryUntil(ctx, func() (struct{}, error) {
		err := b.s.store.Watch(ctx, b.name, func(q driver.Queue) error {
			if !slices.ContainsFunc(q.Entries, b.concerns) {
				return errGone
			}
			return nil
		})
		switch {
		case errors.Is(err, errGone):
			return struct{}{}, nil
		case err == nil:
			err = errors.New("the watch ended")
		}
		return struct{}{}, err
	})
	if err != nil && ctx.Err() != nil {
		err = b.gaveUp(err, e, "was told")
	}
	return err
}

// gaveUp says what the owner of the entry knows, and what else could be done.
func (b *breaking) gaveUp(err error, e driver.Entry, told string) error {
	return fmt.Errorf("%w: %s %s, and has not let go yet; Force would remove the entry at once, "+
		"and let the next start beside what is still running", err, b.owner(e), told)
}

// owner names the owner of an entry, for errors.
func (b *breaking) owner(e driver.Entry) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.s.life), grace)
	defer cancel()
	if who, err := b.s.store.Identify(ctx, e); err == nil && who != "" {
		return who
	}
	return e.Key
}

// notHeld says that the entry is not in the queue, and who holds instead.
func (b *breaking) notHeld(q driver.Queue) error {
	if len(q.Entries) == 0 {
		return fmt.Errorf("%w: nobody holds %q", ErrNotHeld, b.name)
	}
	return fmt.Errorf("%w: %q is held by %s, token %d", ErrNotHeld, b.name, b.owner(q.Entries[0]), q.Entries[0].Token)
}

// mark has the audit read the marks that were left for entries of the lease.
func (t *tenure) mark() {
	select {
	case t.marked <- struct{}{}:
	default:
	}
}

// obey reads the marks, and ends what they say is broken. One whose place is no more
// has been obeyed.
func (t *tenure) obey(ctx context.Context) error {
	marks, err := t.lease.Marks(ctx)
	if errors.Is(err, driver.ErrLeaseGone) {
		return t.lose(lost("the store does not know the lease any more"))
	}
	if err != nil {
		return err
	}
	for _, m := range marks {
		if p := t.place(m.ID); p != nil {
			p.shatter(&Broken{By: m.By, Reason: m.Reason})
		} else {
			_ = t.lease.Clear(ctx, m)
		}
	}
	return nil
}

// shatter ends a place that somebody breaks. Who waits for its turn there gives up:
// to join again would undo what was meant. The entry of a grant leaves when its
// owner has stopped.
func (p *Place) shatter(cause *Broken) {
	p.t.mu.Lock()
	if p.displaced != nil {
		p.t.mu.Unlock()
		return
	}
	p.displaced = cause
	g, wake, token := p.grant, p.wake, p.me.Token
	p.t.mu.Unlock()
	if g != nil {
		g.end(cause)
		p.t.s.background(func() {
			if g.stopped(p.t.ctx) {
				p.depart()
			}
		})
	}
	if wake != nil {
		wake(cause)
	}
	p.t.s.opts.Logger.Warn("fairlead: broken by somebody", "kind", p.claim.Kind, "name", p.claim.Name,
		"token", token, "by", cause.By, "reason", cause.Reason)
}

// stopped waits until the owner of a grant that was lost has stopped: it has the
// margin for it, functions under Do and Run as long as they take. It returns false
// when ctx ends first.
func (g *Grant) stopped(ctx context.Context) bool {
	margin := time.NewTimer(g.p.t.s.opts.margin(g.p.t.lease.TTL()))
	defer margin.Stop()
	select {
	case <-g.held.idle():
	case <-margin.C:
	case <-ctx.Done():
		return false
	}
	select {
	case <-g.running.idle():
		return true
	case <-ctx.Done():
		return false
	}
}
