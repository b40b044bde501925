package zk_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session/driver"
)

// reaping is a server that removes folders as soon as they are empty. Others do so
// once a minute. It leaves alone those in which there has never been anything.
func reaping(t *testing.T) *zkserver.Server {
	t.Helper()
	return start(t, zkserver.Config{JVM: []string{"-Dznode.container.checkIntervalMs=1", "-Dznode.container.maxPerMinute=100000000"}})
}

// joins has parties join and leave a queue, each many times, and for longer until the queue
// was a new one so often: it is reaped when the server comes to look just as nobody is in
// it. It tells how often it was.
func joins(t *testing.T, make func() driver.Claim, often int32, parties ...*party) (fresh int32) {
	t.Helper()
	const rounds = 50
	var zeros atomic.Int32
	var wg sync.WaitGroup
	begun := time.Now()
	for _, p := range parties {
		wg.Go(func() {
			for i := 0; i < rounds || zeros.Load() < often && time.Since(begun) < patience; i++ {
				v, err := p.Join(bounded(t), make())
				if err == nil {
					if v.Me.Key[len(v.Me.Key)-10:] == "0000000000" {
						zeros.Add(1)
					}
					err = p.Leave(bounded(t), v.Me)
				}
				if err != nil {
					t.Errorf("round %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return zeros.Load()
}

func TestJoinsSucceedWhileTheServerReaps(t *testing.T) {
	t.Parallel()
	s := reaping(t)
	p, q := enterAt(t, "zk://"+s.Addr()+"/a", nil, nil), enterAt(t, "zk://"+s.Addr()+"/a", nil, nil)
	for what, make := range map[string]func() driver.Claim{
		"plain": func() driver.Claim { return claim("plain") },
		"conditional": func() driver.Claim {
			c := claim("conditional")
			c.Admit = func(driver.View) bool { return true }
			return c
		},
		"permit": func() driver.Claim {
			c := claim("permit")
			c.Kind, c.Mode, c.Limit = "semaphore", driver.Permit, 5
			return c
		},
	} {
		if fresh := joins(t, make, 2, p, q); fresh < 2 {
			t.Errorf("%s: the queue was reaped %d times", what, fresh)
		}
	}
}

func TestSessionsBeginWhileTheServerReaps(t *testing.T) {
	t.Parallel()
	s := reaping(t)
	st := connect(t, "zk://"+s.Addr()+"/a/b", nil, nil)
	h := byHand(t, s.Addr(), "")
	reaped := 0
	for i := range 20 {
		l, _, err := st.Grant(bounded(t), driver.Spec{TTL: 10 * time.Second})
		if err == nil {
			err = l.Revoke(bounded(t))
		}
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		if ok, _, err := h.Exists("/a/b/.fairlead/v1/session"); err == nil && !ok {
			reaped++
		}
	}
	if reaped == 0 {
		t.Error("the folder of the sessions was never reaped")
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

func TestLimitsGoWhileTheServerReaps(t *testing.T) {
	t.Parallel()
	s := reaping(t)
	st := connect(t, "zk://"+s.Addr(), nil, nil)
	h := byHand(t, s.Addr(), "")
	for i := range 50 {
		l, _, err := st.Grant(bounded(t), driver.Spec{TTL: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		c := claim("s")
		c.Kind, c.Mode, c.Limit = "semaphore", driver.Permit, 5
		if _, err := l.Join(bounded(t), c); err != nil {
			t.Fatal(err)
		}
		if err := l.Revoke(bounded(t)); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Sync("/"); err != nil {
			t.Fatal(err)
		}
		if _, full := h.tree("/.fairlead"); len(full) > 0 {
			t.Fatalf("round %d: the session has ended and left %v", i, full)
		}
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

// By hand, so that even one is deleted in which nothing has been yet.
func TestJoinsSucceedWhileTheQueueIsDeleted(t *testing.T) {
	t.Parallel()
	p, q := enter(t, nil), enter(t, nil)
	h := byHand(t, server.Addr(), "")
	over, ended := make(chan struct{}), make(chan struct{})
	deleted := 0
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			default:
			}
			switch err := h.Delete(prefix(t)+"/q", -1); {
			case err == nil:
				deleted++
			case !errors.Is(err, gozk.ErrNoNode) && !errors.Is(err, gozk.ErrNotEmpty):
				t.Errorf("delete the queue: %v", err)
				return
			}
		}
	}()
	joins(t, func() driver.Claim { return claim("q") }, 0, p, q)
	close(over)
	if <-ended; deleted < 2 {
		t.Errorf("the queue was deleted %d times", deleted)
	}
}

// Where the numbers begin again, the tokens do not.
func TestTokensRiseThoughTheQueueIsMadeAnew(t *testing.T) {
	t.Parallel()
	p, h := enter(t, nil), byHand(t, server.Addr(), "")
	var last uint64
	for i := range 10 {
		first, second := p.join("q").Me, p.join("q").Me
		if number(first.Key) != fmt.Sprintf("%010d", 0) {
			t.Fatalf("the first entry of a new queue is %s", first.Key)
		}
		if first.Token <= last || second.Token <= first.Token {
			t.Fatalf("round %d: the tokens are %d and %d, after %d", i, first.Token, second.Token, last)
		}
		last = second.Token
		p.leave(first)
		p.leave(second)
		if err := h.Delete(prefix(t)+"/q", -1); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Look(bounded(t), first); !errors.Is(err, driver.ErrEntryGone) {
			t.Fatalf("Look at an entry whose queue is gone returned %v", err)
		}
	}
}
