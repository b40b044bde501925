package dashboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

const (
	listTimeout     = 5 * time.Second
	listShare       = 4               // between lists there is so many times what reading one takes
	inspectInterval = 3 * time.Second // of a name that somebody looks at, for how long leases have left
	maxNames        = 5000            // remembered beyond those in use
	maxAnswers      = 120             // remembered of the store
)

// A Board knows how names stand. Its methods are safe for concurrent use.
type Board struct {
	s        *session.Session
	prefix   string // of all names that it is asked about
	interval time.Duration

	mu      sync.Mutex
	names   map[string]*record
	listed  bool     // all names have been read once
	answers []answer // of the store, the latest last
	ended   bool
	changed chan struct{} // closed, and replaced, when anything changes
	work    sync.WaitGroup
}

// An answer of the store, or the lack of one.
type answer struct {
	at   time.Time
	took time.Duration
	err  error
}

// NewBoard returns a board of the names with the prefix, which it will list at the interval.
func NewBoard(s *session.Session, prefix string, interval time.Duration) *Board {
	return &Board{s: s, prefix: prefix, interval: interval, names: map[string]*record{}, changed: make(chan struct{})}
}

// Run keeps the board up to date until ctx ends, and returns when nothing of it runs any
// more.
func (b *Board) Run(ctx context.Context) {
	defer b.end()
	for {
		took := b.list(ctx)
		select {
		case <-time.After(max(b.interval, listShare*took)):
		case <-ctx.Done():
			return
		}
	}
}

func (b *Board) end() {
	b.mu.Lock()
	b.ended = true
	for _, r := range b.names {
		if r.following != nil {
			r.following.stop()
		}
	}
	b.mu.Unlock()
	b.work.Wait()
}

// list reads all names once, and returns how long that took. Where it failed that is 0: the
// time without an answer does not tell how long one takes.
func (b *Board) list(ctx context.Context) time.Duration {
	limited, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	began := time.Now()
	queues, err := watch.List(limited, b.s, b.prefix)
	now := time.Now()
	if ctx.Err() != nil {
		return 0
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the store has not answered within %v: %w", listTimeout, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = append(b.answers, answer{now, now.Sub(began), err})
	b.answers = b.answers[max(0, len(b.answers)-maxAnswers):]
	b.announce()
	if err != nil {
		return 0
	}
	b.take(queues, began, now)
	return now.Sub(began)
}

// take takes a list that was asked for at a time.
func (b *Board) take(queues []watch.Snapshot, began, now time.Time) {
	states := make(map[string]watch.Snapshot, len(queues))
	for _, q := range queues {
		states[q.Name] = q
		b.record(q.Name)
	}
	for name, r := range b.names {
		if r.following != nil || r.seen.After(began) {
			continue // known better than the list has it
		}
		q := states[name]
		q.Name = name
		r.update(q, now)
	}
	b.listed = true
	b.forget()
}

// record returns what is known of a name, which may be nothing. That a name was not on the
// last list is known, too.
func (b *Board) record(name string) *record {
	r := b.names[name]
	if r == nil {
		r = &record{queue: watch.Snapshot{Name: name}, entries: map[uint64]*stay{}, known: b.listed}
		b.names[name] = r
	}
	return r
}

// forget forgets the names that have not been in use for longest, if they are many.
func (b *Board) forget() {
	var idle []string
	for name, r := range b.names {
		if r.viewers == 0 && len(r.entries) == 0 {
			idle = append(idle, name)
		}
	}
	if len(idle) <= maxNames {
		return
	}
	slices.SortFunc(idle, func(x, y string) int { return b.names[x].changed.Compare(b.names[y].changed) })
	for _, name := range idle[:len(idle)-maxNames] {
		delete(b.names, name)
	}
}

// announce wakes whoever waits for a change.
func (b *Board) announce() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Changed returns a channel that is closed when anything has changed since.
func (b *Board) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// A following is the watch of one name, for all who look.
type following struct{ stop context.CancelFunc }

// Follow watches a name until the function that it returns is called.
func (b *Board) Follow(name string) (leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.record(name)
	r.viewers++
	if r.following == nil && !b.ended {
		ctx, cancel := context.WithCancel(context.Background())
		f := &following{stop: cancel}
		r.following, r.trouble = f, nil
		b.work.Go(func() { b.follow(ctx, f, name) })
		b.work.Go(func() { b.inspect(ctx, f, name) })
	}
	return sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if r.viewers--; r.viewers == 0 && r.following != nil {
			r.following.stop()
			r.following = nil
		}
	})
}

// follow takes each state of a name as long as this is its watch.
func (b *Board) follow(ctx context.Context, f *following, name string) {
	for q, err := range watch.Queue(ctx, b.s, name) {
		b.mu.Lock()
		r := b.names[name]
		if r == nil || r.following != f {
			b.mu.Unlock()
			return
		}
		if r.trouble = err; err == nil {
			r.update(q, time.Now())
		} else {
			f.stop()
			r.following = nil // lists go on
		}
		b.announce()
		b.mu.Unlock()
	}
}

// inspect asks at an interval how long the leases of holders have left, of which no watch tells.
func (b *Board) inspect(ctx context.Context, f *following, name string) {
	for {
		limited, cancel := context.WithTimeout(ctx, listTimeout)
		q, err := watch.Inspect(limited, b.s, name)
		cancel()
		b.mu.Lock()
		if r := b.names[name]; err == nil && r != nil && r.following == f {
			r.leases(q, time.Now())
			b.announce()
		}
		b.mu.Unlock()
		select {
		case <-time.After(inspectInterval):
		case <-ctx.Done():
			return
		}
	}
}

// queues returns the names that are in use, by name.
func (b *Board) queues() (all []watch.Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.names {
		if len(r.entries) > 0 {
			all = append(all, r.queue)
		}
	}
	slices.SortFunc(all, func(x, y watch.Snapshot) int { return cmp.Compare(x.Name, y.Name) })
	return all
}

// A dossier is all that is known of a name.
type dossier struct {
	queue       watch.Snapshot
	read        bool
	trouble     error
	leases      map[uint64]lease
	grants      []Grant // those that are held, then those that ended, the latest first
	waits, held histogram
}

func (b *Board) dossier(name string) dossier {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.names[name]
	if r == nil {
		return dossier{queue: watch.Snapshot{Name: name}, read: b.listed}
	}
	d := dossier{queue: r.queue, read: r.known, trouble: r.trouble, waits: r.waits, held: r.holds, leases: map[uint64]lease{}}
	for _, token := range slices.Backward(slices.Sorted(maps.Keys(r.entries))) {
		if e := r.entries[token]; e.holds {
			d.grants = append(d.grants, e.grant)
			d.leases[token] = e.lease
		}
	}
	for _, g := range slices.Backward(r.history) {
		d.grants = append(d.grants, g)
	}
	return d
}

// wasListed tells whether all names have been read once.
func (b *Board) wasListed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.listed
}

// store returns how the store has answered lately.
func (b *Board) store() []answer {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.answers)
}
