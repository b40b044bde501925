package check

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/client"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/integration/faults/register"
)

func TestPeacefulRunViolatesNothing(t *testing.T) {
	t.Parallel()
	if found := peaceful(t).violated(t); len(found) > 0 {
		t.Errorf("found %v", found)
	}
}

// What is planted into a peaceful run has to be found, by these checks and no other.
func TestPlantedViolationsAreFound(t *testing.T) {
	t.Parallel()
	const semaphore, pool, election = client.Prefix + "semaphore/0", client.Prefix + "pool/0", client.Prefix + "election/0"
	for name, plant := range map[string]struct {
		do     func(*script)
		checks []string
		says   string
	}{
		"two hold the mutex": {func(s *script) {
			s.plays("c2.1", turn{asked: 700, granted: 710, releasing: 800, released: 802, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 750, releasing: 850, released: 852, token: 21})
		}, []string{"history", "exclusion"}, "token 21"},
		"a token is given out twice": {func(s *script) {
			s.plays("c2.1", turn{asked: 700, granted: 710, releasing: 800, released: 802, token: 20})
			s.plays("c3.1", turn{asked: 820, granted: 850, releasing: 860, released: 862, token: 20})
		}, []string{"history", "exclusion", "fifo"}, "twice"},
		"tokens fall": {func(s *script) {
			s.plays("c2.1", turn{asked: 700, granted: 710, releasing: 800, released: 802, token: 9})
		}, []string{"history", "exclusion", "fifo"}, "token 9"},
		"a writer beside a reader": {func(s *script) {
			name := client.Prefix + "rwmutex/0"
			s.plays("c2.1", turn{op: journal.RLock, name: name, asked: 700, granted: 710, releasing: 800, released: 802, token: 20})
			s.plays("c3.1", turn{name: name, asked: 720, granted: 750, releasing: 850, released: 852, token: 21})
		}, []string{"history", "exclusion"}, "token 21"},
		"a writer beside one that has downgraded": {func(s *script) {
			name := client.Prefix + "rwmutex/0"
			s.plays("c2.1", turn{name: name, asked: 700, granted: 710, downgrading: 720, downgraded: 722, releasing: 800, released: 802, token: 20})
			s.plays("c3.1", turn{name: name, asked: 720, granted: 750, releasing: 850, released: 852, token: 21})
		}, []string{"history", "exclusion"}, "token 21"},
		"four permits of three": {func(s *script) {
			s.plays("c1.1", turn{op: journal.Acquire, name: semaphore, n: 2, asked: 700, granted: 710, releasing: 800, released: 802, token: 20})
			s.plays("c2.1", turn{op: journal.Acquire, name: semaphore, n: 2, asked: 720, granted: 750, releasing: 850, released: 852, token: 21})
		}, []string{"history", "exclusion"}, "token 21"},
		"more than a pool was shrunk to": {func(s *script) {
			s.plays("keeper", turn{op: journal.Acquire, name: pool, n: 1, asked: 10, granted: 20, releasing: 1900, released: 1902, token: 1})
			s.call("c3.1", 650, 660, journal.Event{Kind: journal.Resizing, Name: pool, N: 2}, journal.Event{Kind: journal.Resized})
			s.plays("c1.1", turn{op: journal.Acquire, name: pool, n: 2, asked: 700, granted: 710, releasing: 800, released: 802, token: 20})
		}, []string{"history"}, "token 20"},
		"more than any limit of a pool that nobody kept": {func(s *script) {
			for i, life := range []string{"c1.1", "c2.1", "c3.1"} {
				s.plays(life, turn{op: journal.Acquire, name: pool, n: 3, asked: 700, granted: 710 + int64(i), releasing: 800, released: 802, token: 20 + uint64(i)})
			}
		}, []string{"exclusion"}, "9 permits of 6"},
		"a token of a pool that nobody kept is given out twice": {func(s *script) {
			s.plays("c1.1", turn{op: journal.Acquire, name: pool, n: 1, asked: 700, granted: 710, releasing: 800, released: 802, token: 20})
			s.plays("c2.1", turn{op: journal.Acquire, name: pool, n: 1, asked: 810, granted: 820, releasing: 830, released: 832, token: 20})
		}, []string{"exclusion", "fifo"}, "twice"},
		"nobody is said to lead while somebody does": {func(s *script) {
			s.plays("c1.1", turn{op: journal.Campaign, name: election, value: "a", asked: 700, granted: 710, releasing: 800, released: 802, token: 20})
			s.call("c3.1", 750, 760, journal.Event{Kind: journal.Looking, Name: election}, journal.Event{Kind: journal.Saw, Name: election})
		}, []string{"history"}, "token 20"},
		"nobody is said to lead while somebody does, who loses that later without a crash": {func(s *script) {
			s.Quiet = true
			s.plays("c1.1", turn{op: journal.Campaign, name: election, value: "a", asked: 700, granted: 710, lost: 900, token: 20})
			s.call("c3.1", 750, 760, journal.Event{Kind: journal.Looking, Name: election}, journal.Event{Kind: journal.Saw, Name: election})
		}, []string{"history"}, "token 20"},
		"one is said to lead who has released, without a crash": {func(s *script) {
			s.Undoes = true
			s.leadsAgain(journal.Strike{Client: -1, Frozen: true, From: ms(803), Done: ms(804), To: ms(900)})
		}, []string{"history"}, "token 20"},
		"one is said to lead who has released long before a crash": {func(s *script) {
			s.Undoes = true
			s.leadsAgain(journal.Strike{Client: -1, Crash: true, From: ms(1803), Done: ms(1804), To: ms(1805)})
		}, []string{"history"}, "token 20"},
		"one is said to lead who has released before a crash of a store that writes first": {func(s *script) {
			s.leadsAgain(journal.Strike{Client: -1, Crash: true, From: ms(803), Done: ms(804), To: ms(900)})
		}, []string{"history"}, "token 20"},
		"the loss comes late": {func(s *script) {
			s.plays("c2.1", turn{asked: 700, granted: 710, lost: 900, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 890, releasing: 950, released: 952, token: 21})
		}, []string{"history", "loss"}, "seen late"},
		"the loss comes late though the process runs again": {func(s *script) {
			s.Strikes = append(s.Strikes, journal.Strike{Client: 1, Life: "c2.1", Frozen: true, From: ms(720), Done: ms(721), To: ms(760)})
			s.plays("c2.1", turn{asked: 700, granted: 710, lost: 1100, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 1090, releasing: 1150, released: 1152, token: 21})
		}, []string{"history", "loss"}, "seen late"},
		"one that was frozen believes to hold": {func(s *script) {
			s.Strikes = append(s.Strikes, journal.Strike{Client: 1, Life: "c2.1", Frozen: true, From: ms(720), Done: ms(721), To: ms(900)})
			s.plays("c2.1", turn{asked: 700, granted: 710, releasing: 910, released: 912, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 890, releasing: 950, released: 952, token: 21})
		}, []string{"history", "exclusion"}, "token 21"},
		"the dead are robbed before they die": {func(s *script) {
			s.plays("c2.1", turn{asked: 700, granted: 710, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 790, releasing: 950, released: 952, token: 21})
			s.dies("c2.1", 800)
		}, []string{"history", "exclusion"}, "token 21"},
		"an operator's victim is not told": {func(s *script) {
			s.Strikes = append(s.Strikes, journal.Strike{Client: 1, Life: "c2.1", Ended: true, From: ms(800), Done: ms(801), To: ms(801)})
			s.plays("c2.1", turn{asked: 700, granted: 710, lost: 3500, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 810, releasing: 850, released: 852, token: 21})
		}, []string{"told"}, "was not told"},
		"an operator's victim is not told, though another client is in trouble": {func(s *script) {
			s.Strikes = append(s.Strikes, journal.Strike{Client: 1, Life: "c2.1", Ended: true, From: ms(800), Done: ms(801), To: ms(801)},
				journal.Strike{Client: 0, Life: "c1.1", Cut: true, From: ms(700), Done: ms(701), To: ms(5000)})
			s.plays("c2.1", turn{asked: 700, granted: 710, lost: 3500, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 810, releasing: 850, released: 852, token: 21})
		}, []string{"told"}, "was not told"},
		"nobody looks for an entry that an operator removed": {func(s *script) {
			s.Strikes = append(s.Strikes, journal.Strike{Client: -1, Name: mutexName, Token: 20, From: ms(800), Done: ms(801), To: ms(801)})
			s.plays("c2.1", turn{asked: 700, granted: 710, releasing: 4500, released: 4501, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 810, releasing: 850, released: 852, token: 21})
		}, []string{"told"}, "was not told"},
		"somebody has to join anew": {func(s *script) {
			s.plays("c2.1", turn{asked: 650, seen: 660, granted: 900, releasing: 950, released: 952, token: 22})
			s.Sightings = append(s.Sightings, Sighting{ms(655), mutexName, 20, "c2.1", s.ids["c2.1"]})
		}, []string{"place"}, "token 20"},
		"somebody is in a queue twice, and gives up": {func(s *script) {
			s.plays("c2.1", turn{asked: 650, seen: 660, gaveUp: 900, token: 22})
			s.Sightings = append(s.Sightings, Sighting{ms(655), mutexName, 20, "c2.1", s.ids["c2.1"]})
		}, []string{"place"}, "token 20"},
		"somebody is overtaken": {func(s *script) {
			s.plays("c2.1", turn{asked: 650, seen: 660, granted: 900, releasing: 950, released: 952, token: 22})
			s.plays("c3.1", turn{asked: 700, granted: 710, releasing: 800, released: 802, token: 21})
		}, []string{"fifo"}, "overtaken"},
		"a wake-up is lost": {func(s *script) {
			s.plays("c2.1", turn{asked: 900, granted: healed + 6500, releasing: healed + 6600, released: healed + 6602, token: 30})
		}, []string{"progress"}, "still waiting"},
		"a wake-up is lost for good": {func(s *script) {
			s.plays("c2.1", turn{asked: 900, token: 30})
		}, []string{"progress"}, "still waiting"},
		"somebody who would not wait waits": {func(s *script) {
			s.plays("c2.1", turn{try: true, asked: 900, granted: healed + 6500, releasing: healed + 6600, released: healed + 6602, token: 30})
		}, []string{"progress"}, "still waiting"},
		"somebody is served with nothing": {func(s *script) {
			s.Lives = append(s.Lives, Life{Name: "c4.1", Client: 3})
		}, []string{"progress"}, "c4.1 was granted no mutex"},
		"the register takes an older token": {func(s *script) {
			s.Writes = append(s.Writes, register.Write{At: ms(520), Name: mutexName, Life: "c1.1", Token: 12, Accepted: true})
		}, []string{"register"}, "accepted token 12"},
		"the register takes an older token and says so": {func(s *script) {
			s.writes("c1.1", 3, 520, 12, true)
		}, []string{"history", "register"}, "accepted token 12"},
		"the register refuses a holder": {func(s *script) {
			id := s.plays("c2.1", turn{asked: 700, granted: 710, releasing: 800, released: 802, token: 20})
			s.writes("c2.1", id, 750, 20, false)
		}, []string{"history", "register"}, "refused a holder"},
		"a call fails for no reason": {func(s *script) {
			id := s.plays("c2.1", turn{asked: 700, token: 20})
			s.note("c2.1", journal.Event{At: ms(710), Kind: journal.Failed, ID: id, Error: "no luck"})
		}, []string{"errors"}, "no luck"},
		"the register cannot be reached": {func(s *script) {
			s.call("c1.1", 520, 521, journal.Event{Kind: journal.Writing, Name: mutexName, Token: 10}, journal.Event{Kind: journal.Wrote, Error: "broken pipe"})
		}, []string{"errors"}, "broken pipe"},
		"a pool cannot be resized though all is healed": {func(s *script) {
			s.call("c3.1", healed+100, healed+110, journal.Event{Kind: journal.Resizing, Name: pool, N: 2}, journal.Event{Kind: journal.Resized, Error: "no function"})
		}, []string{"errors"}, "no function"},
		"nobody can tell who leads though all is healed": {func(s *script) {
			s.call("c3.1", healed+100, healed+6110, journal.Event{Kind: journal.Looking, Name: election}, journal.Event{Kind: journal.Saw, Name: election, Error: "context deadline exceeded"})
		}, []string{"errors"}, "context deadline exceeded"},
		"a leader cannot proclaim though all is healed": {func(s *script) {
			id := s.plays("c2.1", turn{op: journal.Campaign, name: election, value: "a", asked: 700, granted: 710, releasing: 8000, released: 8001, token: 20})
			s.call("c2.1", healed+100, healed+110, journal.Event{Kind: journal.Proclaiming, Hold: id, Name: election, Token: 20, Value: "b"},
				journal.Event{Kind: journal.Proclaimed, Name: election, Error: "no function"})
		}, []string{"errors"}, "no function"},
		"a release fails though all is healed": {func(s *script) {
			s.plays("c2.1", turn{asked: 700, granted: 710, releasing: healed + 100, released: healed + 110, releaseError: "no function", token: 20})
		}, []string{"errors"}, "a release failed"},
		"a downgrade fails though all is healed": {func(s *script) {
			s.plays("c2.1", turn{name: client.Prefix + "rwmutex/0", asked: 700, granted: 710, downgrading: healed + 100, downgraded: healed + 110,
				downgradeError: "no function", token: 20})
		}, []string{"errors"}, "a downgrade failed"},
		"a session cannot be closed": {func(s *script) {
			s.note("c2.1", journal.Event{At: ms(9900), Kind: journal.Closed, Error: "stuck"})
		}, []string{"errors"}, "stuck"},
		"something is left in the store": {func(s *script) { s.Left = []string{"torture/mutex/0/x"} }, []string{"clean"}, "torture/mutex/0/x"},
		"watchers are left":              {func(s *script) { s.Watchers = Watchers{Before: 2, After: 3} }, []string{"clean"}, "3"},
		"watchers pile up": {func(s *script) {
			s.Watchers = Watchers{Busy: 61, Most: 60}
		}, []string{"clean"}, "61"},
		"an entry stays though it was released": {func(s *script) {
			id := s.plays("c2.1", turn{asked: 700, granted: 710, releasing: 800, released: 802, token: 20})
			s.Standing = append(s.Standing, Sighting{ms(healed + 6001), mutexName, 20, "c2.1", id})
		}, []string{"clean"}, "token 20"},
		"an entry stays of one that would not wait": {func(s *script) {
			id := s.plays("c2.1", turn{try: true, asked: 700, barred: 710, token: 20})
			s.Standing = append(s.Standing, Sighting{ms(healed + 6001), mutexName, 20, "c2.1", id})
		}, []string{"clean"}, "token 20"},
		"an entry stays of one that gave up": {func(s *script) {
			id := s.plays("c2.1", turn{asked: healed + 100, gaveUp: healed + 1000, token: 20})
			s.Standing = append(s.Standing, Sighting{ms(healed + 7001), mutexName, 20, "c2.1", id})
		}, []string{"clean"}, "token 20"},
		"goroutines are left": {func(s *script) {
			s.note("c2.1", journal.Event{At: ms(9900), Kind: journal.Leaked, Error: "goroutine 7"})
		}, []string{"clean"}, "goroutine 7"},
		"a client crashes": {func(s *script) {
			s.note("c2.1", journal.Event{At: ms(5), Kind: journal.Opened})
			s.note("c2.1", journal.Event{At: ms(9900), Kind: journal.Closing})
		}, []string{"clean"}, "c2.1 has not come"},
		"a client does not end": {func(s *script) { s.Trouble = []string{"c1.1 does not end"} }, []string{"clean"}, "c1.1 does not end"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			s := peaceful(t)
			plant.do(s)
			found := s.violated(t)
			if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, slices.Sorted(slices.Values(plant.checks))) {
				t.Errorf("violated %v, want %v: %v", got, plant.checks, found)
			}
			for _, check := range plant.checks {
				if v := found[check]; len(v) > 0 && strings.Contains(v[0].Text, plant.says) {
					return
				}
			}
			t.Errorf("no violation says %q: %v", plant.says, found)
		})
	}
}

