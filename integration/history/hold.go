package history

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// A Hold is one grant, from asking to the end, for checks that are fast enough
// for long runs. Its times are the
// recorder's stamps, or those of any one clock.
type Hold struct {
	Client int
	Token  uint64
	Shared bool  // a reader
	Weight int64 // of a permit

	Called  int64 // when the acquisition was begun
	Joined  int64 // when it was seen in the queue; 0: not seen before the grant
	Granted int64 // when the acquisition returned
	Ended   int64 // when the release or the loss began; math.MaxInt64: never

	// Downgraded is when a writer began to downgrade, and held as a reader from
	// then on; 0: never.
	Downgraded int64
}

func (h *Hold) String() string {
	return fmt.Sprintf("client %d with token %d from %s to %s", h.Client, h.Token, clock(h.Granted), clock(h.Ended))
}

func clock(stamp int64) string {
	if stamp == never {
		return "the end"
	}
	return time.Unix(0, stamp).UTC().Format("15:04:05.000000000")
}

// exclusiveUntil is when h ceases to keep readers out.
func (h *Hold) exclusiveUntil() int64 {
	switch {
	case h.Shared:
		return math.MinInt64
	case h.Downgraded != 0:
		return min(h.Downgraded, h.Ended) // who downgrades in vain may have lost it before
	}
	return h.Ended
}

// Holds returns what was held, in no particular order. What ends a hold is the
// first release, or loss, that began and did not fail. Of a token granted
// twice there are two holds.
func (h *History) Holds() []Hold {
	h.recorder.mu.Lock()
	defer h.recorder.mu.Unlock()
	holds := make([]Hold, 0, len(h.calls)/2)
	at := make(map[uint64]int, len(h.calls)/2) // by token
	for _, o := range h.calls {
		if o.op.kind.acquires() && o.out.status == granted {
			at[o.out.token] = len(holds)
			holds = append(holds, Hold{Client: o.client, Token: o.out.token, Shared: o.op.kind == rlock,
				Weight: o.op.n, Called: o.call, Joined: o.queued, Granted: o.end, Ended: never})
		}
	}
	for _, o := range h.calls {
		k, held := at[o.op.token]
		if !held {
			continue
		}
		switch o.op.kind {
		case release, lose:
			if o.out.status != failed {
				holds[k].Ended = min(holds[k].Ended, o.call)
			}
		case downgrade:
			if o.out.status != failed {
				holds[k].Downgraded = o.call
			}
		}
	}
	return holds
}

// byToken returns a sorted copy, and an error where a token is there twice.
func byToken(holds []Hold) ([]Hold, error) {
	sorted := slices.Clone(holds)
	slices.SortFunc(sorted, func(a, b Hold) int { return cmp.Compare(a.Token, b.Token) })
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Token == sorted[i-1].Token {
			return nil, fmt.Errorf("one token was granted twice: to %v, and to %v", &sorted[i-1], &sorted[i])
		}
	}
	return sorted, nil
}

// CheckExclusion checks that those who hold exclusively do so one after the other
// in the order of their tokens, and that readers keep to that order between them.
// It is for locks of all kinds, but not for semaphores. A hold is what the holder
// sees: from the return of the acquisition to the call of the release.
func CheckExclusion(holds []Hold) error {
	sorted, err := byToken(holds)
	if err != nil {
		return err
	}
	var last, lastExclusive *Hold // with the latest ends so far
	for i := range sorted {
		h := &sorted[i]
		before := last
		if h.Shared {
			before = lastExclusive
		}
		if before != nil {
			end := before.Ended
			if h.Shared {
				end = before.exclusiveUntil()
			}
			if h.Granted < end {
				return fmt.Errorf("held together, or not in the order of the tokens: by %v, and by %v", before, h)
			}
		}
		if last == nil || h.Ended > last.Ended {
			last = h
		}
		if !h.Shared && (lastExclusive == nil || h.exclusiveUntil() > lastExclusive.exclusiveUntil()) {
			lastExclusive = h
		}
	}
	return nil
}

// CheckFIFO checks that whoever was known to be in the queue before another asked
// has the lower token: seen there, or granted. Together with [CheckExclusion],
// which has the order of the tokens obeyed, it shows that the queue is fair.
func CheckFIFO(holds []Hold) error {
	sorted, err := byToken(holds)
	if err != nil {
		return err
	}
	var earliest *Hold // in the queue, of those with higher tokens
	for i := len(sorted) - 1; i >= 0; i-- {
		h := &sorted[i]
		if earliest != nil && earliest.queued() < h.Called {
			return fmt.Errorf("overtaken: %v was in the queue at %s, before %v asked at %s",
				earliest, clock(earliest.queued()), h, clock(h.Called))
		}
		if earliest == nil || h.queued() < earliest.queued() {
			earliest = h
		}
	}
	return nil
}

// queued is when h is known to have been in the queue.
func (h *Hold) queued() int64 {
	if h.Joined != 0 {
		return h.Joined
	}
	return h.Granted
}

// CheckPermits checks that the weights held at one time never exceed the limit,
// where it is not changed.
func CheckPermits(holds []Hold, limit int64) error {
	if _, err := byToken(holds); err != nil {
		return err
	}
	type change struct {
		at, weight int64
	}
	changes := make([]change, 0, 2*len(holds))
	for i := range holds {
		h := &holds[i]
		if h.Ended <= h.Granted { // lost before the acquisition returned
			continue
		}
		changes = append(changes, change{h.Granted, h.Weight}, change{h.Ended, -h.Weight})
	}
	slices.SortFunc(changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.weight, b.weight)) // ends first
	})
	held := int64(0)
	for _, c := range changes {
		if held += c.weight; held > limit {
			return permitsError(holds, limit, held, c.at)
		}
	}
	return nil
}

func permitsError(holds []Hold, limit, held, at int64) error {
	errs := []error{fmt.Errorf("%d permits of %d are held at %s", held, limit, clock(at))}
	for i := range holds {
		if h := &holds[i]; h.Granted <= at && at < h.Ended {
			errs = append(errs, fmt.Errorf("by %v with weight %d", h, h.Weight))
		}
	}
	return errors.Join(errs...)
}
