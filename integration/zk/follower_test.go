package zk_test

import (
	"fmt"
	"testing"
	"time"
)

// The server is back before its clients have given it up, or just after.
func followerFrozenBriefly(t *testing.T, s *site) {
	const ttl, frozen = longTTL / 2, longTTL / 15
	_, followers := s.leader(t)
	victim, other := followers[0], followers[1]
	here, there := s.openOn(t, victim, "on it", ttl), s.openOn(t, other, "on another", ttl)
	holder := s.pair(t, here, there, "held there")
	waiter := s.pair(t, there, here, "waited for there")
	c := s.churnOnAll(t, ttl)

	do(t, freezing, victim)
	time.Sleep(frozen)
	holder.next.pending(t)
	waiter.next.pending(t)
	do(t, thawing, victim)
	for _, p := range []*pair{holder, waiter} {
		if !stillHeld(t, p.held) {
			t.Errorf("what is %s is lost", p.name)
		}
		p.next.pending(t)
		p.pass(t)
	}
	c.proceeds(t)
	if lost := c.finish(t); lost > 0 {
		t.Errorf("%d grants were lost", lost)
	}
}

// The server stays frozen for longer than a session lasts: who is connected to it
// and waits must not wait for it, and who holds keeps its lock on another server, or
// sees the loss first. When the server goes on, it knows nothing of all that.
func waiterGivesUpAFrozenFollower(t *testing.T, s *site) {
	_, followers := s.leader(t)
	victim, other := followers[0], followers[1]
	there := s.openOn(t, other, "on another", longTTL)
	var pairs []*pair
	for _, ttl := range []time.Duration{shortTTL, 2 * shortTTL, 3 * shortTTL} {
		here := s.openOn(t, victim, fmt.Sprint("on it for ", ttl), ttl)
		pairs = append(pairs,
			s.pair(t, here, there, fmt.Sprint("held there for ", ttl)),
			s.pair(t, there, here, fmt.Sprint("waited for there for ", ttl)))
	}
	c := s.churnOnAll(t, 2*shortTTL)

	do(t, freezing, victim)
	begun := time.Now()
	kept := 0
	for _, p := range pairs {
		if stillHeld(t, p.held) {
			kept++
		}
	}
	// Those that are waited for there are held elsewhere. Of the others, a machine
	// that does something else at the wrong moment may make one too late.
	if kept <= len(pairs)/2 {
		t.Errorf("%d of %d are held: no session has gone on to another server in time", kept, len(pairs))
	}
	for _, p := range pairs {
		p.pass(t)
	}
	c.proceeds(t)
	time.Sleep(time.Until(begun.Add(2*shortTTL + shortTTL/2)))
	do(t, thawing, victim)
	c.proceeds(t)
	c.finish(t)
}

// Holders that know of no other server can only stop.
func holdersWithAFrozenFollowerAlone(t *testing.T, s *site) {
	_, followers := s.leader(t)
	victim, other := followers[0], followers[1]
	there := s.openOn(t, other, "waiter", longTTL)
	var pairs []*pair
	for i := range 10 {
		who := fmt.Sprint("holder ", i)
		pairs = append(pairs, s.pair(t, s.openAt(t, victim.Addr(), who, shortTTL), there, who))
	}
	do(t, freezing, victim)
	for _, p := range pairs {
		p.loses(t)
	}
	do(t, thawing, victim)
}
