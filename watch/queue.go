package watch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// A Snapshot is a queue at one moment.
type Snapshot struct {
	Name    string
	Kind    string  // of the first entry: "mutex", "election", …; "" when another library made it
	Limit   int64   // of a semaphore, else 0
	Holders []Entry // those whose turn it is, in queue order
	Waiters []Entry // the others, in queue order
}

// An Entry is a holder or a waiter.
type Entry struct {
	Token    uint64
	Identity string // of the session; "" when another library made the entry
	Kind     string
	Mode     string            // "exclusive", "shared" or "permit"
	Value    string            // what a candidate proposes
	Note     string            // what the owner says it is doing
	Weight   int64             // of a permit, else 0
	Key      string            // the entry's own name in the store
	Since    time.Time         // when it joined, by its owner's clock: for display only; zero for entries of other libraries
	TTLLeft  time.Duration     // of the owner's lease, when it was read; 0 when unknown
	Trace    trace.SpanContext // of the acquisition; not valid where its owner does not trace

	// WaitsFor are the tokens of those entries that a waiter waits for now: the one
	// right ahead for a lock; the nearest writer ahead for a reader; for permits, all
	// holders where the waiter is the first, else the nearest waiter ahead. It is
	// empty for a holder, and for one whose turn can never come, who is about to
	// learn that: its permits are more than the limit, or the name is in use for
	// something else.
	WaitsFor []uint64
}

// Queue yields the present state of a queue, empty or not, and then the state
// after each change. Several changes in a row may be seen as one, and a slow
// consumer gets the latest state, not a backlog. Temporary trouble is not
// yielded. A non-nil error is the last element: ctx's, ErrClosed when the
// session is closed, or one that trying again cannot heal. Ranging again starts
// anew.
func Queue(ctx context.Context, s *session.Session, name string) iter.Seq2[Snapshot, error] {
	return func(yield func(Snapshot, error) bool) {
		var last Snapshot
		first := true
		for q, err := range Changes(ctx, s, name) {
			if err != nil {
				yield(Snapshot{Name: name}, err)
				return
			}
			snap := snapshot(ctx, s.Store(), q)
			if !first && last.same(snap) {
				continue
			}
			first, last = false, snap
			if !yield(snap, nil) {
				return
			}
		}
	}
}

// List returns the queues whose name starts with prefix and that have entries,
// by name. The prefix is that of a string: "billing" also finds "billing2/x". It
// blocks until the store answers, and ends otherwise with ctx's error, with
// ErrClosed, or with an error that trying again cannot heal.
func List(ctx context.Context, s *session.Session, prefix string) ([]Snapshot, error) {
	queues, err := ask(ctx, s, func(ctx context.Context) ([]driver.Queue, error) { return s.Store().List(ctx, prefix) })
	if err != nil {
		return nil, &session.Error{Op: "list", Name: prefix, Err: err}
	}
	snaps := make([]Snapshot, 0, len(queues))
	for _, q := range queues {
		snaps = append(snaps, snapshot(ctx, s.Store(), q))
	}
	return snaps, nil
}

// Read returns the present state of a queue, empty or not. It blocks until the
// store answers, and ends otherwise with ctx's error, with ErrClosed, or with an
// error that trying again cannot heal.
func Read(ctx context.Context, s *session.Session, name string) (Snapshot, error) {
	q, err := read(ctx, s, name)
	if err != nil {
		return Snapshot{Name: name}, err
	}
	return snapshot(ctx, s.Store(), q), nil
}

func read(ctx context.Context, s *session.Session, name string) (driver.Queue, error) {
	err := driver.CheckName(name)
	var q driver.Queue
	if err == nil {
		q, err = ask(ctx, s, func(ctx context.Context) (driver.Queue, error) { return s.Store().Read(ctx, name, 0) })
	}
	if err != nil {
		return q, &session.Error{Op: "read", Name: name, Err: err}
	}
	q.Name = name
	return q, nil
}

// maxAsked bounds the leases that Inspect asks for: a request each.
const maxAsked = 16

// Inspect is Read, and says more of the first holders: where the store does not tell
// along with entries how long their owners' leases have left, it is asked.
func Inspect(ctx context.Context, s *session.Session, name string) (Snapshot, error) {
	q, err := read(ctx, s, name)
	if err != nil {
		return Snapshot{Name: name}, err
	}
	if r, ok := s.Store().(driver.Remainer); ok {
		has, _ := standing(q)
		for i := range min(len(q.Entries), maxAsked) {
			if e := &q.Entries[i]; has[i] && e.TTLLeft == 0 {
				e.TTLLeft, _ = r.Remaining(ctx, *e) // shown without when it cannot be told
			}
		}
	}
	return snapshot(ctx, s.Store(), q), nil
}

// First returns the first entry of a queue, and false when there is none. It
// blocks until the store answers, and ends otherwise with ctx's error, with
// ErrClosed, or with an error that trying again cannot heal.
func First(ctx context.Context, s *session.Session, name string) (driver.Entry, bool, error) {
	if err := driver.CheckName(name); err != nil {
		return driver.Entry{}, false, err
	}
	q, err := ask(ctx, s, func(ctx context.Context) (driver.Queue, error) { return s.Store().Read(ctx, name, 1) })
	if err != nil || len(q.Entries) == 0 {
		return driver.Entry{}, false, err
	}
	return q.Entries[0], true, nil
}

