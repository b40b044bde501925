package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/integration/history"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

const (
	ttl = 2 * time.Second

	// storms lasts what goes wrong. Then follows a calm in which everybody has
	// to get what it asks for.
	storms  = 5 * time.Second
	calmHop = 5 * time.Millisecond

	// patience bounds, in the calm, for how long a turn that has come may go
	// unnoticed.
	patience = ttl + ttl/2

	// forever bounds a schedule.
	forever = 200 * ttl
)

// A result is how a schedule went.
type result struct {
	err    error
	hash   uint64
	events int
	kind   kind
	w      *world
}

// A schedule is one seed's.
type schedule struct {
	w       *world
	wt      *weather
	rand    *rand.Rand
	clients []*client
	crew    sync.WaitGroup // actors
	working map[*actor]bool
	mu      sync.Mutex
	closes  sync.WaitGroup
	dir     string // for drawings of what went wrong; "": see history.Options
}

// play runs the schedule of a seed, in a bubble. k < 0: the seed decides about the
// kind, too. A history that is not legal is drawn in dir.
func play(seed uint64, p *product, k kind, dir string) result {
	r := rand.New(rand.NewPCG(seed, 1))
	drawn := kind(r.IntN(4))
	if k < 0 {
		k = drawn
	}
	w := newWorld(p)
	storm, abate := context.WithCancel(context.Background())
	s := &schedule{w: w, rand: r, wt: &weather{w: w, seed: seed, storm: storm}, working: map[*actor]bool{}, dir: dir}
	root, cancel := context.WithCancel(context.Background())
	for i := range 1 + r.IntN(2) {
		w.newSite(fmt.Sprint("name ", i+1), k, 1+r.Int64N(3))
	}
	if err := s.open(); err != nil {
		w.fail("%w", err)
	}
	s.at(time.Now().Add(calmHop)) // what the sessions have begun is under way
	s.wt.turn(s.forecast(), time.Now().Add(storms))
	if w.failure() == nil {
		s.start(root)
		s.weathering()
		s.calm()
	}
	cancel()
	s.close()
	abate()
	s.wt.late.Wait()
	s.conclude()
	return result{err: w.failure(), hash: w.journal.hash(), events: len(w.journal.events), kind: k, w: w}
}

// forecast chooses the climate.
func (s *schedule) forecast() climate {
	c := climate{hop: 40 * time.Millisecond}
	switch s.rand.IntN(4) {
	case 0: // nothing goes wrong
	case 1:
		c.lost, c.unanswered, c.late = 15, 25, 10
	case 2:
		c.lost, c.unanswered, c.late, c.stalled = 20, 40, 20, 10
		c.hop = 100 * time.Millisecond
	case 3:
		c.lost, c.unanswered, c.late, c.stalled = 60, 120, 60, 20
	}
	if s.rand.IntN(4) == 0 {
		c.slow = ttl/4 + time.Duration(s.rand.Int64N(int64(ttl/4)))
	}
	return c
}

func (s *schedule) open() error {
	s.wt.turn(climate{hop: time.Millisecond}, time.Now())
	for i := range 2 + s.rand.IntN(4) {
		c := &client{number: i + 1}
		var err error
		c.s, err = session.New(context.Background(), s.w.product.connect(s.w, s.wt.hook, c.number),
			&session.Options{TTL: ttl, Identity: identity(c.number), Logger: quiet})
		if err != nil {
			return fmt.Errorf("open a session: %w", err)
		}
		s.clients = append(s.clients, c)
	}
	return nil
}

var quiet = slog.New(slog.DiscardHandler)

// start lets the actors act.
func (s *schedule) start(root context.Context) {
	h := habits{try: 20, do: 20, run: 25, look: 30, downgrade: 40, write: 40, impatient: s.rand.IntN(3) * 25,
		long: 15, hog: s.rand.IntN(2) * 30}
	if s.rand.IntN(2) == 0 {
		h.resize = 20
	}
	var actors []*actor
	for _, c := range s.clients {
		for range 1 + s.rand.IntN(2) {
			n := len(actors) + 1
			actors = append(actors, &actor{w: s.w, wt: s.wt, client: c, number: n, sites: s.w.sites, root: root,
				rand: rand.New(rand.NewPCG(s.wt.seed, uint64(1000+n))), steps: 1 + s.rand.IntN(4), later: s.rand.IntN(3), habits: h})
		}
	}
	for _, a := range actors {
		s.working[a] = true
		s.crew.Go(func() {
			a.run()
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.working, a)
		})
	}
}

// busy tells whether an actor that counts still works.
func (s *schedule) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := range s.working {
		if !a.client.crashed.Load() {
			return true
		}
	}
	return false
}

// at sleeps until a moment of the schedule's own.
func (s *schedule) at(t time.Time) {
	s.wt.mu.Lock()
	m := s.wt.traffic(lane{}).moment(t)
	s.wt.mu.Unlock()
	sleepUntil(context.Background(), m)
}

