package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead-go/fairlead/internal/telemetry"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// blameTimeout bounds the look at who held when a wait timed out.
const blameTimeout = 400 * time.Millisecond

// maxLinks bounds the holders that a waiter's span links to.
const maxLinks = 16

// Options are those of every primitive. The zero value, and nil, mean the
// defaults.
type Options struct {
	// Note tells operators what the holder is doing; in UTF-8, at most 256 bytes.
	Note string

	// MaxWait bounds the wait for a turn alone, also in Do and Run, where a
	// timeout on ctx would end the work too. 0: only ctx bounds it.
	MaxWait time.Duration

	// Queued is called, if not nil, when the turn has not come at once and the wait
	// begins, with the token of the entry that waits; and again, with another, when
	// the entry was lost with its lease and the call has joined anew. It must return
	// promptly.
	Queued func(token uint64)

	// LocalHandoff is for mutexes alone; any other primitive refuses it. It lets
	// goroutines that wait at one Mutex pass the lock on among themselves, up to so
	// many times before the store's queue has its turn: see package mutex. 0: never.
	LocalHandoff int
}

// Copy returns a copy, with nil replaced by the defaults.
func (o *Options) Copy() *Options {
	if o == nil {
		return &Options{}
	}
	c := *o
	return &c
}

// Claim returns the claim with these options.
func (o *Options) Claim(c Claim) Claim {
	c.Note, c.MaxWait, c.Queued, c.LocalHandoff = o.Note, o.MaxWait, o.Queued, o.LocalHandoff
	return c
}

// A Claim is what Turn asks for.
type Claim struct {
	Op      string // what errors say was tried: "lock mutex"
	Kind    string // the primitive: "mutex"
	Name    string
	Mode    driver.Mode
	Value   string        // what others see of the entry, at most 64 KiB
	Note    string        // shown to operators, at most 256 bytes
	Limit   int64         // of the queue, for permits
	MaxWait time.Duration // bounds the wait; 0: only ctx does
	Queued  func(uint64)  // told when the wait begins; see Options
	Try     bool          // do not queue: fail with ErrHeld unless the turn comes at once

	// Stamp, if not "", replaces Value once a turn has come, unless it came with
	// the entry, before anybody was behind, and the limit does not ask for it: the
	// one behind, who may wait for just that, is woken. It is written in the
	// background.
	Stamp string

	// Private says that the value is the primitive's own, and not for the owner of
	// the grant to replace.
	Private bool

	LocalHandoff int // from the options: refused, unless there is a Local that sees to it

	// Local, if not nil, is asked before the turn joins. It may block, until wait
	// ends, and then says with waits for whom it does, if it knows the trace. A grant, which
	// carries the values of holding, is the turn's; without one, and without an error,
	// the turn joins.
	Local func(wait, holding context.Context, waits func(trace.SpanContext)) (*session.Grant, error)
}

// Turn joins the queue c.Name and blocks until the rule says that the turn has
// come. It is fair: turns come in the order of joining.
//
// It ends with the grant; with ctx's error, or context.DeadlineExceeded after
// MaxWait; with ErrClosed; with ErrHeld, if c.Try; with ErrKind or ErrLimit, if
// the queue is in use by others for something else; with a *session.Broken, which
// Is ErrLost, if somebody breaks the wait; or with an error that trying again
// cannot heal. All are wrapped in a *session.Error. When it fails, its
// entry is removed, if need be in the background. When a reply is lost, it
// finds out what happened; it neither fails for that nor joins twice.
//
// It runs code of others: Queued, the rule, and what records telemetry. Where that
// panics, or ends the goroutine, Turn leaves nothing in the queue either.
func Turn(ctx context.Context, s *session.Session, c Claim, rule Rule) (g *session.Grant, err error) {
	if err := c.check(); err != nil {
		return nil, &session.Error{Op: c.Op, Name: c.Name, Err: err}
	}
	wait := ctx
	if c.MaxWait > 0 {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, c.MaxWait)
		defer cancel()
	}
	wait, acq := s.Telemetry().Acquire(wait, telemetry.Subject{Kind: c.Kind, Mode: string(c.Mode), Name: c.Name})
	t := &turn{s: s, claim: c, rule: rule, acq: acq, holding: ctx}
	if !trace.SpanContextFromContext(ctx).IsValid() {
		t.holding = trace.ContextWithSpan(ctx, trace.SpanFromContext(wait)) // one trace for both spans
	}
	err = errUnwound
	defer func() { t.end(wait, g, err) }()
	return t.take(wait)
}

