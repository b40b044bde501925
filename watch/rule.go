package watch

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// A Rule decides over a turn, from one's own entry and those ahead of it in the
// queue. It returns no obstacles when the turn has come, else what to wait
// for: when that has left or changed, the rule is asked again. An error, such as
// session.ErrKind, says that the turn can never come.
//
// Entries ahead can only leave or change, and the limit change; a rule must not
// depend on anything else.
type Rule func(v driver.View) (driver.Obstacles, error)

// RuleOf returns the rule that entries of a mode follow.
func RuleOf(mode driver.Mode) Rule {
	switch mode {
	case driver.Shared:
		return Shared
	case driver.Permit:
		return Permit
	}
	return Exclusive
}

// none are the obstacles of one whose turn has come.
var none driver.Obstacles

// blocked reports whether there is something to wait for.
func blocked(on driver.Obstacles) bool { return len(on.Entries) > 0 || on.Limit }

// one is a single entry to wait for.
func one(e driver.Entry) driver.Obstacles { return driver.Obstacles{Entries: []driver.Entry{e}} }

// Exclusive is the rule of a mutex, of an election and of an rwmutex's writers:
// wait for the nearest entry ahead. When that leaves while it waits itself, the
// next one ahead is the nearest.
func Exclusive(v driver.View) (driver.Obstacles, error) {
	if len(v.Ahead) == 0 {
		return none, nil
	}
	nearest := v.Ahead[len(v.Ahead)-1]
	if nearest.Mode == driver.Permit {
		return none, otherKind(nearest)
	}
	return one(nearest), nil
}

// Shared is the rule of an rwmutex's readers: wait for the nearest writer ahead,
// whether it holds or waits.
func Shared(v driver.View) (driver.Obstacles, error) {
	for i := len(v.Ahead) - 1; i >= 0; i-- {
		switch e := v.Ahead[i]; {
		case e.Mode == driver.Permit:
			return none, otherKind(e)
		case !IsShared(e):
			return one(e), nil
		}
	}
	return none, nil
}

// sharedValue is the value of a writer's entry that has become a reader's.
const sharedValue = "shared"

// IsShared reports whether an entry is a reader's: one made as such, or one of a
// writer that was downgraded.
func IsShared(e driver.Entry) bool {
	return e.Mode == driver.Shared || e.Kind == "rwmutex" && e.Value == sharedValue
}

// Downgraded is the value that makes a reader's of a writer's entry.
func Downgraded() string { return sharedValue }

// Permit is the rule of a semaphore: it is my turn once the weights of all ahead
// and mine fit the limit. So who weighs much is not overtaken by who weighs little.
//
// Any holder may be the next to leave, so the first that has to wait waits for
// all of them, and for the limit. Everybody behind waits for the nearest ahead
// that does not hold: to leave, or to be stamped as granted, which makes its
// follower the first. That is the entry right ahead, most often. But where the
// limit was lowered in the very moment in which a turn came, somebody further
// back may have been stamped first, whose leaving nobody must wait for.
//
// A holder is told by its stamp; by a token that the limit says is one's; or, as
// those who were let in at once bear no stamp, by its fitting the limit.
func Permit(v driver.View) (driver.Obstacles, error) {
	if len(v.Ahead) > 0 && v.Ahead[0].Mode != driver.Permit {
		return none, otherKind(v.Ahead[0])
	}
	me := permitOf(v.Me)
	if me.granted || v.Me.Token > 0 && v.Me.Token <= v.Limit.Through {
		return none, nil
	}
	if me.weight > v.Limit.N {
		return none, fmt.Errorf("%w: it is %d now, and %d is asked for", session.ErrLimit, v.Limit.N, me.weight)
	}
	ahead := tallyOf(v.Ahead, v.Hidden, v.Limit)
	switch {
	case ahead.weight <= v.Limit.N-me.weight:
		return none, nil
	case ahead.waiting < 0:
		return driver.Obstacles{Entries: v.Ahead, Limit: true}, nil
	}
	return one(v.Ahead[ahead.waiting]), nil
}

