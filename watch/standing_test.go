package watch

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fairlead-go/fairlead/session/driver"
)

// What onlookers are shown is what the contenders go by: the one pass over a queue
// says of each entry what its rule says to its owner.
func TestStandingIsWhatTheRulesSay(t *testing.T) {
	makers := [][]func() driver.Entry{
		{mutexEntry, foreignEntry},
		{writer, reader, reader, mutexEntry},
		{func() driver.Entry { return permitEntry(1) }, func() driver.Entry { return permitEntry(3) },
			func() driver.Entry { return permitEntry(9) }, func() driver.Entry { return stamped(2) },
			func() driver.Entry { return garbledPermit("much") }},
		{mutexEntry, reader, func() driver.Entry { return permitEntry(1) }, func() driver.Entry { return stamped(1) }},
	}
	random := rand.New(rand.NewPCG(1, 2))
	told := map[string]int{}
	for range 20000 {
		q := driver.Queue{Limit: driver.Limit{N: random.Int64N(6), Through: random.Uint64N(4)}}
		kind := makers[random.IntN(len(makers))]
		for i := range random.IntN(9) {
			e := kind[random.IntN(len(kind))]()
			if i == 0 && random.IntN(4) == 0 {
				e = downgraded() // nobody is ahead of one that held alone
			}
			e.Token = uint64(i + 1)
			q.Entries = append(q.Entries, e)
		}
		has, waitsFor := standing(q)
		for i, e := range q.Entries {
			on, err := RuleOf(e.Mode)(driver.View{Me: e, Ahead: q.Entries[:i], Limit: q.Limit})
			var tokens []uint64
			for _, j := range waitsFor[i] {
				tokens = append(tokens, q.Entries[j].Token)
			}
			if has[i] != (err == nil && !blocked(on)) || !slices.Equal(tokens, obstacles(on)) {
				t.Fatalf("entry %d of %+v: has its turn: %t, waits for %v; the rule says %v, %v", i, q, has[i], tokens, obstacles(on), err)
			}
			if mayHide(q, i) {
				told["though others are hidden"]++
				hidden, _ := RuleOf(e.Mode)(driver.View{Me: e, Ahead: q.Entries[i-1 : i], Hidden: i - 1, Limit: q.Limit})
				if !slices.Equal(obstacles(hidden), obstacles(on)) || hidden.Limit != on.Limit {
					t.Fatalf("entry %d of %+v waits for %v where others are hidden, and else for %v", i, q, obstacles(hidden), obstacles(on))
				}
			}
			switch {
			case err != nil:
				told["never"]++
			case has[i]:
				told["holds"]++
			case on.Limit:
				told["for all"]++
			default:
				told["for one"]++
			}
		}
	}
	for _, what := range []string{"never", "holds", "for all", "for one", "though others are hidden"} {
		if told[what] < 500 {
			t.Errorf("of the cases of the kind %q there were only %d", what, told[what])
		}
	}
}

// mayHide tells whether a store may show entry i the nearest ahead alone: driver.View.Hidden.
func mayHide(q driver.Queue, i int) bool {
	if i < 2 || int64(i-1) < q.Limit.N || slices.ContainsFunc(q.Entries[:i+1], func(e driver.Entry) bool { return e.Mode != driver.Permit }) {
		return false
	}
	nearest := q.Entries[i-1]
	return !permitOf(nearest).granted && nearest.Token > q.Limit.Through
}