// leadsAgain has a leader seen after it released, and after that was done to the store.
func (s *script) leadsAgain(after journal.Strike) {
	const election = client.Prefix + "election/0"
	s.Strikes = append(s.Strikes, after)
	s.plays("c2.1", turn{op: journal.Campaign, name: election, value: "again", asked: 700, granted: 710, releasing: 800, released: 802, token: 20})
	at := (after.Done - start) / int64(time.Millisecond)
	s.call("c3.1", at+1, at+150, journal.Event{Kind: journal.Looking, Name: election},
		journal.Event{Kind: journal.Saw, Name: election, Value: "again", Token: 20})
}

// dies has a life killed.
func (s *script) dies(life string, at int64) {
	s.Strikes = append(s.Strikes, journal.Strike{Client: s.life(life).Client, Life: life, Death: true, From: ms(at), Done: ms(at + 1), To: ms(at + 1)})
}

// What looks wrong and is not.
func TestWhatOnlyTheTokenProtectsIsNoViolation(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*script){
		"a frozen holder is robbed and sees it when it runs again": func(s *script) {
			s.Strikes = append(s.Strikes, journal.Strike{Client: 1, Life: "c2.1", Frozen: true, From: ms(720), Done: ms(721), To: ms(900)})
			id := s.plays("c2.1", turn{asked: 700, granted: 710, lost: 905, released: 906, releaseError: "lost", token: 20})
			next := s.plays("c3.1", turn{asked: 720, granted: 850, releasing: 950, released: 952, token: 21})
			s.writes("c3.1", next, 860, 21, true)
			s.writes("c2.1", id, 902, 20, false)
		},
		"the machine had no time for a holder": func(s *script) {
			s.note("c2.1", journal.Event{At: ms(900), From: ms(720), Kind: journal.Stalled})
			s.plays("c2.1", turn{asked: 700, granted: 710, lost: 905, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 850, releasing: 950, released: 952, token: 21})
		},
		"a lease is lost while it is given back": func(s *script) {
			s.plays("c2.1", turn{asked: 700, granted: 710, releasing: healed + 100, released: healed + 110,
				releaseError: `mutex "torture/mutex/0": lost: the lease could not be renewed in time`, token: 20})
		},
		"a holder is killed": func(s *script) {
			s.plays("c2.2", turn{asked: 700, granted: 710, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 850, releasing: 950, released: 952, token: 21})
			s.dies("c2.2", 800)
		},
		"one is killed before it hears of its grant": func(s *script) {
			election := client.Prefix + "election/0"
			s.plays("c2.2", turn{op: journal.Campaign, name: election, value: "dead", asked: 700})
			s.dies("c2.2", 720)
			s.call("c3.1", 750, 760, journal.Event{Kind: journal.Looking, Name: election},
				journal.Event{Kind: journal.Saw, Name: election, Value: "dead", Token: 20})
		},
		"an operator ends a session": func(s *script) {
			s.Strikes = append(s.Strikes, journal.Strike{Client: 1, Life: "c2.1", Ended: true, From: ms(800), Done: ms(801), To: ms(801)})
			s.plays("c2.1", turn{asked: 700, granted: 710, lost: 900, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 810, releasing: 850, released: 852, token: 21})
		},
		"an operator removes an entry": func(s *script) {
			s.Strikes = append(s.Strikes, journal.Strike{Client: -1, Name: mutexName, Token: 20, From: ms(800), Done: ms(801), To: ms(801)})
			s.plays("c2.1", turn{asked: 700, granted: 710, releasing: 900, released: 901, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 810, releasing: 850, released: 852, token: 21})
		},
		"an operator removes a writer's entry, who then downgrades in vain": func(s *script) {
			name := client.Prefix + "rwmutex/0"
			s.Strikes = append(s.Strikes, journal.Strike{Client: -1, Name: name, Token: 20, From: ms(800), Done: ms(801), To: ms(801)})
			s.plays("c2.1", turn{name: name, asked: 700, granted: 710, downgrading: 850, downgraded: 852, downgradeError: "lost", token: 20})
			s.plays("c3.1", turn{op: journal.RLock, name: name, asked: 720, granted: 810, releasing: 870, released: 872, token: 21})
		},
		"somebody joins anew with another lease": func(s *script) {
			s.note("c2.1", journal.Event{At: ms(657), Kind: journal.Leased})
			s.plays("c2.1", turn{asked: 650, seen: 660, granted: 900, releasing: 950, released: 952, token: 22})
			s.Sightings = append(s.Sightings, Sighting{ms(655), mutexName, 20, "c2.1", s.ids["c2.1"]})
		},
		"somebody joins anew after an operator has removed its entry": func(s *script) {
			s.Strikes = append(s.Strikes, journal.Strike{Client: -1, Name: mutexName, Token: 20, From: ms(656), Done: ms(657), To: ms(657)})
			s.plays("c2.1", turn{asked: 650, seen: 660, granted: 900, releasing: 950, released: 952, token: 22})
			s.Sightings = append(s.Sightings, Sighting{ms(655), mutexName, 20, "c2.1", s.ids["c2.1"]})
		},
		"an operator's victim cannot be told, as it is cut off": func(s *script) {
			s.Strikes = append(s.Strikes, journal.Strike{Client: 1, Life: "c2.1", Ended: true, From: ms(800), Done: ms(801), To: ms(801)},
				journal.Strike{Client: 1, Life: "c2.1", Cut: true, From: ms(700), Done: ms(701), To: ms(3000)})
			s.plays("c2.1", turn{asked: 700, granted: 710, lost: 3500, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 810, releasing: 850, released: 852, token: 21})
		},
		"a release whose reply was lost": func(s *script) {
			s.plays("c2.1", turn{asked: 700, granted: 710, releasing: 800, released: 1500, releaseError: "lost", token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 810, releasing: 850, released: 852, token: 21})
		},
		"a crash brings back who had just released": func(s *script) {
			s.Undoes = true
			s.leadsAgain(journal.Strike{Client: -1, Crash: true, From: ms(803), Done: ms(804), To: ms(900)})
		},
		"a restart that ends all sessions is seen by somebody else first": func(s *script) {
			election := client.Prefix + "election/0"
			s.Quiet = true
			s.Strikes = append(s.Strikes, journal.Strike{Client: -1, Crash: true, Leader: true, From: ms(720), Done: ms(721), To: ms(740)})
			s.plays("c2.1", turn{op: journal.Campaign, name: election, value: "a", asked: 700, granted: 710, lost: 900, token: 20})
			s.call("c3.1", 750, 760, journal.Event{Kind: journal.Looking, Name: election}, journal.Event{Kind: journal.Saw, Name: election})
		},
		"one that gave up and was seen to lead": func(s *script) {
			election := client.Prefix + "election/0"
			s.plays("c2.1", turn{op: journal.Campaign, name: election, value: "late", asked: 700, gaveUp: 755})
			s.call("c3.1", 750, 760, journal.Event{Kind: journal.Looking, Name: election},
				journal.Event{Kind: journal.Saw, Name: election, Value: "late", Token: 20})
		},
		"one that was seen to lead lost its lease and joined again": func(s *script) {
			election := client.Prefix + "election/0"
			s.plays("c2.1", turn{op: journal.Campaign, name: election, value: "again", asked: 700, granted: 900, releasing: 920, released: 921, token: 25})
			s.call("c3.1", 750, 760, journal.Event{Kind: journal.Looking, Name: election},
				journal.Event{Kind: journal.Saw, Name: election, Value: "again", Token: 20})
		},
		"calls fail while there is trouble": func(s *script) {
			election := client.Prefix + "election/0"
			id := s.plays("c2.1", turn{op: journal.Campaign, name: election, value: "a", asked: 700, granted: 710, releasing: 720, released: 721, releaseError: "lost", token: 20})
			s.call("c2.1", 715, 716, journal.Event{Kind: journal.Proclaiming, Hold: id, Name: election, Token: 20, Value: "b"},
				journal.Event{Kind: journal.Proclaimed, Name: election, Error: "lost"})
			s.call("c3.1", 900, healed+100, journal.Event{Kind: journal.Looking, Name: election}, journal.Event{Kind: journal.Saw, Name: election, Error: "deadline"})
			s.call("c3.1", end-1, end+1, journal.Event{Kind: journal.Looking, Name: election}, journal.Event{Kind: journal.Saw, Name: election, Error: "canceled"})
		},
		"what was lost cannot be used or released, though all is healed": func(s *script) {
			election := client.Prefix + "election/0"
			id := s.plays("c2.1", turn{op: journal.Campaign, name: election, value: "a", asked: 700, granted: 710, releasing: healed + 110, released: healed + 111,
				lost: healed + 109, releaseError: "lost", token: 20})
			s.call("c2.1", healed+100, healed+108, journal.Event{Kind: journal.Proclaiming, Hold: id, Name: election, Token: 20, Value: "b"},
				journal.Event{Kind: journal.Proclaimed, Name: election, Error: "lost"})
		},
		"entries that may be there": func(s *script) {
			lost := s.plays("c2.1", turn{asked: 810, granted: 820, releasing: 830, released: 832, releaseError: "lost", token: 20})
			released := s.plays("c2.1", turn{asked: healed + 700, granted: healed + 710, releasing: healed + 800, released: healed + 802, token: 21})
			held := s.plays("c3.1", turn{asked: healed + 840, granted: healed + 850, token: 22})
			s.Watchers = Watchers{Before: 2, Busy: 60, Most: 60, After: 2}
			s.Standing = append(s.Standing, Sighting{ms(healed + 6801), mutexName, 21, "c2.1", released}, Sighting{ms(9000), mutexName, 20, "c2.1", lost},
				Sighting{ms(9000), mutexName, 22, "c3.1", held}, Sighting{ms(9000), mutexName, 23, "", 0}, Sighting{ms(9000), mutexName, 24, "c9.1", 7})
		},
		"a pool that grows just as its keeper joins": func(s *script) {
			pool := client.Prefix + "pool/0"
			s.call("c3.1", 15, 25, journal.Event{Kind: journal.Resizing, Name: pool, N: 5}, journal.Event{Kind: journal.Resized})
			s.plays("keeper", turn{op: journal.Acquire, name: pool, n: 1, asked: 10, granted: 20, releasing: 1900, released: 1902, token: 1})
			s.plays("c1.1", turn{op: journal.Acquire, name: pool, n: 4, asked: 700, granted: 710, releasing: 800, released: 802, token: 20})
		},
		"a pool that nobody kept": func(s *script) {
			pool := client.Prefix + "pool/0"
			s.plays("c2.1", turn{op: journal.Acquire, name: pool, n: 4, asked: 700, granted: 710, releasing: 800, released: 802, token: 20})
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			s := peaceful(t)
			s.Lives = append(s.Lives, Life{Name: "c2.2", Client: 1})
			s.dies("c2.2", 1000) // or it would have to be served
			do(s)
			if found := s.violated(t); len(found) > 0 {
				t.Errorf("found %v", found)
			}
		})
	}
}

