package zk_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/session"
)

// churnOnAll starts a churn from a session on each of the servers.
func (s *site) churnOnAll(t *testing.T, ttl time.Duration) *churn {
	t.Helper()
	var sessions []*session.Session
	for i, server := range s.Servers() {
		sessions = append(sessions, s.openOn(t, server, fmt.Sprint("churn ", i), ttl))
	}
	c := startChurn(t, sessions...)
	c.proceeds(t)
	return c
}

// Of the waiters one each is connected to the leader, to a follower and to the
// other, and again: the watches of some are gone with the server, those of others
// stay.
func waitersProceedWhenTheLeaderIsKilled(t *testing.T, s *site) {
	const name = "q"
	leader, followers := s.leader(t)
	g := lock(t, s.openOn(t, followers[0], "holder", longTTL), name)
	var r room
	r.enter(g)
	var waiters []*call[*session.Grant]
	for i := range 2 * len(s.Servers()) {
		waiter := s.openOn(t, s.Servers()[i%len(s.Servers())], fmt.Sprint("waiter ", i), longTTL)
		waiters = append(waiters, r.visiting(bounded(t), waiter, name))
		s.queued(t, name, i+2)
	}
	c := s.churnOnAll(t, longTTL)

	do(t, killing, leader)
	for _, w := range waiters {
		w.pending(t)
	}
	release(t, g)
	last := g.Token()
	for i, w := range waiters {
		token := w.must(t).Token()
		if token <= last {
			t.Errorf("waiter %d was granted token %d, and the one before it %d", i, token, last)
		}
		last = token
	}
	r.visited(t, 1+len(waiters))
	c.proceeds(t)
	s.bringBack(bounded(t), t, leader)
	c.proceeds(t)
	c.finish(t)
}

// Where the holder's session outlives the election, so does its lock; and else the
// holder sees its loss before another is let in. Who is to lead next counts all
// sessions anew.
func holderKeepsItsLockWhenTheLeaderIsKilled(t *testing.T, s *site) {
	leader, followers := s.leader(t)
	waiter := s.openOn(t, followers[1], "waiter", longTTL)
	near := s.pair(t, s.openOn(t, leader, "on the leader", longTTL), waiter, "near")
	far := s.pair(t, s.openOn(t, followers[0], "on a follower", longTTL), waiter, "far")
	short := s.pair(t, s.openOn(t, leader, "with a short session", shortTTL), waiter, "short")

	do(t, killing, leader)
	for _, p := range []*pair{near, far} {
		if !stillHeld(t, p.held) {
			t.Errorf("%s: the holder has lost its lock with the leader", p.name)
		}
		p.next.pending(t)
	}
	t.Logf("the lock of the short session is held: %v", stillHeld(t, short.held))
	for _, p := range []*pair{near, far, short} {
		p.pass(t)
	}
}

// A frozen leader does not know that it is replaced, and when it goes on its clock
// says that all sessions have expired. Meanwhile those of its clients have gone to
// another server, or are lost.
func frozenLeaderIsReplaced(t *testing.T, s *site) {
	leader, followers := s.leader(t)
	waiter := s.openOn(t, followers[0], "waiter", longTTL)
	var pairs []*pair
	for i, server := range s.Servers() {
		for _, ttl := range []time.Duration{shortTTL, longTTL} {
			who := fmt.Sprintf("%v-%d", ttl, i)
			pairs = append(pairs, s.pair(t, s.openOn(t, server, who, ttl), waiter, who))
		}
	}
	c := s.churnOnAll(t, 2*shortTTL)

	do(t, freezing, leader)
	if now, _ := s.leader(t); now == leader {
		t.Fatal("the frozen server leads")
	}
	time.Sleep(shortTTL)
	do(t, thawing, leader)
	for _, p := range pairs {
		t.Logf("the lock of %s is held: %v", p.name, stillHeld(t, p.held))
	}
	for _, p := range pairs {
		p.pass(t)
	}
	c.proceeds(t)
	c.finish(t)
}
