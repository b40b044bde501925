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
	noted int64 // when its holder wrote that it began
}

// A place is an entry that its owner saw in the queue.
type place struct {
	who   string
	token uint64
	seen  int64
}

// holds returns the grants of a name, by the time at which they began. One that
// was lost before its holder, frozen in between, could note it down was no hold.
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
				own = append(own, hold{who: who, token: e.Token, asked: asked, from: e.At, to: h.end(who), noted: e.At})
			case Releasing:
				finish(own, e.Token, e.At)
			case Lost:
				finish(own, e.Token, min(e.At, e.Until))
				own = slices.DeleteFunc(own, func(l hold) bool { return l.to < l.from })
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
			holds[i].to = min(holds[i].to, at)
		}
	}
}

// inTurn returns the holds as if each had begun, at the latest, when one behind
// it in the queue did. So it was in the store: the holders are the first in the
// queue. A process may take its time to notice that its turn has come.
func inTurn(holds []hold) []hold {
	all := slices.Clone(holds)
	slices.SortFunc(all, func(a, b hold) int { return cmp.Compare(b.token, a.token) })
	for i := range all {
		if i > 0 {
			all[i].from = min(all[i].from, all[i-1].from)
		}
	}
	slices.SortStableFunc(all, func(a, b hold) int { return cmp.Compare(a.from, b.from) })
	return all
}

// A crowd is those who held at one moment.
type crowd struct {
	at    int64
	holds []hold
}

// crowds returns who held at each moment at which a hold began. The holds have to
// be sorted by when they did.
func crowds(holds []hold) []crowd {
	var all []crowd
	for i, h := range holds {
		if i+1 < len(holds) && holds[i+1].from == h.from {
			continue // the same moment
		}
		c := crowd{at: h.from}
		for _, o := range holds[:i+1] {
			if h.from < o.to {
				c.holds = append(c.holds, o)
			}
		}
		all = append(all, c)
	}
	return all
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

// left reports whether the owner of a place, who had no hold from it, had a reason
// to leave the queue: it died, its lease ran out, it gave up, or it lost its grant
// before it could note it down.
func (h *history) left(name string, p place) bool {
	if _, died := h.deaths[p.who]; died {
		return true
	}
	events := h.events[p.who]
	seen := slices.IndexFunc(events, func(e Event) bool { return e.Kind == Queued && e.Name == name && e.Token == p.token })
	asked := seen
	for asked > 0 && !(events[asked].Kind == Asked && events[asked].Name == name) {
		asked--
	}
	answered := false // the call that made the place has ended
	for _, e := range events[asked+1:] {
		switch {
		case e.Kind == Expired:
			return true
		case e.Name != name || answered:
		case e.Kind == GaveUp, e.Kind == Granted && e.Token == p.token:
			return true
		case e.Kind == Granted, e.Kind == Asked:
			answered = true
		}
	}
	return false
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
