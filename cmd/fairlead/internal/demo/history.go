package demo

import (
	"cmp"
	"math"
	"slices"
)

// A history is what the replicas wrote down, each in its own journal, and when
// those died that were killed.
type history struct {
	events map[string][]Event // by replica, in order
	deaths map[string]int64   // on the same clock
}

// A hold is one grant as its holder had it.
type hold struct {
	who   string
	token uint64
	asked int64 // when the request was made
	from  int64
	to    int64 // math.MaxInt64: it never ended
}

// A place is an entry that its owner saw in the queue.
type place struct {
	who   string
	token uint64
	seen  int64
}

// holds returns the grants of a name, by the time at which they began.
func (h *history) holds(name string) []hold {
	var all []hold
	for who, events := range h.events {
		var own []hold
		var asked int64
		for _, e := range events {
			if e.Name != name {
				continue
			}
			switch e.Kind {
			case Asked:
				asked = e.At
			case Granted:
				own = append(own, hold{who: who, token: e.Token, asked: asked, from: e.At, to: h.end(who)})
			case Releasing:
				finish(own, e.Token, e.At)
			case Lost:
				finish(own, e.Token, min(e.At, e.Until))
			}
		}
		all = append(all, own...)
	}
	slices.SortFunc(all, func(a, b hold) int { return cmp.Compare(a.from, b.from) })
	return all
}

// finish ends the hold with that token.
func finish(holds []hold, token uint64, at int64) {
	for i := range holds {
		if holds[i].token == token {
			holds[i].to = min(holds[i].to, max(at, holds[i].from))
		}
	}
}

// end returns when the replica stopped doing anything.
func (h *history) end(who string) int64 {
	if at, died := h.deaths[who]; died {
		return at
	}
	return math.MaxInt64
}

// places returns the entries that their owners saw in the queue of a name.
func (h *history) places(name string) []place {
	var all []place
	for who, events := range h.events {
		for _, e := range events {
			if e.Kind == Queued && e.Name == name {
				all = append(all, place{who, e.Token, e.At})
			}
		}
	}
	slices.SortFunc(all, func(a, b place) int { return cmp.Compare(a.seen, b.seen) })
	return all
}

// left reports whether the owner of a place had a reason to leave the queue
// after it was seen there: it died, its lease ran out, or it gave up.
func (h *history) left(name string, p place) bool {
	if _, died := h.deaths[p.who]; died {
		return true
	}
	return slices.ContainsFunc(h.events[p.who], func(e Event) bool {
		return e.At > p.seen && (e.Kind == Expired || e.Kind == GaveUp && e.Name == name)
	})
}

// writes returns what the register answered, in its order, with who wrote.
func (h *history) writes() []signedEvent {
	var all []signedEvent
	for who, events := range h.events {
		for _, e := range events {
			if e.Kind == Wrote || e.Kind == Refused {
				all = append(all, signedEvent{who, e})
			}
		}
	}
	slices.SortFunc(all, func(a, b signedEvent) int { return cmp.Compare(a.Serial, b.Serial) })
	return all
}

// A signedEvent says whose journal it is from.
type signedEvent struct {
	who string
	Event
}
