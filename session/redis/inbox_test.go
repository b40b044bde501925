package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/redis"
)

// prompt is less than the time after which who waits looks by itself, and more than a
// message takes on a busy machine.
const prompt = longTTL / 6

// deafen ends the connections on which clients are told things.
func deafen(t *testing.T, s *redisserver.Server) {
	t.Helper()
	if n := do(t, s, "CLIENT", "KILL", "TYPE", "pubsub"); n == int64(0) {
		t.Error("there are no subscribers")
	}
}

// within waits for the end of a Wait, which has to come before anybody looks by itself.
func within(t *testing.T, d time.Duration, end <-chan waited) driver.View {
	t.Helper()
	select {
	case w := <-end:
		if w.err != nil {
			t.Fatal(w.err)
		}
		return w.view
	case <-time.After(d):
		t.Fatalf("still waiting after %v", d)
		return driver.View{}
	}
}

// The message that tells of it is lost, now in the one way, now in the other.
func TestWaiterProceedsWhenItsMessageIsLost(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	p, q := enter(t, s, nil), enter(t, s, nil)
	for i := range 20 {
		name := fmt.Sprint("q", i)
		first, second, third := p.join(name), q.join(name), q.join(name)
		end, far := q.wait(second), q.wait(third)
		eventually(t, func() error { return subscribed(t, s, 2) })
		left := make(chan error, 1)
		switch i % 3 {
		case 0: // before
			deafen(t, s)
			left <- p.Leave(bounded(t), first.Me)
		case 1: // perhaps meanwhile
			go func() { left <- p.Leave(bounded(t), first.Me) }()
			deafen(t, s)
		case 2: // while they subscribe again
			deafen(t, s)
			deafenAgain(t, s)
			left <- p.Leave(bounded(t), first.Me)
		}
		if err := <-left; err != nil {
			t.Fatal(err)
		}
		if v := within(t, prompt, end); len(v.Ahead) != 0 {
			t.Errorf("after the first has left %+v is ahead", v.Ahead)
		}
		q.leave(second.Me)
		within(t, prompt, far)
		q.leave(third.Me)
	}
}

func deafenAgain(t *testing.T, s *redisserver.Server) { do(t, s, "CLIENT", "KILL", "TYPE", "pubsub") }

// subscribed tells whether n clients have their inboxes.
func subscribed(t *testing.T, s *redisserver.Server, n int) error {
	t.Helper()
	if got := do(t, s, "PUBSUB", "SHARDCHANNELS", "{fairlead}:i:*").([]any); len(got) != n {
		return fmt.Errorf("%d inboxes are subscribed to, want %d", len(got), n)
	}
	return nil
}

// A watch is a Watch that runs beside the test.
type watching struct {
	states chan int // numbers of entries
	end    chan error
}

func watch(t *testing.T, st driver.Store, name string) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{states: make(chan int, 100), end: make(chan error, 1)}
	go func() {
		w.end <- st.Watch(ctx, name, func(q driver.Queue) error {
			w.states <- len(q.Entries)
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-w.end; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch of %s ended with %v", name, err)
		}
	})
	return w
}

// sees waits until a number of entries is reported, within d.
func (w *watching) sees(t *testing.T, n int, d time.Duration) {
	t.Helper()
	for late, last := time.After(d), -1; ; {
		select {
		case last = <-w.states:
			if last == n {
				return
			}
		case <-late:
			t.Fatalf("after %v it was told of %d entries, want %d", d, last, n)
		}
	}
}

// Whoever watches is told of what happened while nobody could tell.
func TestWatcherSeesWhatHappenedWhileItWasDeaf(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	p, watcher := enter(t, s, nil), enter(t, s, nil)
	one := p.join("q")
	w := watch(t, watcher.store, "q")
	w.sees(t, 1, patience)
	for range 10 {
		deafen(t, s)
		two := p.join("q")
		// The timeout after which it looks by itself is no longer than that.
		w.sees(t, 2, prompt-time.Second)
		eventually(t, func() error { return subscribed(t, s, 2) })
		p.leave(two.Me)
		w.sees(t, 1, prompt-time.Second)
	}
	p.leave(one.Me)
	w.sees(t, 0, prompt-time.Second)
}

