package nemesis

import (
	"fmt"
	"slices"
	"testing"
)

func TestPartitionsLeaveWhatTheirNamesSay(t *testing.T) {
	t.Parallel()
	for _, members := range []int{3, 5} {
		for pick := range uint64(members) {
			leader := int(pick)
			t.Run(fmt.Sprint(members, "_", pick), func(t *testing.T) {
				for k, want := range map[Kind]struct{ sends, hears bool }{CutLeaderUp: {false, true}, CutLeaderDown: {true, false}, CutLeader: {false, false}} {
					cut := ways(k, pick, leader, members)
					for i := range members {
						if i == leader {
							continue
						}
						if slices.Contains(cut, pair{leader, i}) == want.sends || slices.Contains(cut, pair{i, leader}) == want.hears {
							t.Errorf("%q cuts %v", k, cut)
						}
					}
					if slices.ContainsFunc(cut, func(p pair) bool { return p.from != leader && p.to != leader }) {
						t.Errorf("%q cuts others: %v", k, cut)
					}
				}
				seen := views(ways(Ring, pick, leader, members), members)
				for i, view := range seen {
					if len(view) <= members/2 {
						t.Errorf("%d sees no majority, but %v", i, view)
					}
				}
				if seen[0] == nil || !slices.ContainsFunc(seen, func(v []int) bool { return !slices.Equal(v, seen[0]) }) {
					t.Errorf("all see the same: %v", seen)
				}
			})
		}
	}
}

// views is whom each member sees, itself included, both ways.
func views(cut []pair, members int) [][]int {
	all := make([][]int, members)
	for i := range members {
		for k := range members {
			if !slices.Contains(cut, pair{i, k}) && !slices.Contains(cut, pair{k, i}) {
				all[i] = append(all[i], k)
			}
		}
	}
	return all
}