// errUnwound is recorded of a call that does not return.
var errUnwound = errors.New("the call ended with a panic, or with its goroutine")

// end records how the call ends. Where that panics, nobody is given the grant: it is
// released, in the background.
func (t *turn) end(ctx context.Context, g *session.Grant, err error) {
	returns := false
	defer func() {
		if !returns && g != nil {
			done, cancel := context.WithCancel(context.Background())
			cancel()
			_ = g.Release(done)
		}
	}()
	t.acq.End(ctx, outcome(err), err)
	returns = true
}

func (c Claim) check() error {
	if err := driver.CheckName(c.Name); err != nil {
		return err
	}
	if len(c.Value) > driver.MaxValue {
		return fmt.Errorf("the value has %d bytes, at most %d are allowed", len(c.Value), driver.MaxValue)
	}
	if len(c.Note) > driver.MaxNote {
		return fmt.Errorf("the note has %d bytes, at most %d are allowed", len(c.Note), driver.MaxNote)
	}
	switch {
	case !utf8.ValidString(c.Note):
		return fmt.Errorf("the note %q is not valid UTF-8: was it cut in the middle of a character?", c.Note)
	case c.MaxWait < 0:
		return fmt.Errorf("MaxWait is %v, and cannot be negative", c.MaxWait)
	case c.LocalHandoff < 0:
		return fmt.Errorf("LocalHandoff is %d, and cannot be negative", c.LocalHandoff)
	case c.LocalHandoff > 0 && c.Local == nil:
		return errors.New("LocalHandoff is for mutexes alone")
	}
	return nil
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "granted"
	case errors.Is(err, session.ErrHeld):
		return "held"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "failed"
}

// turn is one call of Turn.
type turn struct {
	s       *session.Session
	claim   Claim
	rule    Rule
	acq     *telemetry.Acquisition
	holding context.Context // whose values the grant carries
	linked  []uint64        // tokens of those that the span links to
	never   error           // why the rule said that the turn can never come
	inWay   []driver.Entry  // who was in the way when the rule was asked last
}

// take joins until a place leads to a grant, or to an error that ends the call.
func (t *turn) take(ctx context.Context) (*session.Grant, error) {
	if t.claim.Local != nil {
		if g, err := t.claim.Local(ctx, t.holding, t.acq.Waits); err != nil {
			return nil, t.fail(ctx, err)
		} else if g != nil {
			return g, nil
		}
	}
	for {
		g, err := t.queue(ctx)
		switch {
		case err == nil:
			return g, nil
		case !errors.Is(err, session.ErrDisplaced):
			return nil, t.fail(ctx, err)
		}
	}
}

// queue joins, and waits for the turn. Without a grant the entry leaves, also where what
// is called meanwhile panics: the session, which lives on, would keep it for ever, and
// everybody behind would wait for it.
func (t *turn) queue(ctx context.Context) (g *session.Grant, err error) {
	p, err := t.s.Join(ctx, t.join(ctx))
	if err != nil {
		return nil, err
	}
	defer func() {
		if g == nil {
			p.Abandon()
		}
	}()
	return t.wait(ctx, p)
}

