package redis_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session/driver"
)

// mostWaiters is how long a list of who is told may become where few wait, in bytes.
const mostWaiters = 4096

// Who is told of an entry is kept with the queue, for as long as that entry is there.
func TestThoseWhoHaveGivenUpAreNotKeptForThoseTheyWaitedFor(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	p, q := enter(t, s, nil), enter(t, s, nil)
	holder := p.join("q")
	for range 1000 {
		q.leave(q.join("q").Me)
	}
	if n := do(t, s, "HSTRLEN", "{fairlead}:d:q", "w:"+holder.Me.ID).(int64); n > mostWaiters {
		t.Errorf("after 1,000 have given up, the list of who waits for the holder has %d bytes", n)
	}
	next := q.join("q")
	end := q.wait(next)
	p.leave(holder.Me)
	if v := over(t, end); len(v.Ahead) != 0 {
		t.Errorf("after the holder has left %+v is ahead", v.Ahead)
	}
}

// Nobody ever changes the limit here, and the queue is never empty.
func TestThoseWhoHaveLeftAreNotKeptForTheLimit(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	turns := [...]*party{enter(t, s, nil), enter(t, s, nil)}
	var before driver.View
	for i := range 300 {
		v, err := turns[i%2].Join(bounded(t), permit("s", 1))
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			waitInVain(t, s, turns[i%2], v)
			turns[(i+1)%2].leave(before.Me)
		}
		before = v
	}
	if n := do(t, s, "HSTRLEN", "{fairlead}:d:s", "w:limit").(int64); n > mostWaiters {
		t.Errorf("after 300 have left, the list of who waits for the limit has %d bytes", n)
	}
	third, err := turns[0].Join(bounded(t), permit("s", 1))
	if err != nil {
		t.Fatal(err)
	}
	waitInVain(t, s, turns[0], third)
	if list := do(t, s, "HGET", "{fairlead}:d:s", "w:limit").(string); !strings.Contains(list, third.Me.ID) {
		t.Errorf("who waits is not on the list %q", list)
	}
}

// waitInVain waits for whoever is ahead and the limit, until the server is known to tell of them.
func waitInVain(t *testing.T, s *redisserver.Server, p *party, v driver.View) {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	end := make(chan error, 1)
	go func() {
		_, err := p.Wait(ctx, v, driver.Obstacles{Entries: v.Ahead, Limit: true})
		end <- err
	}()
	eventually(t, func() error {
		list, _ := do(t, s, "HGET", "{fairlead}:d:s", "w:limit").(string)
		if !strings.Contains(list, v.Me.ID) {
			return fmt.Errorf("%s does not wait for the limit", v.Me.ID)
		}
		return nil
	})
	cancel()
	<-end
}
