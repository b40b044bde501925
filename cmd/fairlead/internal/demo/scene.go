package demo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// An actor is a replica as the audience sees it: what its journal says, and what
// the director has done to it.
type actor struct {
	name   string
	pid    int
	fate   fate
	grants map[string]uint64 // by name, the token
	places map[string]uint64 // by name, the token where it waits; 0 before it saw itself there
	served map[string]int    // by name, how often it has had it
	wrote  uint64            // the token of its last write that was accepted
	beaten uint64            // the token of its last write that was refused
}

type fate string

const (
	alive  fate = ""
	killed fate = "killed"
	frozen fate = "frozen"
)

// A scene is all of them.
type scene struct {
	actors []*actor
	writes int
}

func (s *scene) add(name string, pid int) {
	s.actors = append(s.actors, &actor{name: name, pid: pid, grants: map[string]uint64{}, places: map[string]uint64{}, served: map[string]int{}})
}

func (s *scene) actor(name string) *actor {
	i := slices.IndexFunc(s.actors, func(a *actor) bool { return a.name == name })
	return s.actors[i]
}

// apply takes in what a replica has written down.
func (s *scene) apply(who string, e Event) {
	a := s.actor(who)
	switch e.Kind {
	case Asked:
		a.places[e.Name] = 0
	case Queued:
		if _, waiting := a.places[e.Name]; waiting {
			a.places[e.Name] = e.Token
		}
	case Granted:
		delete(a.places, e.Name)
		a.grants[e.Name] = e.Token
		a.served[e.Name]++
	case Releasing, Lost:
		delete(a.grants, e.Name)
	case GaveUp:
		delete(a.places, e.Name)
	case Wrote:
		a.wrote = e.Token
		s.writes++
	case Refused:
		a.beaten = e.Token
	}
}

// holders returns who holds a name, by token. A frozen one that has been replaced
// still believes that it does: the newest tokens count, as many as can hold.
func (s *scene) holders(name string) []*actor {
	var all []*actor
	for _, a := range s.actors {
		if _, holds := a.grants[name]; holds && a.fate != killed {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b *actor) int { return cmp.Compare(a.grants[name], b.grants[name]) })
	return all[max(0, len(all)-capacity(name)):]
}

// capacity is how many can hold a name at once.
func capacity(name string) int {
	if name == permitName {
		return permits
	}
	return 1
}

// leader returns who leads, or nil.
func (s *scene) leader() *actor {
	if leaders := s.holders(leaderName); len(leaders) > 0 {
		return leaders[0]
	}
	return nil
}

// queue returns who waits for a name, first come first.
func (s *scene) queue(name string) []*actor {
	var waiting []*actor
	for _, a := range s.actors {
		if _, waits := a.places[name]; waits && a.fate == alive {
			waiting = append(waiting, a)
		}
	}
	slices.SortStableFunc(waiting, func(a, b *actor) int {
		return cmp.Compare(a.places[name]-1, b.places[name]-1) // 0, not yet known, comes last
	})
	return waiting
}

// line names those who wait.
func (s *scene) line(name string) string { return roll(s.queue(name)) }

func roll(actors []*actor) string {
	var names []string
	for _, a := range actors {
		names = append(names, a.name)
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

// every reports whether the condition holds for each replica that is alive.
func (s *scene) every(condition func(*actor) bool) bool {
	return !slices.ContainsFunc(s.actors, func(a *actor) bool { return a.fate == alive && !condition(a) })
}

// panel describes the scene in a line for each replica.
func (s *scene) panel() []string {
	const row = "  %-4s %-14s %-22s %-16s %s" // 80 columns
	lines := []string{"", fmt.Sprintf(row, "", "process", "leadership", "lock", "permit")}
	for _, a := range s.actors {
		process := fmt.Sprint(a.pid, " ", a.fate)
		if a.fate == killed {
			lines = append(lines, fmt.Sprintf("  %-4s %s", a.name, process))
			continue
		}
		lines = append(lines, fmt.Sprintf(row, a.name, process,
			s.standing(a, leaderName, "LEADS"), s.standing(a, lockName, "HOLDS"), s.standing(a, permitName, "HAS ONE")))
	}
	return append(lines, fmt.Sprintf("  %d of %d permits in use; register: %d writes accepted", len(s.holders(permitName)), permits, s.writes))
}

// standing says how an actor stands with a name.
func (s *scene) standing(a *actor, name, verb string) string {
	if token, holds := a.grants[name]; holds {
		if slices.Contains(s.holders(name), a) {
			return fmt.Sprintf("%s, token %d", verb, token)
		}
		return fmt.Sprintf("believes so, token %d", token)
	}
	if i := slices.Index(s.queue(name), a); i >= 0 {
		return fmt.Sprintf("waits, number %d", i+1)
	}
	return ""
}
