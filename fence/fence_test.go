package fence_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/fence"
)

// registers are all kinds of them, empty.
func registers(t *testing.T) map[string]fence.Register {
	t.Helper()
	db := connect(t)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	conn, err := pgx.Connect(bounded(t), address(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	ptx, err := conn.Begin(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]fence.Register{
		"Memory":           new(fence.Memory),
		"SQL":              fence.NewSQL(tx, table(t, db)),
		"SQL with pgx":     fence.NewPGX(ptx, table(t, db)),
		"SQL, no Tx":       fence.NewSQL(db, table(t, db)),
		"SQL, pgx's no Tx": fence.NewPGX(conn, table(t, db)),
	}
}

func TestTokenThatIsNotOlderIsAdmitted(t *testing.T) {
	for kind, r := range registers(t) {
		for _, token := range []uint64{1, 1, 2, 7, 7, 1 << 62, 1<<63 - 1, 1<<63 - 1} {
			if err := r.Admit(bounded(t), "r", token); err != nil {
				t.Errorf("%s: token %d: %v", kind, token, err)
			}
		}
	}
}

func TestOlderTokenIsRefused(t *testing.T) {
	for kind, r := range registers(t) {
		if err := r.Admit(bounded(t), "r", 9); err != nil {
			t.Fatal(err)
		}
		for _, token := range []uint64{8, 1, 8} {
			err := r.Admit(bounded(t), "r", token)
			stale, ok := errors.AsType[*fence.StaleError](err)
			if !ok || !errors.Is(err, fence.ErrStale) || *stale != (fence.StaleError{Resource: "r", Token: token, Newest: 9}) {
				t.Errorf("%s: token %d after 9: %v", kind, token, err)
			}
		}
		if err := r.Admit(bounded(t), "r", 9); err != nil {
			t.Errorf("%s: the newest after a refusal: %v", kind, err)
		}
	}
}

func TestResourcesAreApart(t *testing.T) {
	for kind, r := range registers(t) {
		for _, step := range []struct {
			resource string
			token    uint64
			stale    bool
		}{
			{"a", 5, false},
			{"b", 3, false},
			{"a/b", 1, false},
			{"A", 1, false},
			{"a ", 1, false},
			{"'; DROP TABLE ledger; --", 1, false},
			{"a", 4, true},
			{"b", 2, true},
		} {
			err := r.Admit(bounded(t), step.resource, step.token)
			if errors.Is(err, fence.ErrStale) != step.stale || err != nil && !step.stale {
				t.Errorf("%s: token %d to %q: %v", kind, step.token, step.resource, err)
			}
		}
	}
}

// A lock that has moved to another store may have smaller tokens there.
func TestForgottenResourceAdmitsAnyToken(t *testing.T) {
	var r fence.Memory
	r.Forget("never seen")
	for _, resource := range []string{"moved", "stays"} {
		if err := r.Admit(bounded(t), resource, 9); err != nil {
			t.Fatal(err)
		}
	}
	r.Forget("moved")
	if err := r.Admit(bounded(t), "moved", 2); err != nil {
		t.Errorf("a resource that is forgotten: %v", err)
	}
	if err := r.Admit(bounded(t), "moved", 1); !errors.Is(err, fence.ErrStale) {
		t.Errorf("an older token than the first since: %v", err)
	}
	if err := r.Admit(bounded(t), "stays", 2); !errors.Is(err, fence.ErrStale) {
		t.Errorf("another resource: %v", err)
	}
}

// It is no ErrStale, which a holder may take for "somebody else goes on".
func TestWhatNoGrantHasIsRefused(t *testing.T) {
	for kind, r := range registers(t) {
		for what, err := range map[string]error{
			"token 0":               r.Admit(bounded(t), "r", 0),
			"resource without name": r.Admit(bounded(t), "", 1),
		} {
			if err == nil || errors.Is(err, fence.ErrStale) {
				t.Errorf("%s: a %s: %v", kind, what, err)
			}
		}
		if err := r.Admit(bounded(t), "r", 1); err != nil {
			t.Errorf("%s: afterwards: %v", kind, err)
		}
	}
}

func TestNothingIsAdmittedAfterTheContext(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for kind, r := range registers(t) {
		if kind != "Memory" && kind != "SQL, no Tx" {
			continue // the connection would be gone
		}
		if err := r.Admit(over, "r", 9); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", kind, err)
		}
		if err := r.Admit(bounded(t), "r", 1); err != nil {
			t.Errorf("%s: afterwards: %v", kind, err)
		}
	}
}

// Tokens are larger the later they are taken, more or less: so that many are admitted,
// and many are not.
type tokens struct{ last atomic.Uint64 }

func (ts *tokens) next() uint64 { return ts.last.Add(1) + rand.Uint64N(12) }

// A call of Admit, with the moments before and after it.
type call struct {
	began, ended int64
	token        uint64
	err          error
}

// In whatever order concurrent calls took place, that order has to explain them: who
// was admitted has a token no older than all whose admission had ended before, and
// who was refused knows a newer one whose admission had begun.
func TestAdmittedTokensNeverDecrease(t *testing.T) {
	const callers, each = 8, 100
	all := registers(t)
	for _, kind := range []string{"Memory", "SQL, no Tx"} {
		var clock atomic.Int64
		var grants tokens
		var mu sync.Mutex
		var calls []call
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range each {
					c := call{token: grants.next(), began: clock.Add(1)}
					c.err = all[kind].Admit(bounded(t), "r", c.token)
					c.ended = clock.Add(1)
					mu.Lock()
					calls = append(calls, c)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		explain(t, kind, calls)
	}
}

func explain(t *testing.T, kind string, calls []call) {
	t.Helper()
	admitted := 0
	for _, c := range calls {
		stale, refused := errors.AsType[*fence.StaleError](c.err)
		if c.err != nil && !refused {
			t.Fatalf("%s: token %d: %v", kind, c.token, c.err)
		}
		if !refused {
			admitted++
		}
		known := false
		for _, other := range calls {
			if other.err != nil {
				continue
			}
			known = known || refused && other.token == stale.Newest && other.began < c.ended
			if other.ended < c.began && other.token > c.token && !refused {
				t.Errorf("%s: %d was admitted after %d", kind, c.token, other.token)
			}
			if refused && other.ended < c.began && other.token > stale.Newest {
				t.Errorf("%s: %d was refused for %d, when %d had been admitted", kind, c.token, stale.Newest, other.token)
			}
		}
		if refused && (!known || stale.Newest <= c.token) {
			t.Errorf("%s: %d was refused for %d, which nobody had", kind, c.token, stale.Newest)
		}
	}
	if admitted < 10 || admitted == len(calls) {
		t.Errorf("%s: %d of %d were admitted: that shows nothing", kind, admitted, len(calls))
	}
}
