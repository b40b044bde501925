package check

import (
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// A store without space may refuse newcomers; but it has to say why, and only then.
func TestOnlyAStoreWithoutSpaceMayRefuseForWantOfIt(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		full  bool
		error string
		legal bool
	}{
		"full":                      {true, "database space exceeded", true},
		"full, with another reason": {true, "no luck", false},
		"not full":                  {false, "database space exceeded", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := peaceful(t)
			s.Strikes = append(s.Strikes, journal.Strike{Client: -1, Full: tc.full, From: ms(690), Done: ms(695), To: ms(800)})
			id := s.plays("c2.1", turn{asked: 700, token: 20})
			s.note("c2.1", journal.Event{At: ms(710), Kind: journal.Failed, ID: id, Error: tc.error})
			if found := s.violated(t)["errors"]; (len(found) == 0) != tc.legal {
				t.Errorf("found %v", found)
			}
		})
	}
}

// What a step of the store's clock forward waives is that a holder stops before its
// successor starts, for a TTL. Nothing else.
func TestStepOfTheClockVoidsOneGuaranteeForATTL(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		clock  time.Duration
		ending int64 // of the hold that the step has ended
		token  uint64
		legal  bool
	}{
		"forward":                     {time.Second, 900, 21, true},
		"back":                        {-time.Second, 900, 21, false},
		"forward, and long ago":       {time.Second, 4500, 21, false},
		"forward, and an older token": {time.Second, 900, 19, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := peaceful(t)
			s.Strikes = append(s.Strikes, journal.Strike{Client: -1, Clock: tc.clock, From: ms(720), Done: ms(721), To: ms(721)})
			s.plays("c2.1", turn{asked: 700, granted: 710, releasing: tc.ending, released: tc.ending + 2, token: 20})
			s.plays("c3.1", turn{asked: 715, granted: tc.ending - 50, releasing: tc.ending + 50, released: tc.ending + 52, token: tc.token})
			if found := s.violated(t); (len(found) == 0) != tc.legal {
				t.Errorf("found %v", found)
			}
		})
	}
}

// A leader that runs again may end sessions of holders who cannot know. But a hold that
// ended in another way, or at another time, is not excused.
func TestLeaderThatRunsAgainEndsSessions(t *testing.T) {
	t.Parallel()
	const ended = "lost: the lease was ended at the store (token 20)"
	for name, tc := range map[string]struct {
		leader bool
		froze  int64
		ending int64 // of the hold of which the session was ended
		error  string
		token  uint64
		legal  bool
	}{
		"as it runs again":                 {true, 3500, 4250, ended, 21, true},
		"as it runs again, an older token": {true, 3500, 4250, ended, 19, false},
		"long after":                       {true, 3500, 6000, ended, 21, false},
		"of a member that did not lead":    {false, 3500, 4250, ended, 21, false},
		"after a moment":                   {true, 300, 1050, ended, 21, false},
		"with another loss":                {true, 3500, 4250, "lost: the lease could not be renewed in time (token 20)", 21, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := peaceful(t)
			s.Healed = ms(7000)
			s.Lives[0].Events, s.Lives[1].Events, s.Lives[2].Events, s.Sightings, s.Writes = nil, nil, nil, nil, nil
			s.Strikes = append(s.Strikes, journal.Strike{Client: -1, Frozen: true, Leader: tc.leader, From: ms(700), Done: ms(701), To: ms(700 + tc.froze)})
			s.plays("c2.1", turn{asked: 700, granted: 710, releasing: tc.ending, released: tc.ending + 2, token: 20, releaseError: tc.error})
			s.plays("c3.1", turn{asked: 715, granted: tc.ending - 50, releasing: tc.ending + 50, released: tc.ending + 52, token: tc.token})
			found := s.violated(t)
			if bad := len(found["exclusion"]) + len(found["history"]); (bad == 0) != tc.legal {
				t.Errorf("found %v", found)
			}
		})
	}
}

// One that was stopped and is killed before it could say that it has lost was no holder
// meanwhile; one that was killed later was.
func TestFrozenHolderThatIsKilledHeldUntilItWasFrozen(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		killed int64
		legal  bool
	}{"right when it runs again": {905, true}, "later": {1500, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := peaceful(t)
			s.Lives = append(s.Lives, Life{Name: "c2.2", Client: 1})
			s.Strikes = append(s.Strikes, journal.Strike{Client: 1, Life: "c2.2", Frozen: true, From: ms(720), Done: ms(721), To: ms(900)})
			s.dies("c2.2", tc.killed)
			s.plays("c2.2", turn{asked: 700, granted: 710, token: 20})
			s.plays("c3.1", turn{asked: 720, granted: 850, releasing: 950, released: 952, token: 21})
			if found := s.violated(t); (len(found) == 0) != tc.legal {
				t.Errorf("found %v", found)
			}
		})
	}
}

func TestOnlyAnOldPasswordMayBeRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		changed bool
		error   string
		legal   bool
	}{
		"changed":                      {true, "WRONGPASS invalid username-password pair", true},
		"changed, with another reason": {true, "no luck", false},
		"not changed":                  {false, "password authentication failed", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := peaceful(t)
			s.Strikes = append(s.Strikes, journal.Strike{Client: -1, Refused: tc.changed, From: ms(690), Done: ms(695), To: ms(800)})
			id := s.plays("c2.1", turn{asked: 700, token: 20})
			s.note("c2.1", journal.Event{At: ms(710), Kind: journal.Failed, ID: id, Error: tc.error})
			if found := s.violated(t)["errors"]; (len(found) == 0) != tc.legal {
				t.Errorf("found %v", found)
			}
		})
	}
}