// Who looks at a failure needs more than that there is one.
func TestIllegalHistoryIsDrawn(t *testing.T) {
	t.Parallel()
	s := peaceful(t)
	s.plays("c2.1", turn{asked: 700, granted: 710, releasing: 800, released: 802, token: 20})
	s.plays("c3.1", turn{asked: 720, granted: 750, releasing: 850, released: 852, token: 21})
	s.violated(t)
	pages, err := filepath.Glob(filepath.Join(s.Dir, "history-*.html"))
	if err != nil || len(pages) != 1 {
		t.Errorf("drawn are %q, %v; want one page", pages, err)
	}
}

// What a run has shown until it was broken off counts, and what became of everybody
// then does not.
func TestRunThatWasBrokenOffIsCheckedUpToThen(t *testing.T) {
	t.Parallel()
	s := newScript(t, "c1.1", "c2.1", "c3.1")
	s.Healed, s.End, s.Cut = 0, ms(900), ms(900)
	s.Trouble, s.Left = []string{"c1.1 does not end"}, []string{"torture/mutex/0/x"}
	s.plays("c1.1", turn{asked: 100, granted: 110, releasing: 905, released: 910, releaseError: "the store is gone", token: 10})
	s.note("c2.1", journal.Event{At: ms(950), Kind: journal.Closed, Error: "stuck"})
	s.Strikes = append(s.Strikes, journal.Strike{Client: 0, Life: "c1.1", Ended: true, From: ms(800), Done: ms(801), To: ms(801)}) // it had no time to see that
	if found := s.violated(t); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	s.plays("c2.1", turn{asked: 200, granted: 210, token: 11})
	if found := s.violated(t); len(found["exclusion"]) == 0 {
		t.Errorf("two hold the mutex, and found is %v", found)
	}
	s.End = ms(850) // everybody had been asked to end, and had been at peace before
	s.Healed = ms(-20_000)
	if found := s.violated(t); len(found["progress"]) == 0 || len(found["clean"]) > 0 {
		t.Errorf("nobody was served with anything, and found is %v", found)
	}
}

