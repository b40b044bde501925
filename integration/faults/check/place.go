package check

import (
	"fmt"
	"slices"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// place checks that who was seen in a queue kept that place: it was granted under the
// same token, or not at all, unless its lease was lost or an operator removed its
// entry. Who joins anew without need is overtaken by all who came meanwhile, and may
// have left an entry behind that nobody knows of.
func (c *Case) place() (looked int, found []Violation) {
	seen := map[acquisition][]Sighting{}
	for _, s := range c.Sightings {
		if s.Life != "" {
			seen[acquisition{s.Life, s.ID}] = append(seen[acquisition{s.Life, s.ID}], s)
		}
	}
	for _, t := range c.Tries {
		places := seen[acquisition{t.Life.Name, t.ID}]
		if len(places) == 0 {
			continue
		}
		looked++
		if t.Granted() {
			places = append(places, Sighting{At: t.Returned, Name: t.Name, Token: t.Token})
		}
		first := places[0]
		for _, other := range places[1:] {
			if other.Token != first.Token && !c.displaced(t, places) {
				found = append(found, Violation{t.Name, other.At, fmt.Sprintf("lost its place, token %d at %s, for token %d at %s: %s",
					first.Token, c.since(first.At), other.Token, c.since(other.At), c.story(t))})
				break
			}
		}
	}
	return looked, found
}

// displaced tells whether somebody who waited may have lost a place: its session got
// another lease meanwhile, or an operator removed the entry.
func (c *Case) displaced(t *Try, places []Sighting) bool {
	for i := range t.Life.Events {
		if e := &t.Life.Events[i]; e.Kind == journal.Leased && e.At > t.Called && (t.Returned == 0 || e.At < t.Returned) {
			return true
		}
	}
	return slices.ContainsFunc(c.Strikes, func(s journal.Strike) bool {
		return s.Token != 0 && s.Name == t.Name && slices.ContainsFunc(places, func(p Sighting) bool { return p.Token == s.Token })
	})
}
