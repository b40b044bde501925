package sim

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-go/fairlead/integration/history"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/memory"
	"github.com/fairlead-go/fairlead/watch"
)

// A site is a name, and the one primitive that is used under it.
type site struct {
	name string
	kind kind
	h    *history.History

	resized atomic.Bool // somebody tried to change the limit

	mu       sync.Mutex
	limit    int64  // that who asks believes in
	register uint64 // the highest token that wrote
	values   int    // proposals made so far
}

// A hold is a grant as the simulation keeps it.
type hold struct {
	site   *site
	client int
	actor  int
	grant  *session.Grant
	token  uint64
	shared bool
	weight int64
	ended  bool  // the owner gives it back, or knows that it is lost
	change int64 // not 0: the owner is downgrading it, since then
	lost   bool  // the history says already that it is lost
	left   bool  // the entry has been removed from the store, at the owner's request
}

// A pending is an acquisition that has not returned.
type pending struct {
	site *site
	ask  ask
	call *history.Call // nil: not recorded any more

	asked int64 // when it began
	made  int   // entries so far
}

// A resizing is an actor's latest change of a limit.
type resizing struct {
	site    *site
	limit   int64
	applied int // times: where a reply is lost, it is asked for again
}

// A world is a store, and all that the simulation knows about who holds what in
// it. It finds what must not be.
type world struct {
	product *product
	st      *memory.Store
	eye     driver.Store // a connection that nothing happens to
	rec     *history.Recorder
	entries registry
	journal journal
	sites   []*site

	// strict has a hold last until its entry is removed, and not only until its
	// context is done.
	strict bool

	mu      sync.Mutex
	err     error            // the first that must not be
	pending map[int]*pending // by actor
	resizes map[int]*resizing
	holds   map[uint64]*hold // by token: all that were ever told to somebody
	forced  map[uint64]int64 // tokens whose lease the schedule has ended, and when
	tokens  map[string]uint64
	settled map[string]bool // claims that can take effect no more, says the driver, by ID
}

func newWorld(p *product) *world {
	st := memory.NewStore()
	w := &world{product: p, st: st, eye: st.Connect()}
	w.reset()
	return w
}

// reset forgets everything but the store.
func (w *world) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err, w.sites, w.rec = nil, nil, history.NewRecorder(nil)
	w.resizes = map[int]*resizing{}
	w.pending, w.holds, w.forced = map[int]*pending{}, map[uint64]*hold{}, map[uint64]int64{}
	w.tokens, w.settled = map[string]uint64{}, map[string]bool{}
	w.entries.reset()
	w.journal.reset()
}

// newSite makes a name for a kind, with the limit if it is a semaphore.
func (w *world) newSite(name string, k kind, limit int64) *site {
	s := &site{name: name, kind: k, limit: limit}
	if k == semaphores {
		s.h = w.rec.Semaphore(name, limit)
	} else {
		s.h = w.rec.Lock(name)
	}
	w.sites = append(w.sites, s)
	return s
}

// fail records what must not be. Only the first counts: the rest may follow from it.
func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failLocked(format, args...)
}

func (w *world) failLocked(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("at %v: "+format, append([]any{time.Since(w.journal.start)}, args...)...)
		w.journal.add(tag{}, "VIOLATION: "+w.err.Error(), 0)
	}
}

func (w *world) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// begin records that an actor asks.
func (w *world) begin(actor int, p *pending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending[actor] = p
}

// end records that the actor's call has returned.
func (w *world) end(actor int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pending, actor)
}