// Watches of one queue share a subscription, also one after another. Those that nobody
// uses any more do not grow without bound, and end without harm to the others.
func TestSubscriptionsOfQueuesAreSharedAndEnd(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	p := enter(t, s, nil)
	channels := func() int { return len(do(t, s, "PUBSUB", "SHARDCHANNELS", "{fairlead}:c:*").([]any)) }
	for range 5 {
		t.Run("", func(t *testing.T) {
			one, two, other := watch(t, p.store, "q"), watch(t, p.store, "q"), watch(t, p.store, "other")
			v := p.join("q")
			one.sees(t, 1, prompt-time.Second)
			two.sees(t, 1, prompt-time.Second)
			p.leave(v.Me)
			other.sees(t, 0, patience)
		})
		if n := channels(); n != 2 {
			t.Errorf("%d queues are subscribed to, want 2", n)
		}
	}
	w := watch(t, p.store, "q")
	for i := range 2*redis.MaxIdle + 1 {
		t.Run("", func(t *testing.T) { watch(t, p.store, fmt.Sprint("q", i)).sees(t, 0, patience) })
	}
	eventually(t, func() error {
		if n := channels(); n > redis.MaxIdle+1 {
			return fmt.Errorf("%d queues are subscribed to, want at most %d", n, redis.MaxIdle+1)
		}
		return nil
	})
	v := p.join("q")
	w.sees(t, 1, prompt-time.Second)
	p.leave(v.Me)
	w.sees(t, 0, prompt-time.Second)
}

// A server whose disk is full refuses even a PING, which rueidis does not expect behind an
// end of subscriptions: its reader panics, and with it the process.
func TestServerThatTakesNoWritesEndsNoClient(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	st, closing := connect(t, serverURL(s, ""), nil, nil), connect(t, serverURL(s, ""), nil, nil)
	defer st.Close()
	t.Run("", func(t *testing.T) {
		for i := range 10 {
			watch(t, st, fmt.Sprint("q", i)).sees(t, 0, patience)
		}
		fillDisk(t, s)
		// The watches end, and a PING or two is sent behind them.
	})
	time.Sleep(2 * time.Second)
	if err := closing.Close(); err != nil {
		t.Error(err)
	}
}

