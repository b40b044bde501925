package main

import (
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/nemesis"
	"github.com/fairlead-go/fairlead/integration/faults/plant"
)

// A showing is how a planted bug is shown: where, by which faults and by which checks,
// all of which have to find it.
type showing struct {
	backends []string // the first of them shows it best
	plan     []nemesis.Lane
	checks   []string
	vigil    time.Duration // the most that one holds a vigil; 0: as ever
}

// show has a bug planted and the faults happen that show it; "": none.
func (o *options) show(bug string) {
	how := showings[bug]
	o.plant, o.plan, o.vigil = bug, how.plan, how.vigil
}

// holder picks somebody who holds: if there is one, who holds a vigil, as the last of up
// to three. Multiples of four pick one after the other, whether they hold or not.
const holder = 5

// everybody has the same fault happen to one client after the other.
func everybody(n int, f nemesis.Fault) (lane nemesis.Lane) {
	for i := range n {
		f.Pick = 4 * uint64(i)
		lane = append(lane, f)
	}
	return lane
}

// times repeats a fault.
func times(n int, f nemesis.Fault) nemesis.Lane {
	return slices.Repeat(nemesis.Lane{f}, n)
}

// pause has the queues grow, as somebody who holds does not run for a while.
var pause = times(2, nemesis.Fault{Pause: 200 * time.Millisecond, Kind: nemesis.PauseClient, For: 400 * time.Millisecond, Pick: holder})

var showings = map[string]showing{
	// Each release is repeated later and then hits the same client's next turn.
	plant.Identity: {
		backends: []string{"redis", "etcd", "postgres", "zk"},
		plan:     []nemesis.Lane{pause},
		checks:   []string{"history", "exclusion"},
	},

	// A sound client bears that.
	plant.Repeated: {
		backends: []string{"redis", "etcd", "postgres", "zk"},
		plan:     []nemesis.Lane{pause},
	},

	// Those who wait in the middle of a queue give up all the time.
	plant.Unchecked: {
		backends: []string{"postgres", "etcd", "redis", "zk"},
		plan:     []nemesis.Lane{pause},
		checks:   []string{"history", "exclusion"},
	},

	// The store has had no request since the way up was cut, and the answers to those
	// before it come for as long as they are late.
	plant.Receipt: {
		backends: []string{"redis", "postgres", "etcd"},
		plan:     []nemesis.Lane{times(1, nemesis.Fault{Kind: nemesis.Fade, For: 8 * time.Second, Delay: 1800 * time.Millisecond, Pick: holder})},
		checks:   []string{"history", "loss"},
		vigil:    time.Minute, // long enough to be lost
	},

	// The first in each pool is the keeper, who stays: who waits for it alone, waits.
	plant.OneHolder: {
		backends: []string{"postgres", "etcd", "redis", "zk"},
		plan:     []nemesis.Lane{pause},
		checks:   []string{"progress"},
	},

	// An entry that nobody knows of is removed within a second, and seen until then.
	plant.Orphan: {
		backends: []string{"redis", "etcd", "postgres"},
		plan: []nemesis.Lane{
			everybody(10, nemesis.Fault{Kind: nemesis.LoseReplies, For: 400 * time.Millisecond, Delay: 50 * time.Millisecond}),
		},
		checks: []string{"place"},
	},

	plant.Reader: {
		backends: []string{"postgres", "etcd", "redis", "zk"},
		plan:     []nemesis.Lane{pause},
		checks:   []string{"history", "exclusion"},
	},

	// Who waits for long is cut off when its watch has a past that is compacted.
	plant.Compaction: {
		backends: []string{"etcd"},
		plan: []nemesis.Lane{
			times(8, nemesis.Fault{Pause: 200 * time.Millisecond, Kind: nemesis.Maintain}),
			everybody(20, nemesis.Fault{Pause: 100 * time.Millisecond, Kind: nemesis.Blip}),
		},
		checks: []string{"errors"},
	},
}
