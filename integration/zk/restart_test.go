package zk_test

import (
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/zkserver"
)

// As for an upgrade: one server after the other, the leader last.
func restartOfEveryServer(t *testing.T, s *site) {
	leader, followers := s.leader(t)
	p := s.pair(t, s.open(t, "holder", longTTL), s.open(t, "waiter", longTTL), "q")
	c := s.churnOnAll(t, longTTL)
	for _, server := range append(followers, leader) {
		do(t, killing, server)
		if !stillHeld(t, p.held) {
			t.Fatal("the lock is lost")
		}
		c.proceeds(t)
		s.bringBack(bounded(t), t, server)
		c.proceeds(t)
		p.next.pending(t)
	}
	p.pass(t)
	if lost := c.finish(t); lost > 0 {
		t.Errorf("%d grants were lost", lost)
	}
}

// Without a majority the holders have to give up in time, nobody is let in, and
// everything goes on when the servers are back.
func lostMajority(t *testing.T, s *site, away func(*zkserver.Server) error) {
	leader, followers := s.leader(t)
	holder, waiter := s.open(t, "holder", shortTTL), s.open(t, "waiter", shortTTL)
	c := s.churnOnAll(t, shortTTL)
	p := s.pair(t, holder, waiter, "q")

	do(t, away, leader, followers[0])
	begun := time.Now()
	<-p.held.Context().Done()
	p.next.pending(t)
	if err := holder.Check(withDeadline(t, shortTTL)); err == nil {
		t.Error("the session has a lease, and there is no majority")
	}
	time.Sleep(time.Until(begun.Add(shortTTL + shortTTL/2))) // longer than any session lasts
	p.next.pending(t)
	s.bringBack(bounded(t), t, leader, followers[0])
	p.loses(t)
	c.proceeds(t)
	c.finish(t)
}