// resized is told that a change of a limit has just taken effect, in a call that
// began at the stamp. The actor may ask for something else by now.
func (w *world) resized(actor int, began int64) {
	var changed *site
	var limit driver.Limit
	for _, s := range w.sites {
		if q, _ := w.eye.Read(context.Background(), s.name, 1); q.Limit.Version > limit.Version {
			changed, limit = s, q.Limit // versions grow, whatever the name
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	changed.h.BeginAt(began, actor, history.Resize(limit.N)).Done()
	if r := w.resizes[actor]; r.site == changed && r.limit == limit.N {
		r.applied++
	}
}

// granted records that somebody was told that it holds, and looks whether that
// may be.
func (w *world) granted(h *hold) {
	now, _ := w.eye.Read(context.Background(), h.site.name, 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	stamp, forced := w.forced[h.token]
	if forced { // before the owner was told
		w.losing(h, stamp)
	}
	used := h.weight
	for _, x := range w.holds {
		if x.site != h.site || x.token == h.token || !w.holding(x) {
			continue
		}
		used += x.weight
		if h.site.kind != semaphores && !(h.shared && x.shared) && !forced {
			w.failLocked("client %d is told that it holds %q with token %d, while client %d holds with token %d, whose context is not done",
				h.client, h.site.name, h.token, x.client, x.token)
		}
	}
	exact := w.strict || !h.site.resized.Load()
	if limit := now.Limit.N; h.site.kind == semaphores && exact && !forced && used > limit && h.token > now.Limit.Through {
		w.failLocked("client %d is told that it holds %q with token %d: that makes %d of %d permits", h.client, h.site.name, h.token, used, limit)
	}
	w.holds[h.token] = h
	if w.strict {
		if _, forced := w.forced[h.token]; !forced {
			w.checkTurn(now, h)
		}
		return
	}
	context.AfterFunc(h.grant.Context(), func() { w.lost(h) })
}

// checkTurn looks whether it is the turn of a hold, in the queue as it is at this
// instant. w.mu is held.
func (w *world) checkTurn(q driver.Queue, h *hold) {
	var ahead int64
	for _, e := range q.Entries {
		switch {
		case e.Token == h.token && h.site.kind == semaphores && ahead+h.weight > q.Limit.N && h.token > q.Limit.Through:
			w.failLocked("client %d is told that it holds token %d with weight %d, but %d of %d permits are held or asked for ahead of it",
				h.client, h.token, h.weight, ahead, q.Limit.N)
			return
		case e.Token == h.token:
			return
		case h.site.kind == semaphores:
			ahead += weightOf(e)
		case !h.shared || !watch.IsShared(e):
			w.failLocked("client %d is told that it holds token %d, but %s is ahead with token %d", h.client, h.token, e.Identity, e.Token)
			return
		}
	}
	w.failLocked("client %d is told that it holds token %d, but has no entry", h.client, h.token)
}

// holding tells whether a hold keeps others out. w.mu is held.
func (w *world) holding(h *hold) bool {
	switch _, forced := w.forced[h.token]; {
	case forced:
		return false
	case w.strict && h.change == 0:
		return !h.left
	case w.strict:
		return h.grant.Context().Err() == nil
	}
	return !h.ended && h.grant.Context().Err() == nil
}

// ended records that the owner counts on a hold no longer, as it gives it back.
func (w *world) ended(h *hold) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h.ended = true
}

// changing is ended for an owner who downgrades, and returns when.
func (w *world) changing(h *hold) int64 {
	stamp := w.rec.Stamp()
	w.mu.Lock()
	defer w.mu.Unlock()
	h.ended, h.change = true, stamp
	return stamp
}

// lost records that the owner sees that the hold is lost.
func (w *world) lost(h *hold) { w.lostSince(h, w.rec.Stamp()) }

// lostSince records that a hold has been lost since the stamp.
func (w *world) lostSince(h *hold, stamp int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.ended && h.change != stamp {
		return // the owner was faster
	}
	h.ended = true
	if !h.lost {
		h.lost = true
		h.site.h.BeginAt(stamp, h.actor, history.Lose(h.token)).Done()
	}
}

// force is told that the schedule is about to end the leases of a client behind its
// back. From now on nobody promises anything about what it holds.
func (w *world) force(client int, stamp int64) {
	for _, s := range w.sites {
		q, _ := w.eye.Read(context.Background(), s.name, 0)
		w.mu.Lock()
		for _, e := range q.Entries {
			if _, done := w.forced[e.Token]; done || e.Identity != identity(client) {
				continue
			}
			w.forced[e.Token] = stamp
			if h := w.holds[e.Token]; h != nil && !h.ended {
				w.losing(h, stamp)
			}
		}
		w.mu.Unlock()
	}
}

// crash is force for a client that is no more: it holds nothing, whatever the store
// has.
func (w *world) crash(client int, stamp int64) {
	w.force(client, stamp)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.holds {
		switch {
		case h.client != client:
		case h.change != 0:
			w.losing(h, h.change)
		case !h.ended:
			w.losing(h, stamp)
			h.ended = true
		}
	}
}

// losing records that a hold may end at any time after the stamp. w.mu is held.
func (w *world) losing(h *hold, stamp int64) {
	if !h.lost {
		h.lost = true
		h.site.h.BeginAt(stamp, h.actor, history.Lose(h.token))
	}
}

func identity(client int) string { return fmt.Sprint("client ", client) }

// observe looks whether whoever believes to hold something still has its entry. A
// trust window that closes too late shows here, also where nobody waits.
func (w *world) observe() {
	for _, s := range w.sites {
		w.mu.Lock()
		live := 0
		for _, h := range w.holds {
			if h.site == s && w.holding(h) {
				live++
			}
		}
		w.mu.Unlock()
		if live == 0 {
			continue
		}
		q, _ := w.eye.Read(context.Background(), s.name, 0)
		present := make(map[uint64]bool, len(q.Entries))
		for _, e := range q.Entries {
			present[e.Token] = true
		}
		w.mu.Lock()
		for _, h := range w.holds {
			if h.site == s && !present[h.token] && w.holding(h) {
				w.failLocked("client %d holds %q with token %d, and its context is not done, but the store has no such entry",
					h.client, s.name, h.token)
			}
		}
		w.mu.Unlock()
	}
}

// due returns the entries whose turn has come, as the simulation sees it, and
// whose owners have not been told.
func (w *world) due(s *site) []driver.Entry {
	q, _ := w.eye.Read(context.Background(), s.name, 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	var due []driver.Entry
	var used int64
	writers := 0
	for i, e := range q.Entries {
		told := w.holds[e.Token] != nil
		shared := watch.IsShared(e)
		switch {
		case s.kind == semaphores:
			weight := weightOf(e)
			if !told && used+weight <= q.Limit.N {
				due = append(due, e)
			}
			used += weight
		case !told && (i == 0 || shared && writers == 0):
			due = append(due, e)
		}
		if !shared {
			writers++
		}
	}
	return due
}

// weightOf reads a permit's weight, whatever follows it.
func weightOf(e driver.Entry) (weight int64) {
	_, _ = fmt.Sscan(e.Value, &weight)
	return weight
}
