package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// A sample is what one round measured.
type sample struct {
	figures map[report.Metric]float64
	took    []time.Duration // a latency whose distribution is kept, or nil
}

// A workload is what contenders have to do.
type workload struct {
	name  string
	about string
	takes func(s subject) bool

	clients  int  // with a connection each; 0: run opens its own
	each     int  // contenders a client
	ownNames bool // a name for each contender, and not one for all

	// setUp, if any, is called once, and measures what is measured once. A peer that
	// does not come to its end within the limit is left out.
	setUp      func(ctx context.Context, t *team) (map[report.Metric]float64, error)
	setUpLimit time.Duration

	// run takes d, or longer where what it waits for does.
	run func(ctx context.Context, t *team, d time.Duration) (sample, error)

	costs   bool // it measures nothing but what the store counts
	stretch int  // run for so many times the duration; 0: once
}

// workloads are all of them. A further one is a further element, with a run of its own
// or one of those here.
func workloads() []workload {
	const pair = "p50 and p99 of a pair"
	const wait = "p50 and p99 of release called to next held"
	all := []workload{
		{name: "uncontended", takes: of(mutexes, writes), clients: 1, each: 1, run: pairs,
			about: "one goroutine locks and unlocks; " + pair},
		{name: "many-512", takes: of(mutexes, writes), clients: 1, each: 512, ownNames: true, run: pairs,
			about: "512 goroutines of one process, each with a name of its own; " + pair},
	}
	for _, n := range []int{2, 16, 128} {
		all = append(all, workload{name: fmt.Sprintf("handoff-%d", n), takes: of(mutexes, queues), clients: n, each: 1, run: handoff,
			about: fmt.Sprintf("%d contenders with a session each, one name; %s", n, wait)})
	}
	all = append(all, workload{name: "held-16", takes: of(mutexes, queues), clients: 16, each: 1, run: handoffHeld,
		about: "16 contenders with a session each, one name, which each holds for 1 ms, so that all others wait by then; " + wait})
	all = append(all, workload{name: "fairness-16", takes: of(mutexes), clients: 16, each: 1, run: fairness, stretch: 5,
		about: "16 contenders with a session each, for five times as long: how often the most served of them had the lock to how often " +
			"the least served had it, and the longest that any waited"})
	for _, w := range []struct {
		name, about string
		run         func(context.Context, *team, time.Duration) (sample, error)
	}{
		{"crowded-64", wait, handoff},
		{"crowded-64-fairness", "how often the most served had the lock to how often the least served had it, and the longest that any waited", fairness},
	} {
		all = append(all, workload{name: w.name, takes: of(mutexes, handingMutexes), clients: 2, each: 32, run: w.run,
			about: "64 contenders, 32 of each of two sessions, one name; " + w.about})
	}
	for _, n := range []int{1000, 10000} {
		all = append(all, workload{name: fmt.Sprintf("queue-%d", n), takes: queuing, clients: 20, setUp: fill(n), setUpLimit: 2 * time.Minute, run: queue,
			about: fmt.Sprintf("%d waiters from 20 clients, one name; %s; joins behind them; the time in which they all had joined", n, wait)})
	}
	return append(all,
		workload{name: "semaphore-64", takes: of(semaphores), clients: 64, each: 1, run: permits,
			about: fmt.Sprintf("64 contenders with a session each for %d permits; p50 and p99 of the wait", permitLimit)},
		workload{name: "rwmutex-64", takes: of(rwmutexes), clients: 64, each: 1, run: readMostly,
			about: "64 contenders with a session each, of whose locks nine in ten are for reading; p50 and p99 of the wait"},
		workload{name: "resigned", takes: of(elections), clients: 3, each: 1, run: handoff,
			about: "3 candidates, the leader resigns; p50 and p99 of resignation called to next elected. " + clientGoResigned},
		workload{name: "killed", takes: of(elections), run: kill,
			about: "the leader's process is killed, at any moment between two renewals; p50 and slowest of killed to next elected. " + clientGoKilled},
		workload{name: "frozen", takes: func(s subject) bool { return s.tells }, run: freeze,
			about: "the holder's network freezes; from the moment in which it is told that it lost the lock to the grant of its successor: " +
				"before 0, both believe that they hold"},
		workload{name: "idle", takes: sessions, costs: true, run: idle,
			about: "sessions that hold nothing: what one costs the store in a TTL"},
	)
}

func of(kinds ...kind) func(subject) bool {
	return func(s subject) bool { return slices.Contains(kinds, s.kind) }
}

func queuing(s subject) bool { return s.kind == mutexes && s.queues }

func sessions(s subject) bool { return s.kind == mutexes && s.tells }
