package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/check"
	"github.com/fairlead-go/fairlead/integration/faults/client"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

const (
	keeperName = "keeper"

	// glance is how often the keeper looks at the queues, and lead how much earlier
	// than its first user it takes a permit of a pool.
	glance = 60 * time.Millisecond
	lead   = 2 * time.Second
)

// A keeper has a session that reaches the store directly, and is hit by what befalls
// the store alone. It sees who is in which queue, and holds a permit of each pool as
// long as that is in use: an idle semaphore takes any limit, and could not be checked.
type keeper struct {
	session *session.Session
	log     *journal.Writer
	names   client.Names
	cancel  context.CancelFunc
	work    sync.WaitGroup

	mu        sync.Mutex
	looks     []int64 // when it has seen the queues
	failed    int     // how often it could not, and why the last time
	failure   error
	seen      map[string]map[uint64]bool
	sightings []check.Sighting
	queues    []watch.Snapshot  // as they were last seen
	holding   map[string]uint64 // who was first then, and who has been first twice
	steady    map[string]watch.Entry
}

func openKeeper(ctx context.Context, o options, url, path string, names client.Names, ttl time.Duration) (*keeper, error) {
	k := &keeper{names: names, cancel: func() {}, seen: map[string]map[uint64]bool{}}
	var err error
	if k.log, err = journal.Create(path); err != nil {
		return nil, err
	}
	k.session, err = client.Open(ctx, client.Access{Backend: o.backend, URL: url}, quiet(keeperName, ttl), nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the keeper's session: %w", err), k.log.Close())
	}
	return k, nil
}

func quiet(identity string, ttl time.Duration) *session.Options {
	return &session.Options{TTL: ttl, Identity: identity, Logger: slog.New(slog.DiscardHandler)}
}

// begin keeps the first pools, and then does its work in the background.
func (k *keeper) begin(start int64) {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	first := make(chan struct{})
	k.work.Go(func() { k.keep(ctx, start, first) })
	k.work.Go(func() { k.look(ctx) })
	<-first
}

// end closes the session when everything is given back. To call it again does no harm.
func (k *keeper) end(ctx context.Context) error {
	k.cancel()
	k.work.Wait()
	return errors.Join(k.session.Close(ctx), k.log.Close())
}

// keep takes a permit of each pool in turn. It closes first when it has done so once.
func (k *keeper) keep(ctx context.Context, start int64, first chan struct{}) {
	var holding sync.WaitGroup
	defer holding.Wait()
	for epoch := 0; ctx.Err() == nil; epoch++ {
		begin := start + int64(epoch)*int64(k.names.Epoch)
		rest(ctx, begin-int64(lead))
		name := k.names.Of(client.Pool, epoch)
		g, id := k.acquire(ctx, name)
		if epoch == 0 {
			close(first)
		}
		if g == nil {
			continue
		}
		holding.Go(func() {
			rest(ctx, begin+2*int64(k.names.Epoch))
			k.release(g, name, id)
		})
	}
}

// rest sleeps until a moment, or until ctx ends.
func rest(ctx context.Context, until int64) {
	t := time.NewTimer(time.Duration(until - journal.Now()))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (k *keeper) acquire(ctx context.Context, name string) (*session.Grant, int) {
	id := k.log.NewID()
	ctx, cancel := context.WithTimeout(ctx, k.names.Epoch)
	defer cancel()
	k.log.Note(journal.Event{Kind: journal.Asked, ID: id, Op: journal.Acquire, Name: name, N: 1})
	g, err := semaphore.New(k.session, name, client.Limit).Acquire(ctx, 1)
	if err != nil {
		k.log.Note(journal.Event{Kind: client.Outcome(ctx, err), ID: id, Name: name, Error: err.Error()})
		return nil, 0
	}
	k.log.Note(journal.Event{Kind: journal.Granted, ID: id, Name: name, Token: g.Token()})
	context.AfterFunc(g.Context(), func() {
		if errors.Is(context.Cause(g.Context()), session.ErrLost) {
			k.log.Note(journal.Event{Kind: journal.Lost, Hold: id, Name: name, Token: g.Token()})
		}
	})
	return g, id
}

func (k *keeper) release(g *session.Grant, name string, id int) {
	e := journal.Event{At: journal.Now(), Kind: journal.Releasing, Hold: id, Name: name, Token: g.Token()}
	if g.Check() != nil {
		e.Kind = journal.Lost
	}
	k.log.Note(e)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	e = journal.Event{Kind: journal.Released, Hold: id, Name: name, Token: g.Token()}
	if err := g.Release(ctx); err != nil {
		e.Error = err.Error()
	}
	k.log.Note(e)
}

// look looks at all queues, again and again.
func (k *keeper) look(ctx context.Context) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		queues, err := watch.List(attempt, k.session, client.Prefix)
		cancel()
		switch {
		case err == nil:
			k.see(queues)
		case ctx.Err() == nil:
			k.fail(err)
		}
		rest(ctx, journal.Now()+int64(glance))
	}
}

