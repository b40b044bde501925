package zk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// watchedBy returns the paths that the common server watches for a session.
func watchedBy(t *testing.T, l driver.Lease) (paths []string) {
	t.Helper()
	answer, err := server.Command(bounded(t), "wchc")
	if err != nil {
		t.Fatal(err)
	}
	ours := false
	for line := range strings.Lines(answer) {
		line = strings.TrimSuffix(line, "\n")
		if path, ok := strings.CutPrefix(line, "\t"); !ok {
			ours = line == "0x"+l.ID()
		} else if ours {
			paths = append(paths, path)
		}
	}
	return paths
}

// watches waits until the server watches these paths for a session, and no others.
func watches(t *testing.T, l driver.Lease, want ...string) {
	t.Helper()
	slices.Sort(want)
	eventually(t, func() error {
		got := watchedBy(t, l)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("the server watches %v, want %v", got, want)
		}
		return nil
	})
}

func TestWaiterCostsOneWatch(t *testing.T) {
	t.Parallel()
	p, q := enter(t, nil), enter(t, nil)
	watches(t, p)
	var ahead []driver.Entry
	for range 10 {
		ahead = append(ahead, p.join("q").Me)
	}
	end := q.wait(q.join("q"))
	nearest := ahead[9]
	watches(t, q, nearest.Key) // whatever the length of the queue
	for _, e := range ahead[:9] {
		p.leave(e)
		watches(t, q, nearest.Key)
	}
	p.leave(nearest)
	if v := over(t, end); len(v.Ahead) != 0 {
		t.Errorf("%+v is ahead of the last", v.Ahead)
	}
	watches(t, q)
	watches(t, p)
}

func TestWaitersForOneEntryShareAWatch(t *testing.T) {
	t.Parallel()
	p := enter(t, nil)
	c := claim("q")
	c.Kind = "rwmutex"
	writer, err := p.Join(bounded(t), c)
	if err != nil {
		t.Fatal(err)
	}
	const readers = 50
	var link drivertest.Link
	r := enter(t, &link)
	var ends []<-chan waited
	for range readers {
		c := claim("q")
		c.Kind, c.Mode = "rwmutex", driver.Shared
		v, err := r.Join(bounded(t), c)
		if err != nil {
			t.Fatal(err)
		}
		v.Ahead = v.Ahead[:1] // readers ahead of a reader are no obstacles
		if v.Ahead[0].Token != writer.Me.Token {
			t.Fatalf("%+v is ahead, want the writer", v.Ahead)
		}
		ends = append(ends, r.wait(v))
	}
	watches(t, r, writer.Me.Key)
	link.Cut() // the one watch is set again for all
	eventually(t, func() error { return r.Renew(bounded(t)) })
	watches(t, r, writer.Me.Key)
	p.leave(writer.Me)
	for _, end := range ends {
		over(t, end)
	}
	watches(t, r)
}

// A watch cannot be taken back, so the next who waits for the same has to use it.
func TestWatchOfOneWhoGaveUpServesTheNext(t *testing.T) {
	t.Parallel()
	p, q := enter(t, nil), enter(t, nil)
	holder := p.join("q").Me
	v := q.join("q")
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		end := make(chan error, 1)
		go func() { end <- errOf(q.Wait(ctx, v, driver.Obstacles{Entries: v.Ahead})) }()
		watches(t, q, holder.Key)
		cancel()
		if err := <-end; !errors.Is(err, context.Canceled) {
			t.Fatalf("a Wait that was given up returned %v", err)
		}
	}
	end := q.wait(v)
	watches(t, q, holder.Key)
	p.leave(holder)
	over(t, end)
}

// The client library sends pings as long as the process lives.
func TestSessionThatNobodyRenewsExpires(t *testing.T) {
	t.Parallel()
	st := connect(t, "zk://"+server.Addr()+prefix(t), nil, nil)
	l, _, err := st.Grant(bounded(t), driver.Spec{TTL: time.Second, Identity: "idle"})
	if err != nil {
		t.Fatal(err)
	}
	p := &party{l, t, st}
	waiter := enter(t, nil)
	e := p.join("q").Me
	v := waiter.join("q")
	if len(v.Ahead) != 1 || v.Ahead[0].Token != e.Token {
		t.Fatalf("%+v is ahead, want the idle session's entry", v.Ahead)
	}
	over(t, waiter.wait(v))
	eventually(t, func() error {
		if err := l.Check(bounded(t)); !errors.Is(err, driver.ErrLeaseGone) {
			return fmt.Errorf("Check returned %w, want that the session is gone", err)
		}
		return nil
	})
	if err := errors.Join(l.Revoke(bounded(t)), st.Close()); err != nil {
		t.Error(err)
	}
}

func TestSessionThatIsRenewedStays(t *testing.T) {
	t.Parallel()
	st := connect(t, "zk://"+server.Addr()+prefix(t), nil, nil)
	l, _, err := st.Grant(bounded(t), driver.Spec{TTL: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	p := &party{l, t, st}
	e := p.join("q").Me
	for begun := time.Now(); time.Since(begun) < 2*l.TTL(); <-time.After(l.TTL() / 20) {
		if err := l.Renew(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Look(bounded(t), e); err != nil {
		t.Errorf("after two TTLs: %v", err)
	}
	if err := errors.Join(l.Revoke(bounded(t)), st.Close()); err != nil {
		t.Error(err)
	}
}

func TestRevokeEndsASessionWhoseConnectionWasCut(t *testing.T) {
	t.Parallel()
	h := byHand(t, server.Addr(), "")
	for _, when := range []string{"before", "during"} {
		var link drivertest.Link
		p := enter(t, &link)
		e := p.join("q").Me
		if when == "before" {
			link.Cut()
		} else {
			link.LoseReply(1) // that to the request to take the session over
		}
		begun := time.Now()
		eventually(t, func() error { return p.Revoke(bounded(t)) })
		if _, err := h.Sync("/"); err != nil {
			t.Fatal(err)
		}
		if ok, _, err := h.Exists(e.Key); ok || err != nil {
			t.Errorf("cut %s: after Revoke the entry is there: %v, %v", when, ok, err)
		}
		if d := time.Since(begun); d >= p.TTL() { // or the server may have done it by itself
			t.Errorf("cut %s: Revoke took %v", when, d)
		}
	}
}

func TestNothingOfOursStays(t *testing.T) {
	t.Parallel()
	srv := start(t, zkserver.Config{JVM: []string{"-Dznode.container.checkIntervalMs=200"}})
	ctx := bounded(t)
	var sessions []*session.Session
	for range 2 {
		s, err := session.Open(ctx, "zk://"+srv.Addr()+"/a/b?ttl=10s", &session.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	for _, s := range sessions {
		if err := mutex.New(s, "m/n").Do(ctx, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := semaphore.New(s, "s", 2).TryAcquire(ctx, 1); err != nil {
			t.Fatal(err) // it stays, for Close to give back
		}
		if _, err := semaphore.New(s, "s", 2).TryAcquire(ctx, 2); err == nil {
			t.Fatal("the semaphore let in more than its limit")
		}
	}
	for _, s := range sessions {
		if err := s.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	h := byHand(t, srv.Addr(), "")
	if _, err := h.Sync("/"); err != nil {
		t.Fatal(err)
	}
	if _, full := h.tree("/a"); len(full) > 0 {
		t.Errorf("after all sessions were closed there is %v", full)
	}
	eventually(t, func() error { // the folders go by themselves
		if all, _ := h.tree("/a"); len(all) > 0 {
			return fmt.Errorf("%v is still there", all)
		}
		return nil
	})
}
