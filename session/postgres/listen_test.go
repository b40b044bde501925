package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/postgres"
)

// long is a TTL that no look at a third of it comes before the test's patience ends.
const long = 10 * patience

func TestReleaseSendsOneMessageThatIsTheTurn(t *testing.T) {
	t.Parallel()
	url := namespace(t, "message")
	a, b := enter(t, url, long, nil), enter(t, url, long, nil)
	ear := admin(t, server)
	if _, err := ear.Exec(bounded(t), "LISTEN "+postgres.Inbox(b.store)); err != nil {
		t.Fatal(err)
	}
	held := a.join("q")
	var waits []<-chan error
	var views []driver.View
	for range 5 {
		v := b.join("q")
		views, waits = append(views, v), append(waits, b.waiting(v))
	}
	a.leave(held.Me)
	ends(t, waits[0], patience)
	b.leave(views[2].Me) // gives up while it waits: its follower waits for another
	select {
	case err := <-waits[3]:
		if !errors.Is(err, errAhead) {
			t.Errorf("Wait of its follower returned %v", err)
		}
	case <-time.After(patience):
		t.Error("Wait of its follower has not ended")
	}
	var heard []string
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		n, err := ear.WaitForNotification(ctx)
		cancel()
		if err != nil {
			break
		}
		heard = append(heard, n.Payload)
	}
	want := []string{"T" + views[0].Me.ID, "L" + views[3].Me.ID}
	if fmt.Sprint(heard) != fmt.Sprint(want) {
		t.Errorf("the inbox got %v, want %v", heard, want)
	}
}

func TestMessagesAreMadeUpForWhenTheListenerIsLost(t *testing.T) {
	t.Parallel()
	url := namespace(t, "deaf")
	a, b := enter(t, url, long, nil), enter(t, url, long, nil)
	for i := range 5 {
		held := a.join("q")
		v := b.join("q")
		ended := b.waiting(v)
		postgres.Deafen(b.store)
		if i%2 == 0 {
			a.leave(held.Me) // while nobody listens, or just about
		} else {
			eventually(t, func() error {
				if !postgres.Listens(b.store) {
					return errors.New("it does not listen again")
				}
				return nil
			})
			a.leave(held.Me)
		}
		ends(t, ended, patience)
		b.leave(v.Me)
	}
}

// Questions whose callers have gone are no sign of life, however many there are.
func TestLineThatAnswersNobodyIsGivenUp(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(namespace(t, "silent"))
	if err != nil {
		t.Fatal(err)
	}
	var link drivertest.Link
	var direct atomic.Bool
	st, err := postgres.OpenWith(bounded(t), u, &session.Options{TTL: 2 * time.Second}, func(ctx context.Context, network, addr string) (net.Conn, error) {
		if direct.Load() {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
		return link.Dial(ctx, network, addr)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	l, _, err := st.Grant(bounded(t), driver.Spec{TTL: long})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return listens(st) })
	before := postgres.Line(st)
	link.Freeze()
	defer link.Heal()
	for range 4 { // as many as a line takes
		ctx, cancel := context.WithTimeout(bounded(t), 50*time.Millisecond)
		if err := l.Renew(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Renew over a frozen link returned %v", err)
		}
		cancel()
	}
	direct.Store(true)
	eventually(t, func() error {
		if err := listens(st); err != nil {
			return err
		}
		if postgres.Line(st) == before {
			return errors.New("it listens where nobody answers")
		}
		return nil
	})
}

func listens(st driver.Store) error {
	if !postgres.Listens(st) {
		return errors.New("it does not listen")
	}
	return nil
}

// Where a message is lost for another reason, nobody waits for longer than until the
// obstacle would expire, or a third of the own TTL.
func TestWaitersNoticeWhatNobodyTellsThemOf(t *testing.T) {
	t.Parallel()
	url := namespace(t, "untold")
	b := enter(t, url, 6*time.Second, nil)
	stop := make(chan struct{})
	var renewals sync.WaitGroup
	renewals.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
				if err := b.Renew(bounded(t)); err != nil {
					t.Error(err)
				}
			}
		}
	})
	defer renewals.Wait()
	defer close(stop)
	for what, remove := range map[string]func(e driver.Entry){
		"an entry that was deleted by hand": func(e driver.Entry) {
			execute(t, "DELETE FROM untold.entry WHERE token = $1", int64(e.Token))
		},
		"a session that was deleted where triggers are off": func(e driver.Entry) {
			execute(t, fmt.Sprintf("SET session_replication_role = replica; DELETE FROM untold.session WHERE id = %d", mustParse(t, e.Lease)))
		},
	} {
		held := enter(t, url, long, nil).join(what)
		v := b.join(what)
		ended := b.waiting(v)
		remove(held.Me)
		ends(t, ended, patience/2)
		b.leave(v.Me)
	}
}