func (k *keeper) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed++
	k.failure = err
}

// sight returns how long the keeper has seen nothing since from, at most, and tells of
// what kept it from that, "" if nothing has.
func (k *keeper) sight(from int64) (blind time.Duration, note string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := from
	for _, at := range append(slices.Clone(k.looks), journal.Now()) {
		if at > from {
			blind = max(blind, time.Duration(at-last))
			last = at
		}
	}
	if k.failed > 0 {
		note = fmt.Sprintf("the keeper saw the queues %d times, and could not %d times, the last time: %v", len(k.looks), k.failed, k.failure)
	}
	return blind, note
}

// standing looks at the queues, and returns who is in them.
func (k *keeper) standing(ctx context.Context) (all []check.Sighting, err error) {
	at := journal.Now()
	queues, err := watch.List(ctx, k.session, client.Prefix)
	for _, q := range queues {
		for _, e := range entriesOf(q) {
			all = append(all, sighting(at, q.Name, e))
		}
	}
	return all, err
}

// entriesOf are those who hold and those who wait.
func entriesOf(q watch.Snapshot) []watch.Entry { return slices.Concat(q.Holders, q.Waiters) }

func sighting(at int64, name string, e watch.Entry) check.Sighting {
	s := check.Sighting{At: at, Name: name, Token: e.Token}
	if id, err := strconv.Atoi(e.Note); err == nil { // clients note the acquisition
		s.Life, s.ID = e.Identity, id
	}
	return s
}

func (k *keeper) see(queues []watch.Snapshot) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := journal.Now()
	k.looks = append(k.looks, now)
	k.queues = queues
	last := k.holding
	k.holding, k.steady = map[string]uint64{}, map[string]watch.Entry{}
	for _, q := range queues {
		if len(q.Holders) > 0 {
			first := q.Holders[0]
			k.holding[q.Name] = first.Token
			if last[q.Name] == first.Token {
				k.steady[q.Name] = first
			}
		}
		for _, e := range entriesOf(q) {
			if k.seen[q.Name] == nil {
				k.seen[q.Name] = map[uint64]bool{}
			}
			if !k.seen[q.Name][e.Token] {
				k.seen[q.Name][e.Token] = true
				k.sightings = append(k.sightings, sighting(now, q.Name, e))
			}
		}
	}
}

// Holder returns a client that holds a mutex or leads, and has done so for a moment.
func (k *keeper) Holder(pick uint64, free func(int) bool) (number int, ok bool) {
	var all []int
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(k.steady)) {
		if !slices.ContainsFunc([]string{client.Mutex, client.Vigil, client.Election}, func(kind string) bool {
			return strings.HasPrefix(name, client.Prefix+kind+"/")
		}) {
			continue
		}
		var life int
		if _, err := fmt.Sscanf(k.steady[name].Identity, "c%d.%d", &number, &life); err == nil && free(number-1) {
			all = append(all, number-1)
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	return all[pick%uint64(len(all))], true
}

// Entry returns an entry of a client.
func (k *keeper) Entry(pick uint64) (name string, e watch.Entry, ok bool) {
	type place struct {
		name string
		e    watch.Entry
	}
	var all []place
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, q := range k.queues {
		for _, e := range entriesOf(q) {
			if e.Identity != keeperName {
				all = append(all, place{q.Name, e})
			}
		}
	}
	if len(all) == 0 {
		return "", watch.Entry{}, false
	}
	p := all[pick%uint64(len(all))]
	return p.name, p.e, true
}
