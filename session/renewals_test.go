package session

import (
	"testing"
	"time"
)

// TestRenewalCountsOnceALaterOneProvesIt: where the store's clock learns of
// renewals late, trust counts from one that must have arrived.
func TestRenewalCountsOnceALaterOneProvesIt(t *testing.T) {
	begin := time.Now()
	at := func(s int) window {
		return window{end: begin.Add(time.Duration(s) * time.Second), asleep: time.Duration(s)}
	}
	for _, c := range []struct {
		name string
		lag  time.Duration
		sent []int // in the order in which they are acknowledged
		want []int // which one counts then; -1: none
	}{
		{"no lag", 0, []int{1, 2, 3}, []int{1, 2, 3}},
		{"no lag, out of order", 0, []int{3, 1, 2, 4}, []int{3, 1, 2, 4}},
		{"some lag", 2 * time.Second, []int{1, 2, 3, 4, 10}, []int{-1, 0, 1, 2, 4}},
		{"some lag, out of order", 2 * time.Second, []int{5, 3, 8, 4, 6}, []int{0, 0, 5, -1, 4}},
	} {
		rs := renewals{at(0)}
		for i, s := range c.sent {
			got, ok := rs.proven(at(s), c.lag)
			switch {
			case ok != (c.want[i] >= 0):
				t.Errorf("%s: after %v, one counts: %t", c.name, c.sent[:i+1], ok)
			case ok && got != at(c.want[i]):
				t.Errorf("%s: after %v, that of %v counts, want %d", c.name, c.sent[:i+1], got.end.Sub(begin), c.want[i])
			}
		}
		if n := len(rs); n > 5 {
			t.Errorf("%s: %d renewals are remembered", c.name, n)
		}
	}
}
