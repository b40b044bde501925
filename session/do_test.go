package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
	"github.com/fairlead-go/fairlead/watch"
)

// The context of a function ends as its caller's does, with the same error, and from the start
// where that has ended.
func TestContextOfAFunctionEndsAsTheCallersDoes(t *testing.T) {
	stopped := errors.New("stopped")
	for what, c := range map[string]struct {
		of    func(ctx context.Context) (context.Context, context.CancelFunc)
		err   error
		cause error
	}{
		"a deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, context.DeadlineExceeded, context.DeadlineExceeded},
		"a cancellation": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(time.Second, func() { cancel(stopped) })
			return ctx, func() { cancel(nil) }
		}, context.Canceled, stopped},
		"a cancellation before the deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, context.Canceled, context.Canceled},
	} {
		t.Run(what, func(t *testing.T) {
			for range 50 { // two ends of one moment come in either order
				synctest.Test(t, func(t *testing.T) {
					s, err := memory.NewStore().Session(patient(t), nil)
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close(context.Background())
					ctx, cancel := c.of(patient(t))
					defer cancel()
					err = mutex.New(s, "x").Do(ctx, func(ctx context.Context) error {
						<-ctx.Done()
						if cause := context.Cause(ctx); cause != c.cause {
							t.Errorf("the cause is %v", cause)
						}
						return ctx.Err()
					})
					if err != c.err {
						t.Errorf("Do returned %v, want %v", err, c.err)
					}
				})
			}
			synctest.Test(t, func(t *testing.T) {
				s, err := memory.NewStore().Session(patient(t), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close(context.Background())
				g, err := mutex.New(s, "x").Lock(patient(t))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := c.of(patient(t))
				defer cancel()
				<-ctx.Done()
				if err := g.Do(ctx, func(ctx context.Context) error { return ctx.Err() }); err != c.err {
					t.Errorf("with a context that is done, Do returned %v, want %v", err, c.err)
				}
			})
		})
	}
}

func TestErrorsSayWhatWasTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := memory.NewStore().Session(patient(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(context.Background())
		g, err := mutex.New(s, "x").Lock(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Release(patient(t)); err != nil {
			t.Fatal(err)
		}
		for op, err := range map[string]error{
			"check mutex":   g.Check(),
			"confirm mutex": g.Confirm(patient(t)),
			"update mutex":  g.Update(patient(t), "v"),
		} {
			e, ok := errors.AsType[*session.Error](err)
			if !ok || e.Op != op || !errors.Is(err, session.ErrReleased) {
				t.Errorf("%s: %v", op, err)
			}
		}
	})
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for want, o := range map[string]session.Options{
		"was a unit forgotten": {TTL: 15},
		"not valid UTF-8":      {Identity: "a\xff"},
		"negative":             {TTL: -time.Second},
	} {
		s, err := memory.NewStore().Session(t.Context(), &o)
		if err == nil {
			_ = s.Close(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
	s, err := memory.NewStore().Session(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	for want, o := range map[string]watch.Options{
		"the note \"sch\\xc3\" is not valid UTF-8": {Note: "schön"[:4]},
		"MaxWait is -1s": {MaxWait: -time.Second},
	} {
		if g, err := mutex.NewWith(s, "x", &mutex.Options{Note: o.Note, MaxWait: o.MaxWait}).Lock(t.Context()); g != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
}

// Who timed out while there was no lease has lost nothing.
func TestWaitForALeaseThatTimesOutIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.NewStore()
		s, err := st.Session(patient(t), &session.Options{TTL: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(context.Background())
		st.Cut(s)
		defer st.Heal(s)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(patient(t), time.Second)
		defer cancel()
		_, err = mutex.New(s, "x").Lock(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, session.ErrLost) || !strings.Contains(err.Error(), "no lease") {
			t.Errorf("Lock returned %v", err)
		}
	})
}

// A session that was closed does nothing more, also where its store would answer at once.
func TestClosedSessionChangesNothing(t *testing.T) {
	ctx, st := t.Context(), memory.NewStore()
	closed, err := st.Session(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := st.Session(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	g, err := mutex.New(s, "m").Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := semaphore.New(s, "s", 2).Acquire(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(ctx); err != nil {
		t.Fatal(err)
	}
	_, list := watch.List(ctx, closed, "")
	_, read := watch.Read(ctx, closed, "m")
	for what, err := range map[string]error{
		"Break":  closed.Break(ctx, "m", g.Token(), &session.BreakOptions{Force: true}),
		"Resize": semaphore.New(closed, "s", 2).Resize(ctx, 3),
		"List":   list, "Read": read,
	} {
		if !errors.Is(err, session.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := g.Confirm(ctx); err != nil {
		t.Error(err)
	}
}
