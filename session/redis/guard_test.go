package redis_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
	"github.com/fairlead-go/fairlead/session/redis"
)

// write is a caller's script: it counts, if the grant is held.
const write = redis.Held + `
	if not held(ARGV[1]) then return 0 end
	return redis.call('SET', KEYS[1], ARGV[2]) and 1`

// writer returns a function that makes a guarded write and tells whether it was done.
func writer(t *testing.T) func(guard string) bool {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, Username: user, Password: password, DisableCache: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	script := rueidis.NewLuaScript(write)
	return func(guard string) bool {
		t.Helper()
		done, err := script.Exec(t.Context(), client, []string{"{fairlead}:guarded"}, []string{guard, "x"}).AsBool()
		if err != nil {
			t.Fatalf("the guarded write: %v", err)
		}
		return done
	}
}

// openGuarded opens a session.
func openGuarded(t *testing.T, ttl time.Duration) *session.Session {
	t.Helper()
	s, err := session.New(t.Context(), connect(t, serverURL(server, ""), nil, nil), &session.Options{TTL: ttl, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func TestGuardedWriteOfEveryHolderIsDone(t *testing.T) {
	t.Parallel()
	s, done := openGuarded(t, time.Minute), writer(t)
	name := "guard/every holder: a#b"
	held := map[string]func(ctx context.Context) (*session.Grant, error){
		"mutex":  func(ctx context.Context) (*session.Grant, error) { return mutex.New(s, name+"/m").Lock(ctx) },
		"writer": func(ctx context.Context) (*session.Grant, error) { return rwmutex.New(s, name+"/w").Lock(ctx) },
		"reader": func(ctx context.Context) (*session.Grant, error) { return rwmutex.New(s, name+"/r").RLock(ctx) },
		"semaphore": func(ctx context.Context) (*session.Grant, error) {
			return semaphore.New(s, name+"/s", 3).Acquire(ctx, 2)
		},
	}
	for what, acquire := range held {
		g, err := acquire(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !done(redis.Guard(g)) {
			t.Errorf("the write of the holder of a %s was refused", what)
		}
	}
	term, err := election.New(s, name+"/e").Campaign(t.Context(), "one")
	if err == nil {
		err = term.Proclaim(t.Context(), "two")
	}
	if err != nil {
		t.Fatal(err)
	}
	if !done(redis.Guard(term.Grant)) {
		t.Error("the write of a leader that has made a proclamation was refused")
	}
}

func TestGuardedWriteOfAFormerHolderIsRefused(t *testing.T) {
	t.Parallel()
	done := writer(t)
	ends := map[string]func(s *session.Session, g *session.Grant) error{
		"release": func(_ *session.Session, g *session.Grant) error { return g.Release(t.Context()) },
		"close":   func(s *session.Session, _ *session.Grant) error { return s.Close(t.Context()) },
	}
	for what, end := range ends {
		s := openGuarded(t, time.Minute)
		g, err := mutex.New(s, "guard/former").Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		guard := redis.Guard(g)
		if err := end(s, g); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if done(guard) {
			t.Errorf("after %s the write was done", what)
		}
	}
}

func TestGuardEndsWhenTheSessionExpiresThoughItsEntryIsThere(t *testing.T) {
	t.Parallel()
	st, done := connect(t, serverURL(server, ""), nil, nil), writer(t)
	s, err := session.New(t.Context(), st, &session.Options{TTL: time.Minute, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	g, err := mutex.New(s, "guard/expired").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q, err := st.Read(t.Context(), "guard/expired", 0)
	if err != nil || len(q.Entries) != 1 {
		t.Fatalf("the queue is %v, %v", q, err)
	}
	// Nobody looks at the queue, so the record stays.
	if _, err := server.Do(t.Context(), "DEL", "{fairlead}:s:"+q.Entries[0].Lease); err != nil {
		t.Fatal(err)
	}
	if done(redis.Guard(g)) {
		t.Error("a write was done though the session is over")
	}
}

func TestGuardOfAWriterEndsWithItsDowngrade(t *testing.T) {
	t.Parallel()
	s, done := openGuarded(t, time.Minute), writer(t)
	m := rwmutex.New(s, "guard/downgrade")
	w, err := m.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	guard := redis.Guard(w)
	r, err := m.Downgrade(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if done(guard) {
		t.Error("a writer's write was done after its downgrade")
	}
	if !done(redis.Guard(r)) {
		t.Error("the write of the reader that it became was refused")
	}
}

func TestGuardOfAnotherStoresGrantPanics(t *testing.T) {
	t.Parallel()
	s, err := memory.NewStore().Session(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	g, err := mutex.New(s, "guard").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("Guard took a grant of another store")
		}
	}()
	redis.Guard(g)
}