func TestRunThatShowsNothingIsVacuous(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kept bool
		lose string
		want []string
	}{
		"all":                    {true, "", nil},
		"no pool kept":           {false, "", []string{"history of pools"}},
		"nothing seen in queues": {true, "sightings", []string{"fifo", "place"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := peaceful(t)
			if tc.kept {
				s.plays("keeper", turn{op: journal.Acquire, name: client.Prefix + "pool/1", n: 1, asked: 10, granted: 20, releasing: 9900, released: 9902, token: 1})
			}
			if tc.lose != "" {
				s.Sightings = nil
			}
			c, err := Open(s.Run)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Vacuous(c.Check()); !slices.Equal(got, tc.want) {
				t.Errorf("vacuous are %q, want %q", got, tc.want)
			}
		})
	}
}

func TestSummaryTellsHowLongTheDeadWereWaitedFor(t *testing.T) {
	t.Parallel()
	s := peaceful(t)
	s.Lives = append(s.Lives, Life{Name: "c2.2", Client: 1})
	s.plays("c2.2", turn{asked: 700, granted: 710, token: 20})
	s.dies("c2.2", 800)
	s.plays("c3.1", turn{asked: 720, granted: 1850, releasing: 1950, released: 1952, token: 21})
	c, err := Open(s.Run)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Summary().HolderDied; !slices.Equal(got.Times, []time.Duration{1050 * time.Millisecond}) || !slices.Equal(got.Alone, got.Times) {
		t.Errorf("HolderDied = %+v, want once 1.05s", got)
	}
}

