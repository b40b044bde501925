package redis_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session/driver"
)

// A later release may write entries that this one does not understand. They are neither
// held nor stepped over: who meets one is told what to do.
func TestEntryOfANewerLayoutIsRefusedByName(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	p, q := enter(t, s, nil), enter(t, s, nil)
	behind := meet(t, s, p, q, func(record string) string {
		return strings.Replace(record, `"layout":1`, `"layout":2,"since":"a time of another type"`, 1)
	})
	for what, err := range behind {
		if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "has layout 2") || !strings.Contains(err.Error(), "{fairlead}:d:q#") {
			t.Errorf("%s: %v, want a permanent error that names the entry and its layout", what, err)
		}
	}
}

// Somebody else has written there, or half of it. As it may be a lock that is held, nobody
// is let in beside it.
func TestGarbledRecordIsRefusedByName(t *testing.T) {
	t.Parallel()
	for what, garble := range map[string]func(record string) string{
		"nothing":         func(string) string { return "" },
		"one word":        func(string) string { return "garbled" },
		"no info":         func(record string) string { head, _, _ := strings.Cut(record, "\n"); return head },
		"no JSON":         func(record string) string { return strings.Replace(record, `{"layout"`, `"layout"`, 1) },
		"a bad token":     func(record string) string { return "x" + record },
		"a long token":    func(record string) string { return "99999999999999999999999" + record },
		"a missing word":  func(record string) string { return strings.Replace(record, " exclusive", "", 1) },
		"one word more":   func(record string) string { return strings.Replace(record, " exclusive", " exclusive more", 1) },
		"other separator": func(record string) string { return strings.Replace(record, " ", ",", 1) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := startWarm(t, redisserver.Config{})
			p, q := enter(t, s, nil), enter(t, s, nil)
			for op, err := range meet(t, s, p, q, garble) {
				if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "garbled") || !strings.Contains(err.Error(), "{fairlead}:d:q") {
					t.Errorf("%s: %v, want a permanent error that names the key", op, err)
				}
			}
			// The error says what to do: then all goes on.
			fields := do(t, s, "HKEYS", "{fairlead}:d:q").([]any)
			for _, f := range fields {
				do(t, s, "HDEL", "{fairlead}:d:q", f.(string))
			}
			if v := q.join("q"); len(v.Ahead) != 0 {
				t.Errorf("%v is ahead, want nobody", v.Ahead)
			}
			// And who has such entries can end its session.
			if err := p.Revoke(bounded(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// meet has an entry of p's be garbled, and returns what those behind it and others are told.
func meet(t *testing.T, s *redisserver.Server, p, q *party, garble func(record string) string) map[string]error {
	t.Helper()
	ctx := bounded(t)
	first, second := p.join("q"), q.join("q")
	record := do(t, s, "HGET", "{fairlead}:d:q", first.Me.ID).(string)
	do(t, s, "HSET", "{fairlead}:d:q", first.Me.ID, garble(record))
	try, shared := claim("q"), claim("q")
	try.Admit = func(v driver.View) bool { return len(v.Ahead) == 0 }
	shared.Kind, shared.Mode = "rwmutex", driver.Shared
	refused := map[string]error{
		"Look":             errOf(q.Look(ctx, second.Me)),
		"conditional Join": errOf(q.Join(ctx, try)),
		"Read":             errOf(q.store.Read(ctx, "q", 0)),
		"Read one":         errOf(q.store.Read(ctx, "q", 1)),
		"Watch":            q.store.Watch(ctx, "q", func(driver.Queue) error { return errors.New("something is seen") }),
		"List":             errOf(q.store.List(ctx, "")),
		"shared Join":      errOf(q.Join(ctx, shared)),
	}
	if err := errors.Join(q.Withdraw(ctx, shared), q.Leave(ctx, second.Me)); err != nil {
		t.Error(err)
	}
	refused["Join"] = errOf(q.Join(ctx, claim("q"))) // behind it, and nobody else
	return refused
}

// A limit that cannot be read is none that may be taken for another.
func TestGarbledLimitIsRefused(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	p := enter(t, s, nil)
	for _, text := range []string{"garbled", "0 0 0 1", "-1 0 0 1", "1 2", "2 x 0 1"} {
		if _, err := p.Join(bounded(t), permit("s", 2)); err != nil {
			t.Fatal(err)
		}
		do(t, s, "HSET", "{fairlead}:d:s", "limit", text)
		for what, err := range map[string]error{
			"Join": errOf(p.Join(bounded(t), permit("s", 2))),
			"Read": errOf(p.store.Read(bounded(t), "s", 0)),
		} {
			if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "limit of queue \"s\" is garbled") {
				t.Errorf("%q: %s: %v, want a permanent error about the limit", text, what, err)
			}
		}
		do(t, s, "DEL", "{fairlead}:q:s", "{fairlead}:d:s")
	}
}
