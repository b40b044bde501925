// Package election elects a leader among processes.
//
//	e := election.New(s, "billing/leader")
//	err := e.Run(ctx, "http://10.0.0.7:8080", func(ctx context.Context) error {
//		return serve(ctx) // until ctx is done: then somebody else leads
//	})
//
// # GUARANTEES
//
// At most one candidate of a name leads, as the store sees it. A leader's
// context is done before the store may let another lead, as long as its clock
// runs at the right rate and its process is scheduled. Candidates lead in the
// order in which the store accepted them; each term has a larger token. The end
// of a term wakes one candidate.
//
// # NOT GUARANTEED
//
// A leader that was stopped and goes on may act before it looks at its context:
// send the term's token along with what it does, and let the receiver refuse
// an old one.
package election

import (
	"context"
	"errors"
	"iter"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// Options of an election. The zero value, and nil, mean the defaults.
type Options = watch.Options

// An Election is an election's name on a session. It has no state.
type Election struct {
	s    *session.Session
	name string
	opts *Options
}

// New returns the election of that name. A bad name is reported by its methods,
// before any I/O.
func New(s *session.Session, name string) *Election { return NewWith(s, name, nil) }

// NewWith is New with options.
func NewWith(s *session.Session, name string, opts *Options) *Election {
	return &Election{s, name, opts.Copy()}
}

// A Term is a grant of leadership.
type Term struct{ *session.Grant }

// A Leader is who leads.
type Leader struct {
	Value    string // as proposed or proclaimed
	Identity string // of the leader's session; "" when another library made it
	Token    uint64 // of the term; 0: there is no leader
}

// Campaign stands for election and blocks until elected. Candidates are elected
// in the order in which the store accepted them. value, at most 64 KiB, is what
// others see of the leader: its address, say.
//
// ctx bounds the wait and nothing else: when it ends later, the term goes on.
// The wait also ends after MaxWait, with context.DeadlineExceeded; with
// session.ErrClosed; with session.ErrKind where the name is a semaphore's; and on
// an error that trying again cannot heal. A failed
// Campaign leaves no candidate behind. A lost reply does not make it fail. When
// the session's lease is lost meanwhile, it goes on at the end of the queue.
func (e *Election) Campaign(ctx context.Context, value string) (*Term, error) {
	g, err := watch.Turn(ctx, e.s, e.opts.Claim(watch.Claim{
		Op: "campaign in election", Kind: "election", Name: e.name, Mode: driver.Exclusive, Value: value,
	}), watch.Exclusive)
	if err != nil {
		return nil, err
	}
	return &Term{g}, nil
}

// Proclaim replaces the value that others see, and stays in office. It blocks
// until the store has acknowledged it; see session.Grant.Update.
func (t *Term) Proclaim(ctx context.Context, value string) error { return t.Update(ctx, value) }

// Resign ends the term; it is session.Grant.Release. When it fails, the
// resignation goes on in the background: the term's context is done already.
func (t *Term) Resign(ctx context.Context) error { return t.Release(ctx) }

// Leader returns who leads now, as the store sees it. The error Is
// session.ErrNoLeader when nobody does, also where the name is a semaphore's or readers
// hold it. Who holds the name as a mutex is taken for the leader. It blocks until the
// store answers, or ctx ends.
func (e *Election) Leader(ctx context.Context) (Leader, error) {
	first, ok, err := watch.First(ctx, e.s, e.name)
	if err == nil && !(ok && leads(first)) {
		err = session.ErrNoLeader
	}
	if err != nil {
		return Leader{}, &session.Error{Op: "find leader of election", Name: e.name, Err: err}
	}
	return e.leader(ctx, first), nil
}

// leads reports whether the first entry of a queue is a leader's. It is if nobody else may hold
// beside it, whatever it was made with: who leads may use another library.
func leads(first driver.Entry) bool { return first.Mode != driver.Permit && !watch.IsShared(first) }

func (e *Election) leader(ctx context.Context, entry driver.Entry) Leader {
	identity, _ := e.s.Store().Identify(ctx, entry) // "" when it cannot be told
	return Leader{Value: entry.Value, Identity: identity, Token: entry.Token}
}

// Observe yields who leads now, "nobody" (Token 0) included, and then each
// change of leader or value. Several changes in a row may be seen as one, and a
// slow consumer gets the latest state, not a backlog. Temporary trouble is not
// yielded. A non-nil error is the last element: ctx's, ErrClosed when the
// session is closed, or one that trying again cannot heal. Ranging again starts
// anew.
func (e *Election) Observe(ctx context.Context) iter.Seq2[Leader, error] {
	return func(yield func(Leader, error) bool) {
		var last Leader
		first := true
		for q, err := range watch.Changes(ctx, e.s, e.name) {
			if err != nil {
				yield(Leader{}, err)
				return
			}
			var now Leader
			if len(q.Entries) > 0 && leads(q.Entries[0]) {
				now = e.leader(ctx, q.Entries[0])
			}
			if !first && now == last {
				continue
			}
			first, last = false, now
			if !yield(now, nil) {
				return
			}
		}
	}
}

type termKey struct{}

// TermFrom returns the term that ctx comes from, inside Run.
func TermFrom(ctx context.Context) (*Term, bool) {
	t, ok := ctx.Value(termKey{}).(*Term)
	return t, ok
}

// Run campaigns and calls lead while this candidate leads; the context of lead
// ends with the term and with ctx.
//
//   - lead returns while leading: Run resigns and returns lead's error.
//   - The term is lost, be it that somebody breaks it: Run waits for lead to
//     return, logs its error, and campaigns again, at the end of the queue.
//   - ctx ends: Run waits for lead, resigns and returns ctx's error.
//   - Campaign fails, be it that somebody breaks the wait: Run returns its error.
//   - lead panics: Run resigns, and the panic goes on.
//
// Two leads of one Run never overlap.
func (e *Election) Run(ctx context.Context, value string, lead func(ctx context.Context) error) error {
	for {
		t, err := e.Campaign(ctx, value)
		if err != nil {
			return err
		}
		err = t.Do(ctx, func(ctx context.Context) error {
			return lead(context.WithValue(ctx, termKey{}, t))
		})
		cause := context.Cause(t.Context())
		switch {
		case ctx.Err() != nil:
			if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				e.s.Logger().Warn("fairlead: the leading function failed when its context ended", "election", e.name, "token", t.Token(), "error", err)
			}
			return &session.Error{Op: "run election", Name: e.name, Token: t.Token(), Err: ctx.Err()}
		case errors.Is(cause, session.ErrClosed):
			return &session.Error{Op: "run election", Name: e.name, Token: t.Token(), Err: session.ErrClosed}
		case !errors.Is(cause, session.ErrLost):
			return err
		}
		e.s.Logger().Warn("fairlead: leadership is lost, campaigning again", "election", e.name, "token", t.Token(), "error", err)
	}
}
