package zk_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// The connection is lost between a request that the servers obey and its reply,
// the create of an entry among them. The client finds another server, where it
// finds the entry: it has asked once, and has one.
func TestConnectionLostBeforeTheReplyLeavesOneEntry(t *testing.T) {
	t.Parallel()
	s := at(t, calm)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			var link drivertest.Link
			o := s.openThrough(t, &link, k.name, longTTL)
			last := uint64(0)
			for n, met := 1, true; met; n++ {
				due := link.Requests() + n
				link.LoseReply(n)
				g, err := k.acquire(bounded(t), o, k.name)
				if err != nil {
					t.Fatalf("with the reply to write %d lost: %v", n, err)
				}
				if g.Token() <= last {
					t.Errorf("token %d was granted after %d", g.Token(), last)
				}
				last = g.Token()
				s.queued(t, k.name, 1)
				if !stillHeld(t, g) {
					t.Errorf("with the reply to write %d lost, the grant is lost", n)
				}
				release(t, g)
				s.queued(t, k.name, 0)
				met = link.Requests() >= due && n < maxSteps
			}
		})
	}
}

// maxSteps is more than any acquisition and its release need.
const maxSteps = 12

// The same beside others who want the same, again and again, and from time to time
// without any warning.
func TestLostRepliesAndCutsDisturbNobody(t *testing.T) {
	t.Parallel()
	s := at(t, calm)
	links := make([]drivertest.Link, len(s.Servers()))
	var sessions []*session.Session
	for i := range links {
		sessions = append(sessions, s.openThrough(t, &links[i], fmt.Sprint("churn ", i), longTTL))
	}
	c := startChurn(t, sessions...)
	for range 20 {
		for i := range links {
			due := links[i].Requests() + 1 + rand.IntN(5)
			links[i].LoseReply(due - links[i].Requests())
			eventually(t, func() error {
				if links[i].Requests() < due {
					return errors.New("the session does not go on")
				}
				return nil
			})
		}
		links[rand.IntN(len(links))].Cut()
		time.Sleep(rand.N(100 * time.Millisecond))
	}
	c.proceeds(t)
	if lost := c.finish(t); lost > 0 {
		t.Errorf("%d grants were lost", lost)
	}
}
