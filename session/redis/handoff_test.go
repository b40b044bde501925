package redis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session/driver"
)

// patientTTL is so long that nobody looks at anything by itself while a test lasts.
const patientTTL = 10 * time.Minute

// row has n entries be made, the first one's owner hold, and all others wait for the one
// ahead, which makes no requests.
func row(t *testing.T, s *redisserver.Server, n int) (p *party, views []driver.View, ends []<-chan waited) {
	t.Helper()
	p = enterAt(t, serverURL(s, ""), patientTTL, nil)
	for i := range n {
		v := p.join("q")
		views = append(views, v)
		if i == 0 {
			ends = append(ends, nil)
			continue
		}
		ends = append(ends, p.wait(v))
	}
	return p, views, ends
}

// scripts counts the scripts that f makes a server run.
func scripts(t *testing.T, s *redisserver.Server, f func()) int {
	t.Helper()
	count := func() int { return calls(t, s, "evalsha") + calls(t, s, "eval") }
	before := count()
	f()
	return count() - before
}

// stillWaiting checks that none of them has ended.
func stillWaiting(t *testing.T, ends []<-chan waited) {
	t.Helper()
	for i, end := range ends {
		select {
		case w := <-end:
			t.Fatalf("the %d. of those behind was woken: %+v", i+1, w)
		default:
		}
	}
}

// However many wait: the one whose turn it is learns all that it has to know from the
// message, and the others hear of nothing.
func TestReleaseWakesExactlyOneWaiterAndCostsOneScript(t *testing.T) {
	t.Parallel()
	const waiters = 50
	s := startWarm(t, redisserver.Config{})
	p, views, ends := row(t, s, waiters+1)
	messages := calls(t, s, "spublish")
	n := scripts(t, s, func() {
		for i, v := range views[:waiters] {
			p.leave(v.Me)
			if next := over(t, ends[i+1]); len(next.Ahead) != 0 || next.Me.Token != views[i+1].Me.Token {
				t.Fatalf("after %d has left, %+v is ahead of %d", i, next.Ahead, i+1)
			}
			stillWaiting(t, ends[i+2:])
		}
	})
	t.Logf("%d hand-offs took %d scripts", waiters, n)
	if n > waiters+1 { // one more loads the script
		t.Errorf("%d hand-offs took %d scripts", waiters, n)
	}
	// Inside of scripts: one for who waits, one for who watches the queue.
	if n := calls(t, s, "spublish") - messages; n != 2*waiters {
		t.Errorf("%d hand-offs took %d messages, want %d", waiters, n, 2*waiters)
	}
}

// Who gives up is stepped over: whoever waited for it waits for the one ahead of that from
// here on, without a request and without being let in.
func TestWaiterThatGivesUpWakesNobody(t *testing.T) {
	t.Parallel()
	const waiters = 20
	s := startWarm(t, redisserver.Config{})
	p, views, _ := row(t, s, waiters)
	last := p.join("q")
	turn := p.turn(last)
	heard(p)
	n := scripts(t, s, func() {
		for i := 1; i <= waiters/2; i++ { // all but the holder, from both sides
			p.leave(views[i].Me)
			if j := waiters - i; j > i {
				p.leave(views[j].Me)
			}
		}
	})
	if n != waiters-1 {
		t.Errorf("that %d give up took %d scripts", waiters-1, n)
	}
	n = scripts(t, s, func() { heard(p) })
	if n != 4 {
		t.Errorf("%d scripts were run when they had given up, of which 4 are the test's", n)
	}
	stillWaiting(t, []<-chan waited{turn})
	n = scripts(t, s, func() {
		p.leave(views[0].Me)
		if v := over(t, turn); v.Me.Token != last.Me.Token {
			t.Errorf("it is the turn of %+v, want that of %+v", v.Me, last.Me)
		}
	})
	if n != 1 {
		t.Errorf("the hand-off to the last took %d scripts, want 1", n)
	}
}

// turn waits until nobody is ahead.
func (p *party) turn(v driver.View) <-chan waited {
	end := make(chan waited, 1)
	go func() {
		var err error
		for err == nil && len(v.Ahead) > 0 {
			v, err = p.Wait(p.t.Context(), v, driver.Obstacles{Entries: v.Ahead})
		}
		end <- waited{v, err}
	}()
	return end
}

// heard returns when the party has heard all that it was told so far: messages come in
// order. That takes four scripts.
func heard(p *party) {
	p.t.Helper()
	first, second := p.join("heard"), p.join("heard")
	end := p.wait(second)
	p.leave(first.Me)
	over(p.t, end)
	p.leave(second.Me)
}

// A wait for many costs as much as for one, once it is known of whom to be told.
func TestReleaseOfASharedEntryWakesOneWaiter(t *testing.T) {
	t.Parallel()
	const readers = 20
	s := startWarm(t, redisserver.Config{})
	p := enterAt(t, serverURL(s, ""), patientTTL, nil)
	var views []driver.View
	for range readers {
		c := claim("q")
		c.Kind, c.Mode = "rwmutex", driver.Shared
		v, err := p.Join(bounded(t), c)
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, v)
	}
	writer := p.join("q")
	behind := p.join("q")
	end, far := p.wait(writer), p.wait(behind)
	p.leave(views[readers-1].Me)
	for over(t, end).Me.ID == "" {
	}
	stillWaiting(t, []<-chan waited{far})
	n := scripts(t, s, func() {
		for _, v := range views[:readers/2] { // nobody waits for those
			p.leave(v.Me)
		}
	})
	if n != readers/2 {
		t.Errorf("%d releases that concern nobody took %d scripts", readers/2, n)
	}
	stillWaiting(t, []<-chan waited{far})
}

// The counter may be lost, or be far ahead.
func TestTokensRiseWhateverBecomesOfTheCounter(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	p := enter(t, s, nil)
	last := uint64(0)
	rise := func(when string) {
		t.Helper()
		for range 20 {
			v := p.join("q")
			p.leave(v.Me)
			if v.Me.Token <= last {
				t.Fatalf("%s: token %d comes after %d", when, v.Me.Token, last)
			}
			last = v.Me.Token
		}
	}
	rise("at first")
	do(t, s, "DEL", "{fairlead}:token")
	rise("after the counter was deleted")
	ahead := last + uint64(time.Hour.Microseconds())
	do(t, s, "SET", "{fairlead}:token", fmt.Sprint(ahead))
	rise("ahead of the clock")
	if last != ahead+20 {
		t.Errorf("20 tokens after %d is %d", ahead, last)
	}
	do(t, s, "SET", "{fairlead}:token", fmt.Sprint(uint64(1)<<53-100)) // where numbers of scripts end
	rise("near the largest number")
}
