package driver

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// A Doctor is a Store that can be asked how it is, by those who run it.
type Doctor interface {
	// Examine looks at what keeps the store from doing what it promises, or will before
	// long, and yields a finding for each such thing as soon as it is known. It leaves
	// nothing behind. Where the user may not see something, that is a finding as well. It
	// ends when everything was looked at, and soon after ctx has ended.
	Examine(ctx context.Context) iter.Seq[Finding]
}

// A Finding is what an examination has found out about one thing.
type Finding struct {
	Check   string // what was looked at, in a word or two: "persistence"
	Verdict Verdict
	Detail  string // what was found
	Advice  string // what to do about it; "" where nothing is to be done
}

// A Verdict says how bad a finding is.
type Verdict string

const (
	Fine    Verdict = "ok"
	Unknown Verdict = "unknown" // it could not be looked at
	Warning Verdict = "warn"    // it works, and a failure of the store may break a promise
	Failure Verdict = "fail"    // it does not work, or a promise is broken
)

// Unseen is the finding about what could not be looked at.
func Unseen(check string, err error) Finding {
	return Finding{Check: check, Verdict: Unknown, Detail: "not checked: " + err.Error()}
}

// maxClockDifference is how far the clocks of two machines that are kept at the right time
// are never apart.
const maxClockDifference = time.Second

// Clock is the finding about a store's clock, which it told between two moments. Nothing
// that is held depends on the difference: on most stores leases run by the store's clock
// alone. But one of the two is wrong, and will be set right.
func Clock(told, sent, received time.Time) Finding {
	rtt := received.Sub(sent)
	difference := told.Sub(sent.Add(rtt / 2))
	f := Finding{Check: "clock", Verdict: Fine}
	switch off := difference.Abs().Round(time.Millisecond); {
	case difference.Abs() <= rtt/2+time.Millisecond:
		f.Detail = fmt.Sprintf("the store's and ours agree, to within %v", (rtt/2 + time.Millisecond).Round(time.Millisecond))
	case difference > 0:
		f.Detail = fmt.Sprintf("the store's is %v ahead of ours", off)
	default:
		f.Detail = fmt.Sprintf("the store's is %v behind ours", off)
	}
	if difference.Abs() > maxClockDifference+rtt/2 {
		f.Verdict = Warning
		f.Advice = "find out which of the two is wrong, and let it be slewed, not stepped: a step of the store's clock forward by a TTL ends leases " +
			"that their owners still trust"
	}
	return f
}
