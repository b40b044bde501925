package check

import (
	"testing"

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