func TestSummaryTellsLeadersThatWereKilledFromThoseInOtherTrouble(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		strike               journal.Strike
		killed, moved, froze int
	}{
		"killed":      {journal.Strike{Crash: true}, 1, 0, 0},
		"handed over": {journal.Strike{Moved: true}, 0, 1, 0},
		"frozen":      {journal.Strike{Frozen: true}, 0, 0, 1},
		"cut off":     {journal.Strike{}, 0, 0, 0},
		"disk full":   {journal.Strike{Crash: true, Full: true}, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := peaceful(t)
			tc.strike.Client, tc.strike.Leader = -1, true
			tc.strike.From, tc.strike.Done, tc.strike.To = ms(150), ms(151), ms(152)
			s.Strikes = append(s.Strikes, tc.strike)
			c, err := Open(s.Run)
			if err != nil {
				t.Fatal(err)
			}
			got := c.Summary()
			if len(got.LeaderKilled.Times) != tc.killed || len(got.LeaderMoved.Times) != tc.moved || len(got.LeaderFrozen.Times) != tc.froze {
				t.Errorf("killed %v, moved %v, frozen %v", got.LeaderKilled, got.LeaderMoved, got.LeaderFrozen)
			}
		})
	}
}

func TestLongestGapIsUpToTheEndAndOfEachKind(t *testing.T) {
	t.Parallel()
	s := newScript(t, "c1.1")
	for i, kind := range client.Kinds {
		if kind != client.Election {
			s.plays("c1.1", turn{name: client.Prefix + kind + "/0", n: 1, asked: 10, granted: 3000, releasing: 3001, released: 3002, token: uint64(i + 1)})
		}
	}
	c, err := Open(s.Run)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Summary(); got.Gap != end*time.Millisecond || got.GapKind != client.Election {
		t.Errorf("without any election the longest gap is %v of %s", got.Gap, got.GapKind)
	}
	s.plays("c1.1", turn{op: journal.Campaign, name: client.Prefix + "election/0", asked: 10, granted: 2000, releasing: 2001, released: 2002, token: 1})
	if c, err = Open(s.Run); err != nil {
		t.Fatal(err)
	}
	if got := c.Summary(); got.Gap != (end-2000)*time.Millisecond || got.GapKind != client.Election {
		t.Errorf("from the last election to the end there are 8 s, and the longest gap is %v of %s", got.Gap, got.GapKind)
	}
}

// Who is first seen in the queue after it was granted was there by the grant.
func TestWhoIsSeenLateWasInTheQueueByTheGrant(t *testing.T) {
	t.Parallel()
	s := peaceful(t)
	s.plays("c2.1", turn{asked: 700, granted: 710, seen: 790, releasing: 800, released: 802, token: 21})
	s.plays("c3.1", turn{asked: 750, granted: 805, releasing: 850, released: 852, token: 20})
	if found := s.violated(t); len(found["fifo"]) == 0 {
		t.Errorf("who asked after another was granted has the lower token, and found is %v", found)
	}
}

func TestPictureShowsHoldersAndFaults(t *testing.T) {
	t.Parallel()
	s := peaceful(t)
	s.Strikes = append(s.Strikes, journal.Strike{Client: -1, Text: "kill m1 & co", From: ms(650), Done: ms(651), To: ms(700)})
	c, err := Open(s.Run)
	if err != nil {
		t.Fatal(err)
	}
	file, err := c.Draw([]Violation{{Name: mutexName, At: ms(500)}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"<svg", "kill m1 &amp; co", "c3.1 mutex", "token 13", "loss seen", "</svg>"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the picture does not show %q", part)
		}
	}
}
