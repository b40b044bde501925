package zk_test

import (
	"errors"
	"slices"
	"testing"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

func place(t *testing.T) drivertest.Entrance {
	return func(link *drivertest.Link) drivertest.Party {
		p := enter(t, link)
		return drivertest.Party{Lease: p.Lease, Store: p.store}
	}
}

func TestConditionalJoinEndsHoweverOthersJoin(t *testing.T) { drivertest.RushedJoins(t, place) }

func reads() driver.Claim {
	c := claim("q")
	c.Kind, c.Mode = "rwmutex", driver.Shared
	return c
}

func noWriter(v driver.View) bool {
	return !slices.ContainsFunc(v.Ahead, func(e driver.Entry) bool { return e.Mode != driver.Shared })
}

// What only tries reads no more of a queue than it has to know.
func TestConditionalJoinReadsWhoIsInItsWayAlone(t *testing.T) {
	t.Parallel()
	var link drivertest.Link
	other, p := enter(t, nil), enter(t, &link)
	var readers []driver.View
	for range 50 {
		v, err := other.Join(bounded(t), reads())
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, v)
	}
	try := reads()
	try.Admit = noWriter
	before := link.Requests()
	v, err := p.Join(bounded(t), try)
	if n := link.Requests() - before; err != nil || n > 10 {
		t.Errorf("to join as a reader behind 50 took %d requests, %v", n, err)
	}
	try = claim("q")
	try.Admit = alone
	before = link.Requests()
	_, err = p.Join(bounded(t), try)
	if n := link.Requests() - before; n > 20 {
		t.Errorf("to be refused behind 51 took %d requests", n)
	}
	ends := []uint64{readers[0].Me.Token, v.Me.Token}
	if r, ok := errors.AsType[*driver.Refused](err); !ok || !slices.Equal(tokens(r.Ahead), ends) {
		t.Errorf("the error is %v, want a refusal with the first and the nearest, %v", err, ends)
	}
}

// Also who joins whoever is there, and is refused for it, is told who is the first.
func TestWhoIsRefusedInTheQueueIsToldTheFirst(t *testing.T) {
	t.Parallel()
	h := byHand(t, server.Addr(), "")
	other, p := enter(t, nil), enter(t, nil)
	first := ""
	try := claim("q")
	try.Admit = func(v driver.View) bool {
		if len(v.Ahead) == 0 { // others, of whom we learn from within the queue
			first = h.put(prefix(t)+"/q/_c_"+someGUID+"-lock-", "", gozk.FlagEphemeral|gozk.FlagSequence)
			h.put(prefix(t)+"/q/_c_"+someGUID+"-lock-", "", gozk.FlagEphemeral|gozk.FlagSequence)
		}
		return len(v.Ahead) == 0
	}
	_, err := p.Join(bounded(t), try)
	if r, ok := errors.AsType[*driver.Refused](err); !ok || len(r.Ahead) != 2 || r.Ahead[0].Key != first {
		t.Errorf("the error is %+v, want a refusal that names %s as the first", err, first)
	}
	if q := other.queue("q"); len(q) != 2 {
		t.Errorf("the queue is %v, want the two who were faster", q)
	}
}