// The owner of a session that an operator deletes, and those who wait for it, learn of
// it at once.
func TestDeletedSessionIsToldOfAtOnce(t *testing.T) {
	t.Parallel()
	url := namespace(t, "deleted")
	a, b := enter(t, url, long, nil), enter(t, url, long, nil)
	a.join("q")
	v := b.join("q")
	ended := b.waiting(v)
	gone := make(chan error, 1)
	ctx := bounded(t)
	go func() { gone <- a.Watch(ctx, func() {}) }()
	execute(t, fmt.Sprintf("DELETE FROM deleted.session WHERE id = %d", mustParse(t, a.ID())))
	ends(t, ended, patience/2)
	select {
	case err := <-gone:
		if !errors.Is(err, driver.ErrLeaseGone) {
			t.Errorf("Watch returned %v", err)
		}
	case <-time.After(patience / 2):
		t.Error("Watch has not ended")
	}
	if n := ask[int](t, "SELECT count(*) FROM deleted.entry"); n != 1 {
		t.Errorf("%d entries are in the table, want the waiter's", n)
	}
}

// Messages that mean nothing, to us or at all, do no harm, nor does their number.
func TestStormOfMessagesDoesNoHarm(t *testing.T) {
	t.Parallel()
	url := namespace(t, "storm")
	a, b := open(t, url), open(t, url)
	pool, err := pgxpool.New(bounded(t), server.AdminURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	stop := make(chan struct{})
	var storm sync.WaitGroup
	for range 2 {
		storm.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, err := pool.Exec(context.Background(), "SELECT pg_notify($1, x || repeat('f', 32)), pg_notify($2, 'L' || i) FROM generate_series(1, 500) i, (VALUES ('T'), ('L'), ('G'), ('O'), ('?'), ('')) v(x)",
					postgres.Inbox(a.Store()), postgres.Inbox(b.Store()))
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	handOff(t, []*session.Session{a, b}, "q", 4, 40)
	close(stop)
	storm.Wait()
}

func TestObserversAreToldOnlyWhileTheyLookOn(t *testing.T) {
	t.Parallel()
	url := namespace(t, "observed")
	a, b := enter(t, url, long, nil), enter(t, url, long, nil)
	ctx, cancel := context.WithCancel(bounded(t))
	states := make(chan int, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- b.store.Watch(ctx, "q", func(q driver.Queue) error {
			states <- len(q.Entries)
			return nil
		})
	}()
	next := func(want int) {
		t.Helper()
		select {
		case n := <-states:
			if n != want {
				t.Errorf("%d entries are shown, want %d", n, want)
			}
		case <-time.After(4 * time.Second): // sooner than a look
			t.Errorf("nothing is shown, want %d entries", want)
		}
	}
	next(0)
	v := a.join("q")
	next(1)
	a.leave(v.Me)
	next(0)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch returned %v", err)
	}
	eventually(t, func() error {
		if n := ask[int](t, "SELECT count(*) FROM observed.observer"); n != 0 {
			return fmt.Errorf("%d observers are left", n)
		}
		return nil
	})
}

// A change that was under way when somebody began to look on told nobody of itself, so it is
// waited for.
func TestObserversMissNoChangeThatIsUnderWay(t *testing.T) {
	t.Parallel()
	url := namespace(t, "underway")
	a, b := enter(t, url, long, nil), enter(t, url, long, nil)
	tx := begin(t, txDefault)
	if _, err := tx.Exec(bounded(t), "SELECT underway.queue_append($1, 'q', $2, 'mutex', 'exclusive', '', '{}', 0, -1, -1, -1, false)",
		mustParse(t, a.ID()), claim("q").ID); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(bounded(t))
	states := make(chan int, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- b.store.Watch(ctx, "q", func(q driver.Queue) error {
			states <- len(q.Entries)
			return nil
		})
	}()
	waits := "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid::bigint << 32 | objid::bigint = " + postgres.QueueLock("underway")
	eventually(t, func() error {
		if len(states) == 0 && ask[int](t, waits, "q") == 0 {
			return errors.New("the watch has not begun")
		}
		return nil
	})
	if err := tx.Commit(bounded(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-states:
		if n != 1 {
			t.Errorf("at first %d entries are shown, want the one that was being made", n)
		}
	case <-ctx.Done():
		t.Error("nothing is shown")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch returned %v", err)
	}
}

// A renewal does not wait for a connection that is busy, nor for one to be made.
func TestRenewalsDoNotQueueBehindJoins(t *testing.T) {
	t.Parallel()
	p := enter(t, namespace(t, "busy"), patience, &drivertest.Link{})
	tx := begin(t, txDefault)
	if _, err := tx.Exec(bounded(t), "SELECT pg_advisory_xact_lock(hashtextextended('busy/q', 5261))"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(bounded(t))
	var joins sync.WaitGroup
	for range 40 { // more than there are connections
		joins.Go(func() { _, _ = p.Join(ctx, claim("q")) })
	}
	for begun := time.Now(); time.Since(begun) < time.Second; {
		before := time.Now()
		if err := p.Renew(bounded(t)); err != nil {
			t.Fatal(err)
		}
		if err := p.Check(bounded(t)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(before); took > 2*time.Second {
			t.Errorf("a renewal took %v", took)
		}
	}
	cancel()
	joins.Wait()
}
