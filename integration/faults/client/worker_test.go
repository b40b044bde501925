package client

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/session"
)

func TestOutcomeIsWhatTheErrorSays(t *testing.T) {
	t.Parallel()
	done, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("no such function")
	for name, tc := range map[string]struct {
		ctx  context.Context
		err  error
		want journal.Kind
	}{
		"granted":                      {t.Context(), nil, journal.Granted},
		"granted as the context ended": {done, nil, journal.Granted},
		"held by another":              {done, &session.Error{Err: session.ErrHeld}, journal.Barred},
		"another limit":                {t.Context(), &session.Error{Err: session.ErrLimit}, journal.Barred},
		"canceled":                     {done, &session.Error{Err: fmt.Errorf("%w; last error: %w", context.Canceled, broken)}, journal.GaveUp},
		"timed out":                    {done, &session.Error{Err: context.DeadlineExceeded}, journal.GaveUp},
		"canceled by somebody else":    {t.Context(), &session.Error{Err: context.Canceled}, journal.Failed},
		"broken":                       {t.Context(), &session.Error{Err: broken}, journal.Failed},
		"broken as the context ended":  {done, &session.Error{Err: broken}, journal.Failed},
	} {
		if got := Outcome(tc.ctx, tc.err); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