// ask calls f until it succeeds, ctx ends, the session is closed, or trying again
// is no use.
func ask[T any](ctx context.Context, s *session.Session, f func(context.Context) (T, error)) (T, error) {
	var v T
	if s.Context().Err() != nil {
		return v, session.ErrClosed
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.Context(), cancel)()
	var trouble error
	err := backoff.Retry(func() (err error) {
		if v, err = f(inner); driver.IsPermanent(err) {
			return backoff.Permanent(err)
		}
		if err != nil && inner.Err() == nil {
			trouble = err
		}
		return err
	}, spaced(inner))
	switch {
	case err == nil:
		return v, nil
	case ctx.Err() != nil && trouble != nil:
		return v, fmt.Errorf("%w; last error: %w", ctx.Err(), trouble)
	case ctx.Err() != nil:
		return v, ctx.Err()
	case s.Context().Err() != nil:
		return v, session.ErrClosed
	}
	return v, err
}

// Changes yields a queue, at once and then after each
// change, on the same terms as Queue. It is for those who write primitives.
func Changes(ctx context.Context, s *session.Session, name string) iter.Seq2[driver.Queue, error] {
	return func(yield func(driver.Queue, error) bool) {
		fail := func(err error) { yield(driver.Queue{}, &session.Error{Op: "watch", Name: name, Err: err}) }
		if err := driver.CheckName(name); err != nil {
			fail(err)
			return
		}
		inner, cancel := context.WithCancel(ctx)
		latest := make(chan driver.Queue, 1)
		failed := make(chan error, 1)
		go func() { failed <- follow(inner, s.Store(), name, latest) }()
		running := true
		defer func() {
			cancel()
			if running {
				<-failed
			}
		}()
		for {
			// An end is looked at first, so that it is not put off by changes.
			switch {
			case ctx.Err() != nil:
				fail(ctx.Err())
				return
			case s.Context().Err() != nil:
				fail(session.ErrClosed)
				return
			}
			select {
			case q := <-latest:
				if !yield(q, nil) {
					return
				}
			case err := <-failed:
				running = false
				switch { // whatever the error, that is why
				case ctx.Err() != nil:
					err = ctx.Err()
				case s.Context().Err() != nil:
					err = session.ErrClosed
				}
				fail(err)
				return
			case <-ctx.Done():
			case <-s.Context().Done():
			}
		}
	}
}

// follow keeps the latest state in the channel until ctx ends or for good trouble.
func follow(ctx context.Context, store driver.Store, name string, latest chan driver.Queue) error {
	spacing := spaced(ctx)
	watch := func() error {
		err := store.Watch(ctx, name, func(q driver.Queue) error {
			spacing.Reset() // it works: the next trouble is another one
			select {
			case <-latest: // nobody took it: it is out of date now
			default:
			}
			latest <- q
			return nil
		})
		if driver.IsPermanent(err) || ctx.Err() != nil {
			return backoff.Permanent(err)
		}
		if err == nil {
			err = errors.New("the watch ended")
		}
		return err
	}
	return backoff.Retry(watch, spacing)
}

// spaced spaces out attempts until ctx ends: 25 ms at first, then longer, up to 2 s.
func spaced(ctx context.Context) backoff.BackOff {
	return backoff.WithContext(backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(25*time.Millisecond), backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0)), ctx)
}

// snapshot tells holders from waiters, by the rule that every entry follows.
func snapshot(ctx context.Context, store driver.Store, q driver.Queue) Snapshot {
	snap := Snapshot{Name: q.Name, Limit: q.Limit.N}
	has, waitsFor := standing(q)
	for i, e := range q.Entries {
		if i == 0 {
			snap.Kind = e.Kind
		}
		shown := entry(ctx, store, e)
		for _, j := range waitsFor[i] {
			shown.WaitsFor = append(shown.WaitsFor, q.Entries[j].Token)
		}
		if has[i] {
			snap.Holders = append(snap.Holders, shown)
		} else {
			snap.Waiters = append(snap.Waiters, shown)
		}
	}
	return snap
}

func entry(ctx context.Context, store driver.Store, e driver.Entry) Entry {
	identity, _ := store.Identify(ctx, e) // shown without when it cannot be told
	shown := Entry{
		Token: e.Token, Identity: identity, Kind: e.Kind, Mode: string(e.Mode), Value: e.Value, Note: e.Info.Note,
		Key: e.Key, Since: e.Info.Since, TTLLeft: e.TTLLeft, Trace: e.Info.Trace,
	}
	switch { // where the value is ours
	case e.Mode == driver.Permit:
		shown.Weight, shown.Value = permitOf(e).weight, ""
	case e.Mode == driver.Exclusive && IsShared(e):
		shown.Mode, shown.Value = string(driver.Shared), ""
	}
	return shown
}

// same reports whether nothing but the TTLs differs.
func (s Snapshot) same(o Snapshot) bool {
	return s.Kind == o.Kind && s.Limit == o.Limit && sameEntries(s.Holders, o.Holders) && sameEntries(s.Waiters, o.Waiters)
}

func sameEntries(a, b []Entry) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		x.TTLLeft, y.TTLLeft = 0, 0
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

// String says who holds and how many wait.
func (s Snapshot) String() string {
	if len(s.Holders) == 0 {
		return fmt.Sprintf("%s: free", s.Name)
	}
	return fmt.Sprintf("%s: held by %s (token %d), %d waiting", s.Name, s.Holders[0].Identity, s.Holders[0].Token, len(s.Waiters))
}
