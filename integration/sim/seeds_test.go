package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

var (
	seeds  = flag.Int("seeds", 2000, "how many seeds to try")
	from   = flag.Uint64("from", 1, "the first of them")
	replay = flag.Int64("seed", -1, "the one seed to try, verbosely")
)

// bubble runs one schedule in a bubble of its own.
func bubble(t *testing.T, seed uint64, p *product, k kind, dir string) (r result) {
	defer func() {
		if e := recover(); e != nil {
			r.err = fmt.Errorf("the bubble: %v", e)
		}
	}()
	synctest.Test(t, func(*testing.T) { r = play(seed, p, k, dir) })
	return r
}

// TestSeeds plays the schedules of many seeds, or that of one, with all that happens
// in it.
func TestSeeds(t *testing.T) {
	if *replay >= 0 {
		again(t, uint64(*replay))
		return
	}
	var next, events, failed atomic.Int64
	t.Run("all", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(i+1), func(t *testing.T) {
				t.Parallel()
				for failed.Load() < enough {
					n := next.Add(1) - 1
					if n >= int64(*seeds) {
						return
					}
					r := bubble(t, *from+uint64(n), sound, -1, "")
					events.Add(int64(r.events))
					if r.err != nil {
						failed.Add(1)
						t.Errorf("seed %d, %v: %v\nreplay it with: make sim SEED=%d", *from+uint64(n), r.kind, r.err, *from+uint64(n))
					}
				}
			})
		}
	})
	t.Logf("%d seeds, with %d events each", *seeds, events.Load()/max(1, int64(*seeds)))
}

// enough failures end the search for more.
const enough = 5

// again plays the schedule of a seed and prints what happens.
func again(t *testing.T, seed uint64) {
	r := bubble(t, seed, sound, -1, "")
	if r.w != nil {
		r.w.journal.print(os.Stdout)
	}
	if r.err != nil {
		t.Fatalf("seed %d: %v", seed, r.err)
	}
	t.Logf("seed %d: %v, %d events, hash %x", seed, r.kind, r.events, r.hash)
}

// TestOneSeedIsOneSchedule shows that a seed can be replayed.
func TestOneSeedIsOneSchedule(t *testing.T) {
	if *replay >= 0 {
		return
	}
	for seed := *from; seed < *from+uint64(min(*seeds, 500)); seed++ {
		a, b := bubble(t, seed, sound, -1, ""), bubble(t, seed, sound, -1, "")
		if a.hash != b.hash {
			diff(t, a, b)
			t.Fatalf("seed %d: two runs differ", seed)
		}
	}
}

// diff shows where two journals part.
func diff(t *testing.T, a, b result) {
	x, y := a.w.journal.sorted(), b.w.journal.sorted()
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			for k := max(0, i-10); k < i; k++ {
				t.Logf("  %v", x[k])
			}
			for k := i; k < min(i+5, len(x), len(y)); k++ {
				t.Logf("- %v\n", x[k])
				t.Logf("+ %v\n", y[k])
			}
			return
		}
	}
}
