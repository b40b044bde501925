package report

import (
	"fmt"
	"slices"
)

// A figure is where a sample is found; without a subject it is ours.
type figure struct {
	store, workload, subject string
	metric                   Metric
}

func (f figure) samples(reports []*Report) []float64 {
	r, ok := result(reports, f.store, f.workload)
	if !ok {
		return nil
	}
	s, _ := r.subject(f.subject)
	return s.Samples[f.metric]
}

// A bound is what a figure has to keep to.
type bound struct {
	relation string // "≥", "≤", or ">", which has to hold in every round
	limit    float64
}

func (b bound) met(v []float64) bool {
	switch b.relation {
	case "≥":
		return median(v) >= b.limit
	case "≤":
		return median(v) <= b.limit
	case ">":
		return slices.Min(v) > b.limit
	default:
		panic("report: no relation " + b.relation)
	}
}

// A target is a figure, or the ratio of two, and its bound.
type target struct {
	key  string // in reasons.md
	what string
	of   figure
	to   figure // zero: no ratio
	want bound
}

const (
	etcdMutex = "concurrency.Mutex"
	etcdRaw   = "raw Put+Delete"
)

// targets are the rows of the page's first table.
func targets() []target {
	on := func(store string) func(workload, subject string, m Metric) figure {
		return func(workload, subject string, m Metric) figure { return figure{store, workload, subject, m} }
	}
	etcd, zk, redis, postgres := on("etcd"), on("zk"), on("redis"), on("postgres")
	all := []target{
		{"etcd-uncontended", "etcd, 1 goroutine: pairs a second, ours to raw Put+Delete", etcd("uncontended", "", Pairs), etcd("uncontended", etcdRaw, Pairs), bound{"≥", 0.95}},
		{"etcd-many-mutex", "etcd, 512 goroutines with own names: pairs a second, ours to concurrency.Mutex", etcd("many-512", "", Pairs), etcd("many-512", etcdMutex, Pairs), bound{"≥", 5}},
		{"etcd-many-raw", "etcd, 512 goroutines with own names: pairs a second, ours to raw Put+Delete", etcd("many-512", "", Pairs), etcd("many-512", etcdRaw, Pairs), bound{"≥", 2.5}},
	}
	for _, c := range []struct {
		contenders int
		least      float64
	}{{2, 25}, {16, 10}, {128, 2}} {
		w := fmt.Sprintf("handoff-%d", c.contenders)
		all = append(all, target{"etcd-" + w, fmt.Sprintf("etcd, %d contenders: hand-offs a second, ours to concurrency.Mutex", c.contenders),
			etcd(w, "", Handoffs), etcd(w, etcdMutex, Handoffs), bound{"≥", c.least}})
	}
	all = append(all,
		target{"etcd-handoff-p99", "etcd, 2 contenders: p99 of a hand-off, to p99 of a raw Delete", etcd("handoff-2", "", P99), etcd("uncontended", etcdRaw, Unlock99), bound{"≤", 3}},
		target{"etcd-queue-p50", "etcd: p50 of a hand-off, 1,000 waiters to 16", etcd("queue-1000", "", P50), etcd("handoff-16", "", P50), bound{"≤", 2}},
		target{"etcd-events-1000", "etcd, 1,000 waiters: events delivered a release", etcd("queue-1000", "", Events), figure{}, bound{"≤", 1}},
		target{"etcd-events-10000", "etcd, 10,000 waiters: events delivered a release", etcd("queue-10000", "", Events), figure{}, bound{"≤", 1}},
		// One to the first waiter, one for its stamp to the second; a third where joins and leaves meet.
		target{"etcd-events-semaphore", "etcd, semaphore with 64 contenders: events delivered a release", etcd("semaphore-64", "", Events), figure{}, bound{"≤", 3}},
		target{"zk-uncontended", "ZooKeeper, 1 goroutine: pairs a second, ours to zk.Lock", zk("uncontended", "", Pairs), zk("uncontended", "zk.Lock", Pairs), bound{"≥", 1}},
	)
	for _, n := range []int{2, 16, 128} {
		w := fmt.Sprintf("handoff-%d", n)
		all = append(all, target{"zk-" + w, fmt.Sprintf("ZooKeeper, %d contenders: hand-offs a second, ours to zk.Lock", n),
			zk(w, "", Handoffs), zk(w, "zk.Lock", Handoffs), bound{"≥", 1.5}})
	}
	all = append(all,
		target{"redis-handoff-p50", "Redis, 16 contenders: p50 of a hand-off, rueidislock's to ours", redis("handoff-16", "rueidislock", P50), redis("handoff-16", "", P50), bound{"≥", 2}},
		target{"redis-held-p50", "Redis, 16 contenders, held for 1 ms: p50 of a hand-off, rueidislock's to ours", redis("held-16", "rueidislock", P50), redis("held-16", "", P50), bound{"≥", 2}},
		target{"redis-fairness", "Redis, 16 contenders: most served to least served", redis("fairness-16", "", Unfair), figure{}, bound{"≤", 1.05}},
		target{"postgres-handoff-p50", "PostgreSQL, 16 contenders: p50 of a hand-off, ours to pg_advisory_lock's", postgres("handoff-16", "", P50), postgres("handoff-16", "pg_advisory_lock", P50), bound{"≤", 3}},
		target{"postgres-held-p50", "PostgreSQL, 16 contenders, held for 1 ms: p50 of a hand-off, ours to pg_advisory_lock's", postgres("held-16", "", P50), postgres("held-16", "pg_advisory_lock", P50), bound{"≤", 3}},
	)
	for _, store := range []string{"etcd", "zk", "redis", "postgres"} {
		all = append(all, target{store + "-frozen", title(store) + ", network frozen: from our notice of the loss to the successor's grant, in each round",
			figure{store, "frozen", "", GapMin}, figure{}, bound{">", 0}})
	}
	return all
}

// reached returns the figure, one a round, or nil where it was not measured.
func (t target) reached(reports []*Report) []float64 {
	v := t.of.samples(reports)
	if t.to == (figure{}) {
		return v
	}
	return ratios(v, t.to.samples(reports))
}

func (t target) show(v float64) string {
	if v == 0 {
		return "0"
	}
	if t.to == (figure{}) {
		return t.of.metric.format(v)
	}
	return times(v)
}

// targetTable is the table of all targets, with a reason for each that is missed. unexplained
// are the keys of those without one.
func targetTable(reports []*Report, why reasons) (table string, unexplained []string) {
	rows := [][]string{{"what", "target", "reached: median (min..max)", ""}}
	for _, t := range targets() {
		v := t.reached(reports)
		row := []string{t.what, t.want.relation + " " + t.show(t.want.limit), spread(v, t.show)}
		switch {
		case len(v) == 0:
			row = append(row, "not measured")
		case t.want.met(v):
			row = append(row, "met")
		default:
			reason, ok := why[t.key]
			if !ok {
				unexplained = append(unexplained, t.key)
				reason = "the reason is not known yet"
			}
			row = append(row, "**missed**: "+reason)
		}
		rows = append(rows, row)
	}
	return markdown(rows), unexplained
}

// title is what the store calls itself.
func title(store string) string {
	switch store {
	case "zk":
		return "ZooKeeper"
	case "redis":
		return "Redis"
	case "postgres":
		return "PostgreSQL"
	default:
		return store
	}
}
