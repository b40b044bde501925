package memory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

func init() { session.Register("memory", open) }

var named = struct {
	sync.Mutex
	stores map[string]*Store
}{stores: map[string]*Store{}}

func open(_ context.Context, u *url.URL, _ *session.Options) (driver.Store, error) {
	if err := check(u); err != nil {
		return nil, driver.Permanent(err)
	}
	named.Lock()
	defer named.Unlock()
	st, ok := named.stores[u.Host]
	if !ok {
		st = NewStore()
		named.stores[u.Host] = st
	}
	return st.Connect(), nil
}

// check looks at the parts of a URL.
func check(u *url.URL) error {
	if u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.Fragment != "" {
		return errors.New("a memory URL looks like memory://NAME, and has no path, user or fragment")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fmt.Errorf("its parameters are malformed: %w", err)
	}
	for name, values := range query {
		switch {
		case name != "ttl":
			return fmt.Errorf("unknown parameter %q (known: ttl)", name)
		case len(values) > 1 || values[0] == "":
			return fmt.Errorf("parameter %q is empty, or given more than once", name)
		}
	}
	return nil
}

// A Store holds queues and leases. Its methods are safe for concurrent use.
type Store struct {
	mu     sync.Mutex
	rev    uint64 // grows with every change: tokens and versions come from it
	leases uint64
	queues map[string]*queue
}

// A queue exists while it has entries or somebody watches it.
type queue struct {
	entries  []*entry
	limit    driver.Limit // zero while there are no entries
	resized  signal       // the limit has changed
	changed  signal       // anything has
	watchers int
}

type entry struct {
	driver.Entry
	lease   *lease
	changed signal // it has left or was updated
}

// A signal tells those who subscribed that something has happened, once.
// Guarded by the store's mutex.
type signal map[chan<- struct{}]struct{}

// subscribe has fire send to the channel, which must have room for one.
func (s *signal) subscribe(ch chan<- struct{}) {
	if *s == nil {
		*s = signal{}
	}
	(*s)[ch] = struct{}{}
}

func (s signal) unsubscribe(ch chan<- struct{}) { delete(s, ch) }

func (s *signal) fire() {
	for ch := range *s {
		select {
		case ch <- struct{}{}:
		default: // it has been told
		}
	}
	*s = nil
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{queues: map[string]*queue{}} }

// Session opens a session on the store.
func (st *Store) Session(ctx context.Context, opts *session.Options) (*session.Session, error) {
	return session.New(ctx, st.Connect(), opts)
}

// Connect returns a new connection, for session.New.
func (st *Store) Connect() driver.Store { return &conn{st: st} }

// Expire ends the session's lease now, as the store would if it heard nothing
// for a TTL. The session soon takes another.
func (st *Store) Expire(s *session.Session) {
	c := st.connection(s)
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, l := range slices.Clone(c.leases) {
		st.end(l)
	}
}

// Cut makes the store unreachable for the session until Heal: its calls block,
// until their context ends. The lease runs on, and out.
func (st *Store) Cut(s *session.Session) {
	c := st.connection(s)
	st.mu.Lock()
	defer st.mu.Unlock()
	if c.healed == nil {
		c.healed = make(chan struct{})
	}
}

// Heal ends a Cut.
func (st *Store) Heal(s *session.Session) {
	c := st.connection(s)
	st.mu.Lock()
	defer st.mu.Unlock()
	if c.healed != nil {
		close(c.healed)
		c.healed = nil
	}
}

// connection finds the session's connection to the store, also behind wrappers that have a
// method Unwrap.
func (st *Store) connection(s *session.Session) *conn {
	for store := s.Store(); ; {
		switch v := store.(type) {
		case *conn:
			if v.st != st {
				panic("memory: the session is on another Store")
			}
			return v
		case interface{ Unwrap() driver.Store }:
			store = v.Unwrap()
		default:
			panic(fmt.Sprintf("memory: the session is on a store of another kind: %s", s.Backend()))
		}
	}
}

// queue returns the queue of that name, making it if need be. st.mu is held.
func (st *Store) queue(name string) *queue {
	q, ok := st.queues[name]
	if !ok {
		q = &queue{}
		st.queues[name] = q
	}
	return q
}

// touch wakes those who watch the queue, and forgets it when nobody needs it.
// st.mu is held.
func (st *Store) touch(name string, q *queue) {
	if len(q.entries) == 0 {
		q.limit = driver.Limit{}
	}
	q.changed.fire()
	if len(q.entries) == 0 && q.watchers == 0 {
		delete(st.queues, name)
	}
}

// find returns the entry with e's identity, and its position. st.mu is held.
func (st *Store) find(e driver.Entry) (q *queue, at int, found *entry) {
	q, ok := st.queues[e.Name]
	if !ok {
		return nil, 0, nil
	}
	for i, x := range q.entries {
		if x.ID == e.ID && (x.Token == e.Token || e.Token == 0) {
			return q, i, x
		}
	}
	return q, 0, nil
}

// view returns the queue as seen from the entry at a position. st.mu is held.
func (st *Store) view(q *queue, at int) driver.View {
	v := driver.View{Me: q.entries[at].now(), Limit: q.limit, At: st.rev}
	ahead := q.entries[:at]
	if v.Me.Mode == driver.Exclusive && at > 0 {
		ahead = ahead[at-1:] // its rule needs the nearest only
	}
	for _, x := range ahead {
		v.Ahead = append(v.Ahead, x.now())
	}
	return v
}

// setLimit gives a queue a limit. st.mu is held.
func (st *Store) setLimit(q *queue, limit driver.Limit) {
	st.rev++
	limit.Version = st.rev
	q.limit = limit
	q.resized.fire()
}

// now returns the entry as it is now. st.mu is held.
func (x *entry) now() driver.Entry {
	e := x.Entry
	e.TTLLeft = time.Until(x.lease.expires)
	return e
}

// remove takes an entry out of its queue. st.mu is held.
func (st *Store) remove(q *queue, at int) {
	x := q.entries[at]
	st.rev++
	q.entries = slices.Delete(q.entries, at, at+1)
	delete(x.lease.entries, x.ID)
	x.changed.fire()
	st.touch(x.Name, q)
}

// end ends a lease and removes its entries. st.mu is held.
func (st *Store) end(l *lease) {
	if l.over() {
		return
	}
	close(l.gone)
	l.timer.Stop()
	l.conn.leases = slices.DeleteFunc(l.conn.leases, func(x *lease) bool { return x == l })
	byToken := func(a, b *entry) int { return cmp.Compare(a.Token, b.Token) }
	for _, x := range slices.SortedFunc(maps.Values(l.entries), byToken) {
		q, at, _ := st.find(x.Entry)
		st.remove(q, at)
	}
}
