package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/internal/mutant"
	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// A bug is a small mutation of the product. It has to be caught by the seeds from 1
// on, or in an exploration, within as many as it says.
type bug struct {
	name    string
	product product
	kind    kind
	seeds   int // 0: the seeds need not catch it

	scene     string // "": the explorations need not catch it
	trouble   trouble
	schedules int
}

// ruled is a product with another rule.
func ruled(f func(v driver.View) (driver.Obstacles, error)) product {
	return product{rule: func(a ask) watch.Rule { return f }}
}

var none driver.Obstacles

func one(e driver.Entry) driver.Obstacles { return driver.Obstacles{Entries: []driver.Entry{e}} }

var bugs = []bug{
	{name: "leaves without the entry's identity", kind: mutexes, seeds: 1000,
		product: product{plant: mutant.LeavesWithoutIdentity}},

	{name: "does not leave", kind: mutexes, seeds: 1000, scene: "three lock", schedules: 20,
		product: product{plant: mutant.LeavesNothing}},

	{name: "lease ends before its time", kind: mutexes, seeds: 1000,
		product: product{near: mutant.Mutation{
			Grant: func(ctx context.Context, s driver.Store, spec driver.Spec) (driver.Lease, time.Time, error) {
				spec.TTL -= 700 * time.Millisecond
				l, sent, err := s.Grant(ctx, spec)
				return promising{l, spec.TTL + 700*time.Millisecond}, sent, err
			},
		}.Plant}},

	{name: "renewal counts from the receipt of its answer", kind: mutexes, seeds: 5000,
		product: product{near: mutant.TrustsFromReceipt}},

	{name: "renewal that is not answered counts", kind: elections, seeds: 1000,
		product: product{near: mutant.Mutation{Lease: mutant.Lies{
			Renew: func(ctx context.Context, l *mutant.Lease) error {
				ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
				if err := l.Lease.Renew(ctx); errors.Is(err, driver.ErrLeaseGone) {
					return err
				}
				return nil
			},
		}}.Plant}},

	{name: "revokes nothing", kind: mutexes, seeds: 1000,
		product: product{plant: mutant.RevokesNothing}},

	{name: "adopts nothing after a lost reply", kind: mutexes, seeds: 1000, scene: "three lock", trouble: lostReply, schedules: 2000,
		product: product{plant: mutant.AdoptsNothing}},

	{name: "does not fence a join that it did not find", kind: mutexes, seeds: 1000,
		product: product{plant: mutant.FencesNothing}},

	{name: "ignores Admit", kind: mutexes, seeds: 1000, scene: "two lock, one tries", schedules: 500,
		product: product{plant: mutant.IgnoresAdmit}},

	{name: "wait misses what happens between the view and the wait", kind: mutexes, seeds: 1000, scene: "three lock", schedules: 100,
		product: product{plant: mutant.Mutation{Lease: mutant.Lies{
			Wait: func(ctx context.Context, l *mutant.Lease, v driver.View, on driver.Obstacles) (driver.View, error) {
				now, err := l.Lease.Look(ctx, v.Me)
				if err == nil && !slices.Equal(ids(now.Ahead), ids(v.Ahead)) {
					<-ctx.Done()
					return v, ctx.Err()
				}
				return l.Lease.Wait(ctx, v, on)
			},
		}}.Plant}},

	{name: "wait gives up on trouble", kind: mutexes, seeds: 1000, scene: "three lock", trouble: lostReply, schedules: 2000,
		product: product{near: mutant.Mutation{Lease: mutant.Lies{
			Wait: func(ctx context.Context, l *mutant.Lease, v driver.View, on driver.Obstacles) (driver.View, error) {
				now, err := l.Lease.Wait(ctx, v, on)
				if errors.Is(err, errReplyLost) || errors.Is(err, errRequestLost) {
					err = driver.Permanent(err)
				}
				return now, err
			},
		}}.Plant}},

	{name: "grants without looking again when the one ahead has left", kind: mutexes, seeds: 1000, scene: "three lock", trouble: endedLease, schedules: 5000,
		product: product{plant: mutant.GrantsUnseen}},

	{name: "wait does not see changes", kind: semaphores, seeds: 1000, scene: "1+1+1+1 of 2", schedules: 20000,
		product: product{plant: mutant.Mutation{Lease: mutant.Lies{Wait: blind}}.Plant}},

	{name: "downgrade wakes nobody", kind: rwmutexes, seeds: 1000, scene: "downgrade, two readers", schedules: 1000,
		product: product{plant: mutant.Mutation{Lease: mutant.Lies{Wait: blind}}.Plant}},

	{name: "downgrade is told before the writer's context ends", kind: rwmutexes, seeds: 1000,
		product: product{downgrade: func(ctx context.Context, m *rwmutex.RWMutex, g *session.Grant) (*session.Grant, error) {
			g.Stamp(watch.Downgraded())
			time.Sleep(pauses)
			return m.Downgrade(ctx, g)
		}}},

	{name: "reader ignores a waiting writer", kind: rwmutexes, seeds: 1000, scene: "writer, two readers", schedules: 1000,
		product: product{plant: mutant.PassesWriters}},

	{name: "writer waits for the nearest writer only", kind: rwmutexes, seeds: 1000, scene: "writer, two readers", schedules: 1000,
		product: product{rule: func(a ask) watch.Rule {
			if a.shared {
				return watch.Shared
			}
			return func(v driver.View) (driver.Obstacles, error) {
				if n := len(v.Ahead); n > 0 && !watch.IsShared(v.Ahead[n-1]) {
					return one(v.Ahead[n-1]), nil
				}
				return none, nil
			}
		}}},

	{name: "head of a semaphore watches one holder only", kind: semaphores, seeds: 2000, scene: "1+1+1 of 2", schedules: 5000,
		product: ruled(func(v driver.View) (driver.Obstacles, error) {
			on, err := watch.Permit(v)
			if n := len(on.Entries); n > 1 {
				on.Entries = on.Entries[n-1:]
			}
			return on, err
		})},

	{name: "head of a semaphore does not watch the limit", kind: semaphores, seeds: 5000, scene: "1+1 of 1, raised to 2", schedules: 5000,
		product: ruled(func(v driver.View) (driver.Obstacles, error) {
			on, err := watch.Permit(v)
			on.Limit = false
			return on, err
		})},

	{name: "waiter does not stamp its entry", kind: semaphores, seeds: 5000, scene: "1+1+1+1 of 2", schedules: 20000,
		product: product{unstamped: true}},

	{name: "light request overtakes a heavy one", kind: semaphores, seeds: 1000, scene: "1+2+1 of 2", schedules: 5000,
		product: ruled(func(v driver.View) (driver.Obstacles, error) {
			on, err := watch.Permit(v)
			if err == nil && len(on.Entries) > 0 && held(v)+weightOf(v.Me) <= v.Limit.N {
				return none, nil
			}
			return on, err
		})},

	{name: "resize does not record who holds", kind: semaphores, scene: "2+1 of 2, lowered to 1, raised to 3", schedules: 50000,
		product: product{resize: atOnce(func(q driver.Queue) uint64 { return q.Limit.Through })}},

	{name: "resize in one step", kind: semaphores, scene: "2+1 of 3, lowered to 2 by one who takes 1", schedules: 20000,
		product: product{resize: atOnce(func(q driver.Queue) uint64 {
			through, sum := q.Limit.Through, int64(0)
			for _, e := range q.Entries {
				if sum += weightOf(e); sum <= q.Limit.N {
					through = max(through, e.Token)
				}
			}
			return through
		})}},

	{name: "who joins during a resize does not stamp its entry", kind: semaphores, scene: "2+1 of 3, lowered to 2 by one who takes 1", schedules: 20000,
		product: product{plant: mutant.Mutation{Lease: mutant.Lies{
			Join: func(ctx context.Context, l *mutant.Lease, c driver.Claim) (driver.View, error) {
				v, err := l.Lease.Join(ctx, c)
				v.Limit.Stamp = false
				return v, err
			},
		}}.Plant}},

	{name: "stamp recreates an entry that was released", kind: semaphores, scene: "1+1+1 of 2", trouble: lateCall, schedules: 20000,
		product: product{plant: mutant.Mutation{Lease: mutant.Lies{
			Update: func(ctx context.Context, l *mutant.Lease, e driver.Entry, value string) (driver.Entry, error) {
				now, err := l.Lease.Update(ctx, e, value)
				if errors.Is(err, driver.ErrEntryGone) {
					_, _ = l.Lease.Join(ctx, driver.Claim{Name: e.Name, ID: e.ID + "again", Kind: e.Kind, Mode: e.Mode, Value: value})
				}
				return now, err
			},
		}}.Plant}},

	{name: "stores no value", kind: elections, seeds: 1000,
		product: product{plant: mutant.Mutation{Lease: mutant.Lies{
			Update: func(_ context.Context, _ *mutant.Lease, e driver.Entry, value string) (driver.Entry, error) {
				e.Value = value
				return e, nil
			},
		}}.Plant}},

	{name: "reads what was read before", kind: elections, seeds: 1000,
		product: product{plant: func(s driver.Store) driver.Store {
			cache := map[string]driver.Queue{}
			return mutant.Mutation{
				Read: func(ctx context.Context, s driver.Store, name string, n int) (driver.Queue, error) {
					now, err := s.Read(ctx, name, n)
					if before, ok := cache[name]; ok && err == nil {
						now, cache[name] = before, now
					} else if err == nil {
						cache[name] = now
					}
					return now, err
				},
			}.Plant(s)
		}}},
}