// wait follows the rule from one obstacle to the next until there is none.
func (t *turn) wait(ctx context.Context, p *session.Place) (*session.Grant, error) {
	first := p.View()
	atOnce := !first.Followed && !first.Limit.Stamp
	for waiting := false; ; waiting = true {
		on, err := t.ask(p.View())
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, err
		case !blocked(on):
			g, err := p.Grant(t.holding)
			if err == nil && (waiting || !atOnce) && t.claim.Stamp != "" {
				g.Stamp(t.claim.Stamp)
			}
			return g, err
		case t.claim.Try: // the reply to the join was lost: what was found was not asked whether it may
			return nil, &driver.Refused{Ahead: p.View().Ahead}
		}
		if !waiting && t.claim.Queued != nil {
			t.claim.Queued(first.Me.Token)
		}
		t.link(on.Entries)
		if err := p.Await(ctx, on); err != nil {
			return nil, err
		}
	}
}

// link says whom the call waits for, each once.
func (t *turn) link(entries []driver.Entry) {
	for _, e := range entries {
		if len(t.linked) < maxLinks && !slices.Contains(t.linked, e.Token) {
			t.linked = append(t.linked, e.Token)
			t.acq.Waits(e.Info.Trace)
		}
	}
}

// join returns the claim as the driver has it.
func (t *turn) join(ctx context.Context) driver.Claim {
	c := driver.Claim{
		Name:  t.claim.Name,
		Kind:  t.claim.Kind,
		Mode:  t.claim.Mode,
		Value: t.claim.Value,
		Info:  driver.Info{Note: t.claim.Note, Since: time.Now(), Trace: trace.SpanContextFromContext(ctx)},
		Limit: t.claim.Limit, Private: t.claim.Private,
	}
	if t.claim.Try {
		c.Admit = func(v driver.View) bool {
			on, err := t.ask(v)
			return err == nil && !blocked(on)
		}
	}
	return c
}

// ask asks the rule, and remembers who is in the way: the first of the queue for
// one that has to wait for all ahead, else the one that the rule names.
func (t *turn) ask(v driver.View) (driver.Obstacles, error) {
	on, err := t.rule(v)
	t.never, t.inWay = err, v.Ahead
	if v.Me.Mode == driver.Shared && len(on.Entries) > 0 {
		t.inWay = on.Entries
	}
	return on, err
}

// fail says what was tried, and who was in the way where that is the reason.
func (t *turn) fail(ctx context.Context, err error) error {
	e := &session.Error{Op: t.claim.Op, Name: t.claim.Name, Err: err}
	var refused *driver.Refused
	var limit *driver.LimitError
	switch {
	case errors.As(err, &refused) && t.never != nil:
		e.Err = t.never
		t.blame(ctx, e, refused.Ahead)
	case errors.As(err, &refused):
		e.Err = session.ErrHeld
		t.blame(ctx, e, t.inWay)
	case errors.As(err, &limit) && limit.Limit == 0:
		e.Err = fmt.Errorf("%w: a lock or an election", session.ErrKind)
		t.blame(ctx, e, limit.Ahead)
	case errors.As(err, &limit):
		e.Err = fmt.Errorf("%w: %w, and not %d", session.ErrLimit, err, t.claim.Limit)
		t.blame(ctx, e, limit.Ahead)
	case errors.Is(err, session.ErrKind), errors.Is(err, session.ErrLimit):
		t.blame(ctx, e, t.inWay)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, session.ErrHeld):
		t.blameFirst(ctx, e)
	}
	return e
}

// blameFirst names who is in the way now of one that has waited in vain: whoever it
// waited for, or the first of the queue.
func (t *turn) blameFirst(ctx context.Context, e *session.Error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), blameTimeout)
	defer cancel()
	if t.claim.Mode == driver.Shared && len(t.inWay) > 0 {
		t.blame(ctx, e, t.inWay)
	} else if q, err := t.s.Store().Read(ctx, t.claim.Name, 1); err == nil {
		t.blame(ctx, e, q.Entries)
	}
}

// blame names the first of the queue as the one in the way.
func (t *turn) blame(ctx context.Context, e *session.Error, queue []driver.Entry) {
	if len(queue) == 0 {
		return
	}
	e.Token = queue[0].Token
	e.Holder, _ = t.s.Store().Identify(ctx, queue[0])
	if e.Holder == "" {
		e.Holder = queue[0].Key
	}
}
