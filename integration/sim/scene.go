package sim

import "fmt"

var scenes = []scene{
	{name: "three lock", kind: mutexes, scripts: []script{locks, locks, locks}},
	{name: "two lock, one tries", kind: mutexes, scripts: []script{locks, locks, tries}},
	{name: "three campaign", kind: elections, scripts: []script{locks, locks, locks}},
	{name: "writer, two readers", kind: rwmutexes, scripts: []script{locks, reads, reads}},
	{name: "two writers, reader", kind: rwmutexes, scripts: []script{locks, locks, reads}},
	{name: "downgrade, reader, writer", kind: rwmutexes, scripts: []script{downgrades, reads, locks}},
	{name: "downgrade, two readers", kind: rwmutexes, scripts: []script{downgrades, reads, reads}},
	{name: "1+1+1 of 2", kind: semaphores, limit: 2, scripts: []script{takes(1), takes(1), takes(1)}},
	{name: "2+1+1 of 2", kind: semaphores, limit: 2, scripts: []script{takes(2), takes(1), takes(1)}},
	{name: "1+2+1 of 2", kind: semaphores, limit: 2, scripts: []script{takes(1), takes(2), takes(1)}},
	{name: "1+1+1+1 of 2", kind: semaphores, limit: 2, scripts: []script{takes(1), takes(1), takes(1), takes(1)}, large: true},
	{name: "1+1 of 1, raised to 2", kind: semaphores, limit: 1, scripts: []script{takes(1), takes(1), resizes(2)}},
	{name: "2+1 of 2, lowered to 1, raised to 3", kind: semaphores, limit: 2, scripts: []script{takes(2), takes(1), resizes(1, 3)}, large: true},
	{name: "2+1 of 3, lowered to 2 by one who takes 1", kind: semaphores, limit: 3, scripts: []script{takes(2), takes(1), lowersAndTakes}, large: true},
	{name: "1+1 of 2, lowered to 1", kind: semaphores, limit: 2, scripts: []script{takes(1), takes(1), resizes(1)}},
}

var (
	locks      = script{"lock", func(p *player) { p.release(p.acquire(ask{})) }}
	reads      = script{"read", func(p *player) { p.release(p.acquire(ask{shared: true})) }}
	tries      = script{"try", func(p *player) { p.release(p.acquire(ask{try: true})) }}
	downgrades = script{"downgrade", func(p *player) { p.release(p.downgrade(p.acquire(ask{}))) }}
)

// lowersAndTakes takes 1 of the 2 to which it has lowered the limit.
var lowersAndTakes = script{"lower and take", func(p *player) {
	p.resize(2)
	p.release(p.acquire(ask{weight: 1, limit: 2}))
}}

func takes(weight int64) script {
	return script{fmt.Sprint("take ", weight), func(p *player) { p.release(p.acquire(ask{weight: weight})) }}
}

func resizes(to ...int64) script {
	return script{"resize", func(p *player) {
		for _, limit := range to {
			p.resize(limit)
		}
	}}
}