// promising is a lease that says that it lives longer than it does.
type promising struct {
	driver.Lease
	ttl time.Duration
}

func (l promising) TTL() time.Duration { return l.ttl }

// ids returns the identities of entries.
func ids(entries []driver.Entry) []string {
	var s []string
	for _, e := range entries {
		s = append(s, e.ID)
	}
	return s
}

// held is what those ahead hold, who are not merely waiting.
func held(v driver.View) (held int64) {
	for _, e := range v.Ahead {
		if held+weightOf(e) <= v.Limit.N {
			held += weightOf(e)
		}
	}
	return held
}

// blind is a wait that sees entries leave, but not change.
func blind(ctx context.Context, l *mutant.Lease, v driver.View, on driver.Obstacles) (driver.View, error) {
	for {
		now, err := l.Lease.Wait(ctx, v, on)
		if err != nil {
			return now, err
		}
		present := ids(now.Ahead)
		for i, e := range on.Entries {
			k := slices.Index(present, e.ID)
			if k < 0 {
				return now, nil
			}
			on.Entries[i] = now.Ahead[k]
		}
		if on.Limit && now.Limit.Version != v.Limit.Version {
			return now, nil
		}
		v = now
	}
}

// atOnce is a resize that takes one step, and has those hold whose tokens are not
// above what through returns.
func atOnce(through func(driver.Queue) uint64) func(context.Context, *session.Session, string, int64) error {
	return func(ctx context.Context, s *session.Session, name string, limit int64) error {
		for {
			q, err := s.Store().Read(ctx, name, 0)
			if err == nil && len(q.Entries) > 0 && q.Limit.N != limit {
				err = s.Store().SetLimit(ctx, name, q.Limit, driver.Limit{N: limit, Through: through(q)})
			}
			if err == nil || ctx.Err() != nil || s.Context().Err() != nil {
				return err
			}
			time.Sleep(25 * time.Millisecond)
		}
	}
}