// The same where each join waits for a replica, on a connection of its own.
func TestServerThatTakesNoWritesEndsNoClientThatWaitsForReplicas(t *testing.T) {
	t.Parallel()
	r, err := redisserver.StartReplicated(redisserver.Config{Users: []string{rules(redis.DefaultNamespace)}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	s := r.Servers()[0]
	p := enterAt(t, serverURL(s, "?wait=1"), longTTL, nil)
	p.join("q")
	fillDisk(t, s)
	for range 10 {
		if _, err := p.Join(bounded(t), claim("q")); err == nil || !strings.Contains(err.Error(), "MISCONF") {
			t.Fatalf("Join returned %v, want what the server says", err)
		}
	}
	time.Sleep(2 * time.Second)
}

// However many joins wait for replicas at once, they take turns on as many connections as a
// client has room for, and when the session is closed nobody waits for one any more.
func TestJoinsThatWaitForReplicasTakeTurns(t *testing.T) {
	t.Parallel()
	r, err := redisserver.StartReplicated(redisserver.Config{Users: []string{rules(redis.DefaultNamespace)}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{r.Servers()[0].Addr()}, Username: user, Password: password, DisableCache: true,
		BlockingPoolSize: redis.MaxLines + 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s, err := redis.NewSession(bounded(t), client, redis.Config{Wait: 1}, &session.Options{TTL: longTTL})
	if err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)
	var work sync.WaitGroup
	for i := range 3 * redis.MaxLines {
		work.Go(func() {
			if _, err := mutex.New(s, fmt.Sprint("q", i)).Lock(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if err := s.Close(bounded(t)); err != nil {
		t.Error(err)
	}
}

// Somebody has taken a place away by hand. Who had it does not hold any more, and who
// comes behind is next.
func TestEntryDeletedByHandIsLostAndOpensTheWay(t *testing.T) {
	t.Parallel()
	for what, remove := range map[string]func(t *testing.T, s *redisserver.Server, id string){
		"from the order": func(t *testing.T, s *redisserver.Server, id string) { do(t, s, "ZREM", "{fairlead}:q:q", id) },
		"the record":     func(t *testing.T, s *redisserver.Server, id string) { do(t, s, "HDEL", "{fairlead}:d:q", id) },
		"both": func(t *testing.T, s *redisserver.Server, id string) {
			do(t, s, "ZREM", "{fairlead}:q:q", id)
			do(t, s, "HDEL", "{fairlead}:d:q", id)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := startWarm(t, redisserver.Config{})
			holder, waiter := open(t, serverURL(s, ""), "holder", shortTTL), open(t, serverURL(s, ""), "waiter", shortTTL)
			g := lock(t, holder, "q")
			lost := loss(g)
			next := locking(t, waiter, "q")
			queued(t, s, "q", 2)
			_, id, _ := strings.Cut(g.Key(), "#")
			remove(t, s, id)
			lostAt(t, g, lost)
			second := taken(t, next)
			if second.grant.Token() <= g.Token() {
				t.Errorf("token %d was granted after %d", second.grant.Token(), g.Token())
			}
			if err := second.grant.Release(bounded(t)); err != nil {
				t.Error(err)
			}
			lock(t, holder, "q")
		})
	}
}

// The place of one who waits was taken away: that hinders nobody else.
func TestWaitingEntryDeletedByHandIsSteppedOver(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	for what, remove := range map[string]func(name, id string){
		"order":  func(name, id string) { do(t, s, "ZREM", "{fairlead}:q:"+name, id) },
		"record": func(name, id string) { do(t, s, "HDEL", "{fairlead}:d:"+name, id) },
		"both": func(name, id string) {
			do(t, s, "ZREM", "{fairlead}:q:"+name, id)
			do(t, s, "HDEL", "{fairlead}:d:"+name, id)
		},
	} {
		p, q := enterAt(t, serverURL(s, ""), shortTTL, nil), enterAt(t, serverURL(s, ""), shortTTL, nil)
		first, second, third := p.join(what), p.join(what), q.join(what)
		end := q.wait(third)
		remove(what, second.Me.ID)
		if err := errOf(p.Look(bounded(t), second.Me)); !errors.Is(err, driver.ErrEntryGone) {
			t.Errorf("%s: Look from the entry that is gone: %v", what, err)
		}
		if err := errOf(p.Resolve(bounded(t), driver.Claim{Name: what, ID: second.Me.ID})); !errors.Is(err, driver.ErrEntryGone) {
			t.Errorf("%s: Resolve of the entry that is gone: %v", what, err)
		}
		if err := errOf(p.Update(bounded(t), second.Me, "value")); !errors.Is(err, driver.ErrEntryGone) {
			t.Errorf("%s: Update of the entry that is gone: %v", what, err)
		}
		entries, err := p.Entries(bounded(t))
		if err != nil || len(entries) != 1 {
			t.Errorf("%s: the session has %v, %v, want its first entry alone", what, entries, err)
		}
		p.leave(first.Me)
		if v := over(t, end); len(v.Ahead) != 0 { // not told, but found
			over(t, q.wait(v))
		}
		q.leave(third.Me)
		// Also not the list of those who were behind it.
		if left := do(t, s, "KEYS", "{fairlead}:?:"+what+"*").([]any); len(left) > 0 {
			t.Errorf("%s: %v is left", what, left)
		}
	}
}

// Neither its owner nor who waited for it looks again.
func TestNothingIsLeftOfAnEntryDeletedByHand(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	p, q := enterAt(t, serverURL(s, ""), shortTTL, nil), enterAt(t, serverURL(s, ""), shortTTL, nil)
	first, second, third := p.join("q"), p.join("q"), q.join("q")
	do(t, s, "ZREM", "{fairlead}:q:q", second.Me.ID)
	do(t, s, "HDEL", "{fairlead}:d:q", second.Me.ID)
	q.leave(third.Me)
	p.leave(first.Me)
	if left := do(t, s, "KEYS", "{fairlead}:?:q*").([]any); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// Nobody tells of it: the owner finds out within a second, and so those behind it when the
// session would have expired.
func TestSessionDeletedByHandIsLostAndOpensTheWay(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	holder, waiter := open(t, serverURL(s, ""), "holder", shortTTL), open(t, serverURL(s, ""), "waiter", shortTTL)
	g := lock(t, holder, "q")
	lost := loss(g)
	next := locking(t, waiter, "q")
	queued(t, s, "q", 2)
	_, id, _ := strings.Cut(g.Key(), "#")
	session := strings.Fields(do(t, s, "HGET", "{fairlead}:d:q", id).(string))[2]
	do(t, s, "DEL", "{fairlead}:s:"+session)
	lostAt(t, g, lost)
	if second := taken(t, next); second.grant.Token() <= g.Token() {
		t.Errorf("token %d was granted after %d", second.grant.Token(), g.Token())
	}
}

// Nobody asks for those queues any more.
func TestQueuesOfDeadSessionsAreSweptByALaterOne(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	p := enter(t, s, nil)
	for i := range 30 { // more than one sweep looks at
		name := fmt.Sprint("q", i)
		p.join(name)
		if v := p.join(name); len(v.Ahead) != 1 {
			t.Fatalf("%v is ahead, want the first", v.Ahead)
		}
		if _, err := p.Join(bounded(t), permit(fmt.Sprint("s", i), 3)); err != nil {
			t.Fatal(err)
		}
	}
	do(t, s, "DEL", "{fairlead}:s:"+p.ID())
	later := dial(t, serverURL(s, ""), nil)
	eventually(t, func() error {
		if err := begin(t, later, longTTL).Revoke(bounded(t)); err != nil {
			return err
		}
		keys := do(t, s, "KEYS", "*").([]any)
		if len(keys) != 2 {
			return fmt.Errorf("%d keys are left, want guard and token: %v", len(keys), keys)
		}
		return nil
	})
}