// standing is what the rules say of each entry of a queue, in one pass: whether its
// turn has come, and the indexes of the entries that it waits for otherwise. An
// entry whose turn can never come has neither.
func standing(q driver.Queue) (has []bool, waitsFor [][]int) {
	has, waitsFor = make([]bool, len(q.Entries)), make([][]int, len(q.Entries))
	ahead := tally{waiting: -1}
	nearest := -1 // that is no reader's
	permits := func(i int) bool { return q.Entries[i].Mode == driver.Permit }
	for i, e := range q.Entries {
		blocker := ahead.waiting
		fits := ahead.add(e, q.Limit)
		switch {
		case permits(i) && !permits(0):
		case permits(i) && fits:
			has[i] = true
		case permits(i) && permitOf(e).weight > q.Limit.N:
		case permits(i) && blocker < 0:
			waitsFor[i] = upTo(i)
		case permits(i):
			waitsFor[i] = []int{blocker}
		case IsShared(e) && nearest < 0, i == 0:
			has[i] = true
		case IsShared(e) && !permits(nearest):
			waitsFor[i] = []int{nearest}
		case !IsShared(e) && !permits(i-1):
			waitsFor[i] = []int{i - 1}
		}
		if !IsShared(e) {
			nearest = i
		}
	}
	return has, waitsFor
}

// upTo returns the numbers from 0 up to, and without, n.
func upTo(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	return numbers
}

// A tally is what the entries of a queue of permits come to.
type tally struct {
	n       int
	weight  int64
	holding int // so many, the first of the queue, hold
	waiting int // the last one that does not hold, by its index; -1 if all do
}

// add counts the next entry, and tells whether it holds.
func (t *tally) add(e driver.Entry, limit driver.Limit) bool {
	p := permitOf(e)
	t.weight += min(p.weight, math.MaxInt64-t.weight)
	holds := p.granted || e.Token <= limit.Through || t.weight <= limit.N
	switch {
	case !holds:
		t.waiting = t.n
	case t.waiting < 0:
		t.holding = t.n + 1
	}
	t.n++
	return holds
}

// tallyOf counts entries, and those ahead of them that are hidden: each weighs 1 at least.
func tallyOf(entries []driver.Entry, hidden int, limit driver.Limit) tally {
	t := tally{waiting: -1, weight: int64(hidden)}
	for _, e := range entries {
		t.add(e, limit)
	}
	return t
}

// A permit is what the value of a permit's entry says.
type permit struct {
	weight  int64
	granted bool
}

const grantedMark = " granted"

// PermitValue is the value of a permit's entry.
func PermitValue(weight int64, granted bool) string {
	v := strconv.FormatInt(weight, 10)
	if granted {
		v += grantedMark
	}
	return v
}

// permitOf reads an entry's value. What is no permit, or garbled, weighs more than
// any limit: it is waited for, and never taken for a holder.
func permitOf(e driver.Entry) permit {
	digits, granted := strings.CutSuffix(e.Value, grantedMark)
	weight, err := strconv.ParseInt(digits, 10, 64)
	if e.Mode != driver.Permit || err != nil || weight <= 0 || PermitValue(weight, granted) != e.Value {
		return permit{weight: math.MaxInt64}
	}
	return permit{weight, granted}
}

// otherKind is the error of one who finds a primitive of another kind in the queue.
func otherKind(e driver.Entry) error {
	switch {
	case e.Mode == driver.Permit:
		return fmt.Errorf("%w: a semaphore", session.ErrKind)
	case e.Kind == "":
		return fmt.Errorf("%w: a lock of another library", session.ErrKind)
	}
	return fmt.Errorf("%w: %s", session.ErrKind, e.Kind)
}
