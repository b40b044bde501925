package nemesis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/cluster"
)

// A Kind of fault.
type Kind string

// What is done to members and to what they keep.
const (
	KillMember    Kind = "kill a member"
	KillLeader    Kind = "kill the leader"
	PauseMember   Kind = "pause a member"
	FreezeMember  Kind = "freeze a member" // for longer than the TTL
	FreezeLeader  Kind = "freeze the leader"
	CutLeader     Kind = "cut the leader off"        // from all others
	CutLeaderUp   Kind = "cut what the leader sends" // one way
	CutLeaderDown Kind = "cut what is sent to the leader"
	Ring          Kind = "ring of majorities" // each member sees one, and none sees all
	Exhaust       Kind = "exhaust the quota"
	FillLeader    Kind = "fill the leader's disk"
	FillMember    Kind = "fill a member's disk"
	ClockAhead    Kind = "set the clock ahead" // by less than the TTL
	ClockFarAhead Kind = "set the clock far ahead"
	ClockBack     Kind = "set the clock back"
	ClockFarBack  Kind = "set the clock far back"
	Password      Kind = "change the password"
	MoveLeader    Kind = "move the leader"
	RestartAll    Kind = "restart all, one by one"
	Maintain      Kind = "maintain"
	EndSession    Kind = "end a session"
	DeleteEntry   Kind = "delete an entry"
)

// What is done to clients.
const (
	KillClient   Kind = "kill a client"
	KillHolder   Kind = "kill a holder"
	PauseClient  Kind = "pause a client"
	FreezeClient Kind = "freeze a client" // for longer than the TTL
	FreezeHolder Kind = "freeze a holder"
	Isolate      Kind = "isolate a client"
	CutUp        Kind = "cut the way up"
	CutDown      Kind = "cut the way down"
	CutOne       Kind = "cut off from one server"
	Slow         Kind = "slow links"
	Lossy        Kind = "lossy links"
	Blip         Kind = "reset connections"
)

// A Fault is what is to happen.
type Fault struct {
	Pause time.Duration // before it
	Kind  Kind
	For   time.Duration // until it is undone
	Delay time.Duration // of slow links; between the resets of lossy ones
	Pick  uint64        // whom to hit
}

func (f Fault) String() string {
	return fmt.Sprintf("%s for %v", f.Kind, f.For.Round(time.Millisecond))
}

// A Lane is what happens one after the other.
type Lane []Fault

// lanes of faults to clients.
const clientLanes = 2

// Draw makes a plan for a store, of about that length.
func Draw(seed uint64, t cluster.Traits, ttl, length time.Duration) []Lane {
	deal := dealer{rand.New(rand.NewPCG(seed, 0)), ttl}
	plan := []Lane{deal.lane(KillLeader, serverFaults(t), serverPause(t, ttl), length)}
	for i := range clientLanes {
		deal := dealer{rand.New(rand.NewPCG(seed, uint64(i)+1)), ttl}
		plan = append(plan, deal.lane([]Kind{KillHolder, Isolate}[i], clientFaults, span{ttl / 10, ttl}, length))
	}
	return plan
}

// Kinds are those of faults that hit such a store.
func Kinds(t cluster.Traits) []Kind {
	return slices.Compact(slices.Sorted(slices.Values(serverFaults(t))))
}

// DrawOnly is Draw with nothing else for the store than one kind of fault.
func DrawOnly(kind Kind, seed uint64, t cluster.Traits, ttl, length time.Duration) []Lane {
	deal := dealer{rand.New(rand.NewPCG(seed, 0)), ttl}
	plan := Draw(seed, t, ttl, length)
	plan[0] = deal.lane(kind, []Kind{kind}, serverPause(t, ttl), length)
	return plan
}

// serverPause leaves the store time to recover. One that grants nothing for a TTL
// after a failover would grant nothing at all with less.
func serverPause(t cluster.Traits, ttl time.Duration) span {
	if t.Quiet {
		return span{ttl, 2 * ttl}
	}
	return span{ttl / 2, ttl * 3 / 2}
}

var clientFaults = []Kind{
	KillClient, KillHolder, PauseClient, FreezeClient, FreezeHolder,
	Isolate, Isolate, CutUp, CutDown, CutOne, Slow, Lossy, Blip,
}

func serverFaults(t cluster.Traits) []Kind {
	kinds := []Kind{KillLeader, PauseMember, FreezeLeader, EndSession, EndSession}
	if t.Replicated {
		kinds = append(kinds, KillLeader, KillMember, FreezeMember, RestartAll)
	}
	if t.Partitions {
		kinds = append(kinds, CutLeader, CutLeaderUp, CutLeaderDown, Ring)
	}
	if t.Clock {
		kinds = append(kinds, ClockAhead, ClockFarAhead, ClockBack, ClockFarBack)
	}
	if t.Passwords {
		kinds = append(kinds, Password)
	}
	if t.Quota {
		kinds = append(kinds, Exhaust)
	}
	if t.Disks {
		kinds = append(kinds, FillLeader)
	}
	if t.Disks && t.Replicated {
		kinds = append(kinds, FillMember)
	}
	if t.Transfers {
		kinds = append(kinds, MoveLeader, MoveLeader)
	}
	if t.Maintains {
		kinds = append(kinds, Maintain, Maintain)
	}
	if t.Deletes {
		kinds = append(kinds, DeleteEntry, DeleteEntry)
	}
	return kinds
}

// A span is of durations to choose from.
type span struct{ least, most time.Duration }

func (s span) draw(rng *rand.Rand) time.Duration {
	return s.least + time.Duration(rng.Int64N(int64(s.most-s.least)))
}

// A dealer deals faults like cards, so that a short run sees many kinds.
type dealer struct {
	*rand.Rand
	ttl time.Duration
}

// lane begins with what no run should be without.
func (d dealer) lane(first Kind, kinds []Kind, pause span, length time.Duration) Lane {
	var lane Lane
	deck := []Kind{first}
	for at := time.Duration(0); ; {
		if len(deck) == 0 {
			deck = append(deck, kinds...)
			d.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		f := Fault{Pause: pause.draw(d.Rand), Kind: deck[0], Pick: d.Uint64()}
		f.For = duration(f.Kind, d.ttl).draw(d.Rand)
		f.Delay = span{20 * time.Millisecond, d.ttl / 4}.draw(d.Rand)
		deck = deck[1:]
		if at += f.Pause + f.For; at > length {
			return lane
		}
		lane = append(lane, f)
	}
}

// duration is how long a kind of fault may last. What is over in a moment has a
// little, too, and leaves it unused.
func duration(k Kind, ttl time.Duration) span {
	switch k {
	case PauseMember, PauseClient:
		return span{ttl / 20, ttl / 2}
	case FreezeMember, FreezeLeader, FreezeClient, FreezeHolder, CutLeader, CutLeaderUp, CutLeaderDown, Ring,
		FillLeader, FillMember:
		return span{ttl * 5 / 4, ttl * 2}
	case KillMember, KillLeader:
		return span{ttl / 10, ttl}
	case KillClient, KillHolder:
		return span{ttl / 10, ttl / 2}
	case RestartAll:
		return span{ttl / 10, ttl / 5} // of each
	case Exhaust, ClockAhead, ClockFarAhead, ClockBack, ClockFarBack:
		return span{ttl / 2, ttl * 2}
	case Isolate, CutUp, CutDown, CutOne:
		return span{ttl / 4, ttl * 2}
	case Slow, Lossy:
		return span{ttl, ttl * 2}
	}
	return span{0, ttl / 20}
}
