package sim

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
)

var full = flag.Bool("full", false, "explore the scenes in full, and not just the first schedules of each")

const (
	// few bounds the schedules of a scene, unless -full is given.
	few = 500

	// many bounds those of a scene that is too large to be explored in full.
	many = 10_000

	// all is more than any other scene has.
	all = 1 << 30
)

// explored explores a scene, in bubbles of some schedules each.
func explored(t *testing.T, p *product, sc scene, tr trouble, max int) (sum exploration) {
	defer func() {
		if e := recover(); e != nil {
			sum.err = fmt.Errorf("the bubble: %v", e)
		}
	}()
	var next []int
	for sum.schedules < max {
		var e exploration
		synctest.Test(t, func(*testing.T) { e, next = explore(p, sc, tr, min(1000, max-sum.schedules), next) })
		sum.schedules += e.schedules
		sum.steps += e.steps
		sum.complete, sum.err, sum.choices, sum.journal = e.complete, e.err, e.choices, e.journal
		if e.complete || e.err != nil {
			break
		}
	}
	return sum
}

// TestEveryOrder plays the scenes in every order of their calls to the store: as it
// is, and with each of the calls being the one whose reply is lost. Of what else may
// go wrong it plays as many orders as time permits.
func TestEveryOrder(t *testing.T) {
	for _, sc := range scenes {
		for _, tr := range []trouble{noTrouble, lostReply, lateCall, endedLease} {
			t.Run(fmt.Sprintf("%v: %s, %v", sc.kind, sc.name, tr), func(t *testing.T) {
				t.Parallel()
				bound := few
				switch {
				case *full && sc.exhausts(tr):
					bound = all
				case *full:
					bound = many
				}
				e := explored(t, sound, sc, tr, bound)
				if e.err != nil {
					for _, line := range e.journal {
						t.Log(line)
					}
					t.Fatalf("schedule %d, %v: %v", e.schedules, e.choices, e.err)
				}
				if bound == all && !e.complete {
					t.Errorf("only %d schedules were played", e.schedules)
				}
				t.Logf("%d schedules of %.0f steps, all there are: %v", e.schedules, float64(e.steps)/float64(e.schedules), e.complete)
			})
		}
	}
}

// exhausts tells whether each order of the scene with that trouble has to be played.
func (sc scene) exhausts(t trouble) bool {
	return t == noTrouble || t == lostReply && !sc.large
}
