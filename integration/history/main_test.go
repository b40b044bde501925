package history

import (
	"errors"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A trial is a history written by hand, and whether it is legal.
type trial struct {
	name  string
	legal bool
	ops   []operation
}

// run records each trial's operations and checks them.
func run(t *testing.T, history func(*Recorder) *History, trials []trial) {
	for _, trial := range trials {
		t.Run(trial.name, func(t *testing.T) {
			rec := NewRecorder(nil)
			h := history(rec)
			for _, o := range trial.ops {
				c := h.BeginAt(o.call, o.client, o.op)
				if o.out.status != unknown {
					c.At(o.end).finish(o.out)
				}
			}
			err := rec.Check(&Options{Dir: t.TempDir()})
			if trial.legal && err != nil {
				t.Errorf("a legal history is refused: %v", err)
			}
			if !trial.legal && err == nil {
				t.Error("an illegal history is accepted")
			}
			if e := (*Error)(nil); errors.As(err, &e) && (e.Undecided || e.Err != nil) {
				t.Errorf("not decided, or not drawn: %v", err)
			}
		})
	}
}

// op is an operation whose outcome is known; out may be nil for done.
func op(client int, call, end int64, op Op, out ...outcome) operation {
	o := operation{client: client, op: op, out: outcome{status: done}, call: call, end: end}
	if len(out) > 0 {
		o.out = out[0]
	}
	return o
}

// open is an operation of unknown outcome.
func open(client int, call int64, op Op) operation {
	return operation{client: client, op: op, call: call, end: never}
}

func got(token uint64) outcome { return outcome{status: granted, token: token} }

func sees(value string, token uint64) outcome {
	return outcome{status: saw, value: value, token: token}
}

var (
	nobody = outcome{status: saw}
	stale  = outcome{status: refused}
	noop   = outcome{status: failed}
)
