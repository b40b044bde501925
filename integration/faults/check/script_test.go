package check

import (
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/client"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/integration/faults/register"
)

const ttl = 3 * time.Second

// ms is a moment of a run, so many milliseconds after its start.
func ms(n int64) int64 { return start + n*int64(time.Millisecond) }

const (
	start  = int64(time.Hour)
	healed = 2000 // in milliseconds
	end    = 10_000
)

// A script is a run that did not take place.
type script struct {
	Run
	ids map[string]int
}

// turn is an acquisition and what becomes of it, in milliseconds; 0: it does not happen.
type turn struct {
	op                                                                 journal.Op
	try                                                                bool
	name                                                               string
	n                                                                  int64
	value                                                              string
	token                                                              uint64
	asked, seen, granted, downgrading, downgraded, releasing, released int64
	lost                                                               int64
	gaveUp, barred                                                     int64
	downgradeError, releaseError                                       string
}

func newScript(t *testing.T, lives ...string) *script {
	s := &script{ids: map[string]int{}}
	s.TTL, s.Start, s.Healed, s.End = ttl, start, ms(healed), ms(end)
	s.Limit, s.Dir = client.Limit, t.TempDir()
	for i, name := range lives {
		s.Lives = append(s.Lives, Life{Name: name, Client: i})
	}
	s.Lives = append(s.Lives, Life{Name: "keeper", Client: -1})
	return s
}

func (s *script) life(name string) *Life {
	for i := range s.Lives {
		if s.Lives[i].Name == name {
			return &s.Lives[i]
		}
	}
	panic("there is no life " + name)
}

func (s *script) note(life string, e journal.Event) {
	l := s.life(life)
	l.Events = append(l.Events, e)
}

func (s *script) id(life string) int {
	s.ids[life]++
	return s.ids[life]
}

// plays adds a turn of a life, and returns its ID.
func (s *script) plays(life string, t turn) int {
	if t.op == "" {
		t.op = journal.Lock
	}
	if t.name == "" {
		t.name = mutexName
	}
	id := s.id(life)
	s.note(life, journal.Event{At: ms(t.asked), Kind: journal.Asked, ID: id, Op: t.op, Try: t.try, Name: t.name, N: t.n, Value: t.value})
	if t.gaveUp != 0 {
		s.note(life, journal.Event{At: ms(t.gaveUp), Kind: journal.GaveUp, ID: id, Name: t.name})
	}
	if t.barred != 0 {
		s.note(life, journal.Event{At: ms(t.barred), Kind: journal.Barred, ID: id, Name: t.name})
	}
	if t.seen != 0 {
		s.Sightings = append(s.Sightings, Sighting{ms(t.seen), t.name, t.token, life, id})
	}
	if t.granted != 0 {
		s.note(life, journal.Event{At: ms(t.granted), Kind: journal.Granted, ID: id, Name: t.name, Token: t.token})
	}
	for _, step := range []struct {
		kind  journal.Kind
		at    int64
		error string
	}{
		{journal.Downgrading, t.downgrading, ""}, {journal.Downgraded, t.downgraded, t.downgradeError},
		{journal.Lost, t.lost, ""}, {journal.Releasing, t.releasing, ""}, {journal.Released, t.released, t.releaseError},
	} {
		if step.at != 0 {
			s.note(life, journal.Event{At: ms(step.at), Kind: step.kind, Hold: id, Name: t.name, Token: t.token, Error: step.error})
		}
	}
	return id
}

// call adds a call that is not an acquisition.
func (s *script) call(life string, from, to int64, before, after journal.Event) {
	before.ID = s.id(life)
	after.ID = before.ID
	before.At, after.At = ms(from), ms(to)
	s.note(life, before)
	s.note(life, after)
}

// writes has a life write, and the register decide.
func (s *script) writes(life string, hold int, at int64, token uint64, accepted bool) {
	s.call(life, at-1, at+1,
		journal.Event{Kind: journal.Writing, Hold: hold, Name: mutexName, Token: token},
		journal.Event{Kind: journal.Wrote, Refused: !accepted})
	s.Writes = append(s.Writes, register.Write{At: ms(at), Name: mutexName, Life: life, Token: token, Accepted: accepted})
}

const mutexName = client.Prefix + "mutex/0"

// peaceful is a run in which everything is as it should be: three clients have the
// mutex one after the other, one of them loses it, and after the last fault everybody
// gets everything.
func peaceful(t *testing.T) *script {
	s := newScript(t, "c1.1", "c2.1", "c3.1")
	id := s.plays("c1.1", turn{asked: 100, granted: 110, releasing: 200, released: 205, token: 10})
	s.writes("c1.1", id, 120, 10, true)
	id = s.plays("c2.1", turn{asked: 120, seen: 130, granted: 210, releasing: 300, released: 302, token: 11})
	s.writes("c2.1", id, 220, 11, true)
	s.plays("c1.1", turn{asked: 250, seen: 260, granted: 305, lost: 400, released: 402, releaseError: "lost", token: 12})
	id = s.plays("c3.1", turn{asked: 320, seen: 330, granted: 500, releasing: 600, released: 602, token: 13})
	s.writes("c3.1", id, 510, 13, true)
	s.everybody()
	return s
}

// everybody is granted everything after the last fault.
func (s *script) everybody() {
	ops := map[string]journal.Op{
		client.Mutex: journal.Lock, client.Vigil: journal.Lock, client.RWMutex: journal.RLock, client.Semaphore: journal.Acquire,
		client.Pool: journal.Acquire, client.Election: journal.Campaign,
	}
	for i := range s.Lives {
		l := &s.Lives[i]
		if l.Client < 0 {
			continue
		}
		for _, kind := range client.Kinds {
			at := int64(healed + 100*(i+1))
			s.plays(l.Name, turn{op: ops[kind], name: client.Prefix + kind + "/1", n: 1, token: uint64(100 + i),
				asked: at, granted: at + 10, releasing: at + 20, released: at + 30})
		}
	}
}

// violated returns the names of the checks that have found something.
func (s *script) violated(t *testing.T) map[string][]Violation {
	t.Helper()
	c, err := Open(s.Run)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]Violation{}
	for _, r := range c.Check() {
		if len(r.Violations) > 0 {
			found[r.Check] = r.Violations
		}
	}
	return found
}