// weathering lets things happen to whole clients until the calm begins.
func (s *schedule) weathering() {
	severity := s.rand.IntN(4)
	begin := time.Now()
	for n := 0; ; n++ {
		next := time.Now().Add(time.Duration(s.rand.Int64N(int64(storms))))
		if n >= 2*severity || next.After(s.wt.calm) {
			break
		}
		s.at(next)
		s.strike(s.clients[s.rand.IntN(len(s.clients))])
	}
	s.at(later(begin, s.wt.calm))
}

// strike has something happen to a client.
func (s *schedule) strike(c *client) {
	happens := func(what string) { s.w.journal.add(tag{client: c.number}, what, 0) }
	switch x := s.rand.IntN(20); {
	case c.crashed.Load() || c.closing.Load():
	case x < 7:
		s.wt.cut(c)
		until := s.wt.calm
		if d := ttl/4 + time.Duration(s.rand.Int64N(int64(2*ttl))); time.Until(until) > d {
			until = time.Now().Add(d)
		}
		s.closes.Go(func() {
			s.at(until.Add(time.Duration(c.number) * grain)) // not all at once
			if !c.crashed.Load() {
				s.wt.heal(c)
			}
		})
	case x < 8:
		s.breakOne(c)
	case x < 14:
		happens("EXPIRES")
		s.w.force(c.number, s.w.rec.Stamp())
		s.w.st.Expire(c.s)
	case x < 17:
		happens("CRASHES")
		s.w.crash(c.number, s.w.rec.Stamp())
		c.crashed.Store(true)
		s.wt.cut(c)
	default:
		happens("CLOSES")
		c.closing.Store(true)
		s.closes.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 3*ttl)
			defer cancel()
			if c.s.Close(ctx) == nil { // and was not cut off, say
				s.left(c)
			}
		})
	}
}

// breakOne has somebody break an entry of a client's, which has to let go by itself: until
// it does, nobody else is let in.
func (s *schedule) breakOne(c *client) {
	var entries []driver.Entry
	for _, site := range s.w.sites {
		q, _ := s.w.eye.Read(context.Background(), site.name, 0)
		for _, e := range q.Entries {
			if e.Identity == identity(c.number) {
				entries = append(entries, e)
			}
		}
	}
	if len(entries) == 0 {
		return
	}
	e := entries[s.rand.IntN(len(entries))]
	s.w.journal.add(tag{client: c.number}, "IS BROKEN", e.Token)
	if err := s.w.eye.Break(context.Background(), e, driver.Mark{ID: e.ID, By: "the schedule"}, false); err != nil {
		s.w.fail("break token %d of %q: %w", e.Token, e.Name, err)
	}
}

// left looks for what a session that was closed has left behind.
func (s *schedule) left(c *client) {
	for _, site := range s.w.sites {
		q, _ := s.w.eye.Read(context.Background(), site.name, 0)
		for _, e := range q.Entries {
			if e.Identity == identity(c.number) {
				s.w.fail("client %d has closed its session, and token %d of %q is still there", c.number, e.Token, site.name)
			}
		}
	}
}

// calm waits until everybody has what it asked for. Whoever's turn comes has to
// learn of it soon.
func (s *schedule) calm() {
	s.w.journal.add(tag{}, "CALM", 0)
	since := map[uint64]time.Time{}
	s.at(time.Now().Add(calmHop)) // what happens just now has happened then
	for s.busy() && s.w.failure() == nil {
		now := time.Now()
		for _, site := range s.w.sites {
			for _, e := range s.w.due(site) {
				first, seen := since[e.Token]
				switch {
				case s.crashed(e.Identity):
				case !seen:
					since[e.Token] = now
				case now.Sub(first) > patience:
					s.w.fail("lost wake-up: %s has its turn at %q with token %d for %v, and does not know",
						e.Identity, site.name, e.Token, now.Sub(first))
				}
			}
		}
		if now.Sub(s.wt.calm) > forever {
			s.w.fail("stuck: actors are waiting for ever")
		}
		s.at(now.Add(100 * time.Millisecond))
	}
}

func (s *schedule) crashed(who string) bool {
	for _, c := range s.clients {
		if identity(c.number) == who {
			return c.crashed.Load()
		}
	}
	return false
}

// close ends the sessions, also those whose processes are dead.
func (s *schedule) close() {
	s.crew.Wait()
	s.closes.Wait()
	for _, c := range s.clients {
		s.closes.Go(func() {
			if err := c.s.Close(context.Background()); err != nil && !c.crashed.Load() && !c.closing.Load() {
				s.w.fail("client %d: %w", c.number, err)
			}
		})
	}
	s.closes.Wait()
}

// conclude looks at what is left, and at the history.
func (s *schedule) conclude() {
	queues, err := s.w.eye.List(context.Background(), "")
	if err != nil || len(queues) > 0 {
		s.w.fail("left behind: %v %v", queues, err)
	}
	if s.w.failure() != nil {
		return
	}
	for _, site := range s.w.sites {
		if err := history.CheckFIFO(site.h.Holds()); err != nil {
			s.w.fail("%w", err)
		}
		if err := site.h.Check(&history.Options{Dir: s.dir}); err != nil {
			s.w.fail("%w", err)
		}
	}
}
